"""The record of a run: closed whatever ends it, and one at a time."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from base.database import DatabaseBusy
from base.errors import DataRefused, Fault, RunFailed
from base.judged import Promotion
from base.pipeline import Pipeline
from base.settings import Settings
from base.times import utc_now
from monitoring.desk import TriggerRequest, take
from registry.launches import find_launch
from registry.ledger import list_decisions
from registry.models import ROLLBACK, alias_history, roll_back
from registry.pipelines import register_pipeline
from registry.runs import LeaseLost, list_runs, this_process
from registry.store import Registry
from registry.tables import Run
from tasks import run_record
from tasks.run_record import close_run, find_champion, keep_run, name_actor
from tests.pipelines import Trained, define, make_pipeline, make_trips, train

_REFUSED = DataRefused("the table", [Fault("age", "text", "number")], "Mend it.")


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return make_pipeline(tmp_path / "trips", make_trips())


ENDS: list[tuple[BaseException, str, str]] = [
    (_REFUSED, "refused", "column 'age': found text"),
    (RunFailed("no estimator"), "failed", "no estimator"),
    (ZeroDivisionError("division by zero"), "failed", "ZeroDivisionError: division by zero"),
    (KeyboardInterrupt(), "failed", "KeyboardInterrupt"),
    (SystemExit(143), "failed", "SystemExit: 143"),
]


@pytest.mark.parametrize(("error", "status", "reason"), ENDS, ids=[type(row[0]).__name__ for row in ENDS])
def test_whatever_ends_a_run_is_recorded(
    error: BaseException, status: str, reason: str, pipeline: Pipeline, settings: Settings, registry: Registry
) -> None:
    with pytest.raises(type(error)), _keep(pipeline, settings):
        raise error

    with registry.database.read() as session:
        (run,) = list_runs(session)
        decisions = list_decisions(session)
    assert (run.status, run.under_way) == (status, None)
    assert reason in run.reason
    assert [(decision.kind, decision.outcome) for decision in decisions] == (
        [("data", "refused"), ("training", "granted")] if status == "refused" else [("training", "granted")]
    )


@pytest.mark.parametrize("what", ["its worker stopped", "Prefect's server was away", "a source was away"])
@pytest.mark.parametrize("is_deployed", [True, False])
def test_what_cuts_a_run_of_a_worker_off_leaves_it_open_to_go_on(
    what: str, is_deployed: bool, pipeline: Pipeline, settings: Settings, registry: Registry
) -> None:
    version = register_pipeline(registry, pipeline)
    request = TriggerRequest(pipeline="trips", kind="webhook", key="a", reason="", actor="shop")
    launch = take(registry, request, now=utc_now()).launch_id

    def keep() -> Any:
        return _keep(pipeline, settings, launch=launch, is_deployed=is_deployed)

    with pytest.raises((TerminationSignal, httpx.ConnectError)), keep() as first:
        _be_cut_off(what)

    is_open = is_deployed and what != "a source was away"
    with registry.database.read() as session:
        (run,) = list_runs(session)
        assert find_launch(session, str(launch)).state == ("begun" if is_open else "ended")
    assert (run.status, run.pipeline_version) == ("running" if is_open else "failed", version.digest)
    if is_open:
        # The process that was cut off is gone by then.
        with registry.database.write() as session:
            session.get_one(Run, run.id).owner = f"{this_process().rsplit(':', 2)[0]}:{2**22 - 7}:1"
        with keep() as second:
            assert second.id == first.id


def test_an_end_that_cannot_be_recorded_does_not_hide_what_it_was(
    pipeline: Pipeline, settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise DatabaseBusy(registry.database.url)

    monkeypatch.setattr(run_record, "finish_run", refuse)

    with pytest.raises(RunFailed, match="no estimator") as failed, _keep(pipeline, settings):
        raise RunFailed("no estimator")

    assert "could not be recorded" in failed.value.__notes__[0]


def test_a_run_that_was_taken_over_is_not_closed_by_its_old_process(
    pipeline: Pipeline, settings: Settings, registry: Registry
) -> None:
    def lose() -> None:
        with _keep(pipeline, settings) as run:
            with registry.database.write() as session:
                session.get_one(Run, run.id).owner = "elsewhere:1:1"
            raise LeaseLost(run.id)

    with pytest.raises(LeaseLost):
        lose()

    with registry.database.read() as session:
        (run,) = list_runs(session)
    assert run.status == "running"


@pytest.mark.parametrize(("promoted", "status"), [(True, "promoted"), (False, "kept")])
def test_a_run_that_comes_to_its_end_says_what_became_of_its_model(
    promoted: bool, status: str, pipeline: Pipeline, settings: Settings, registry: Registry
) -> None:
    model = registry.artifacts.put_bytes(b"model")
    promotion = Promotion(model="trips", version=1, promoted=promoted, environment="prod", revision=1, manifest=model)

    with _keep(pipeline, settings) as run:
        close_run(registry, run, promotion, "since a test wants it")

    with registry.database.read() as session:
        closed = session.get_one(Run, run.id)
    assert (closed.status, closed.reason) == (status, "since a test wants it")


def test_the_champion_of_a_resumed_run_is_the_one_before_its_own(
    pipeline: Pipeline, settings: Settings, registry: Registry
) -> None:
    first, second = _promote_two(pipeline, settings)

    with _keep(pipeline, settings) as run:
        now = find_champion(registry, run, "trips")
        seen = find_champion(registry, run.model_copy(update={"id": second.run_id}), "trips")
        never = find_champion(registry, run.model_copy(update={"id": first.run_id}), "trips")

    assert (now.number, now.revision) == (2, 2)
    assert (seen.number, seen.revision) == (1, 1)
    assert (never.number, never.revision, never.manifest) == (None, 0, None)


def test_the_champion_is_where_a_rollback_put_it(pipeline: Pipeline, settings: Settings, registry: Registry) -> None:
    _promote_two(pipeline, settings)
    with registry.database.write() as session:
        roll_back(session, registry.environment, "trips", actor="test", reason="a test wants it")
        assert alias_history(session, registry.environment, "trips")[0].kind == ROLLBACK

    with _keep(pipeline, settings) as run:
        champion = find_champion(registry, run, "trips")

    assert (champion.number, champion.revision) == (1, 3)
    assert champion.load() is not None


def test_who_acts_is_a_person_or_a_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada")

    assert name_actor("person") == "ada"
    assert name_actor("drift") == "trigger drift"


def test_a_machine_without_users_has_actors_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found: 1000")

    monkeypatch.setattr("getpass.getuser", nobody)

    assert name_actor("person") == f"user {os.getuid()}"


def _keep(pipeline: Pipeline, settings: Settings, **more: Any) -> Any:
    return keep_run(pipeline, settings, as_of=None, trigger="person", reason="", prefect_run=None, **more)


def _be_cut_off(what: str) -> None:
    if what == "its worker stopped":
        raise TerminationSignal(signal.SIGTERM)
    if what == "a source was away":
        raise httpx.ConnectError("refused")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        get_client(sync_client=True).read_flow_runs()


def _promote_two(pipeline: Pipeline, settings: Settings) -> tuple[Trained, Trained]:
    """Train a line, then a tree, which is the better model of these rows."""
    folder, trips = pipeline.folder, make_trips()
    line = {"estimators": [{"estimator": "sklearn.linear_model.LogisticRegression"}]}
    first = train(make_pipeline(folder, trips, define(train=line)), settings)
    second = train(make_pipeline(folder, trips), settings, trigger="performance")
    assert first.promotion.promoted
    assert second.promotion.promoted
    return first, second
