"""How steps are executed, reused and recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from base.errors import DefinitionError, RunFailed, UserCodeError
from base.judged import Verdict
from base.references import Part
from base.settings import Settings
from registry.runs import LeaseLost, list_steps
from registry.tables import Run
from tasks.execution import RunContext, execute_step, is_transient, open_context
from tasks.run_record import keep_run
from tests.pipelines import FEATURES, define, make_pipeline, make_trips, write_pipeline

_LOG = logging.getLogger("tests.execution")


@pytest.fixture
def context(settings: Settings, tmp_path: Path) -> Iterator[RunContext]:
    """A run under way."""
    pipeline = make_pipeline(tmp_path / "trips", make_trips(5))
    with keep_run(pipeline, settings, as_of=None, trigger="person", reason="", prefect_run=None) as run:
        yield open_context(run)


def test_equal_work_is_done_once(context: RunContext, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, _LOG.name)
    calls: list[int] = []

    results = [_execute(context, calls, inputs={"rows": "a"}) for _ in range(3)]

    assert len(calls) == 1
    assert results == [Part(start=0, stop=1)] * 3
    assert [record.getMessage().split(" ")[1] for record in caplog.records] == ["executed", "reused", "reused"]
    with context.registry.database.read() as session:
        first, *others = list_steps(session, context.run.id)
    assert [step.reused_from for step in others] == [first.id, first.id]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"inputs": {"rows": "b"}}, "changed: input rows"),
        ({"parameters": {"depth": 3}}, "changed: parameters"),
        ({"parameters": {"depth": 2.0}}, "changed: parameters"),
        ({"inputs": {"rows": "a", "labels": "c"}}, "changed: input labels"),
    ],
)
def test_other_work_says_what_moved(
    change: dict[str, Any], why: str, context: RunContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, _LOG.name)
    calls: list[int] = []
    before: dict[str, Any] = {"inputs": {"rows": "a"}, "parameters": {"depth": 2}}
    _execute(context, calls, **before)

    _execute(context, calls, **(before | change))

    assert len(calls) == 2
    assert caplog.records[-1].getMessage() == f"count: executed ({why})"


def test_work_that_raises_is_not_recorded(context: RunContext) -> None:
    def fail() -> Part:
        raise RunFailed("no luck")

    with pytest.raises(RunFailed, match="no luck"):
        execute_step(context, "count", fail, output=Part, parameters={}, inputs={}, log=_LOG)

    with context.registry.database.read() as session:
        assert list_steps(session, context.run.id) == []
        assert session.get_one(Run, context.run.id).step == "count"


def test_a_run_that_was_taken_over_does_nothing_more(context: RunContext) -> None:
    calls: list[int] = []
    with context.registry.database.write() as session:
        session.get_one(Run, context.run.id).owner = "elsewhere:1:1"

    with pytest.raises(LeaseLost):
        _execute(context, calls, inputs={})

    assert calls == []


@pytest.mark.parametrize("change", ["definition", "contract", "code"])
def test_a_definition_that_changes_after_the_run_began_is_noticed(
    change: str, settings: Settings, tmp_path: Path
) -> None:
    pipeline = make_pipeline(tmp_path / "trips", make_trips(5))

    sections = define(description="another") if change == "definition" else define()
    contract = {"columns": {"at": {"type": "time"}, "late": {"type": "boolean"}}}
    more: dict[str, Any] = {"contract": contract} if change == "contract" else {}

    with keep_run(pipeline, settings, as_of=None, trigger="person", reason="", prefect_run=None) as run:
        write_pipeline(tmp_path / "trips", None, sections, features="" if change == "code" else FEATURES, **more)

        with pytest.raises(DefinitionError, match=r"was changed after run .* began.*; run again"):
            open_context(run)


def test_a_definition_that_only_lies_elsewhere_is_the_same(settings: Settings, tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "trips", make_trips(5))
    with keep_run(pipeline, settings, as_of=None, trigger="person", reason="", prefect_run=None) as run:
        (tmp_path / "trips").rename(tmp_path / "moved")
        moved = run.model_copy(update={"definition": tmp_path / "moved" / "pipeline.yaml"})

        assert open_context(moved).pipeline.name == "trips"


@pytest.mark.parametrize(
    ("error", "expected"), [(OSError("gone"), True), (UserCodeError("f", "raised", "mend"), False), (None, False)]
)
def test_only_what_nobody_raised_on_purpose_is_worth_a_second_try(error: Exception | None, expected: bool) -> None:
    class State:
        def result(self) -> None:
            if error is not None:
                raise error

    assert is_transient(None, None, State()) is expected


def test_a_verdict_without_an_interval_is_read_back(context: RunContext) -> None:
    verdict = Verdict(
        outcome="cannot tell",
        promote=False,
        reason="",
        loss="mae",
        difference=0.5,
        interval=None,
        confidence=0.95,
        n_rows=3,
        n_blocks=0,
        checks=(),
        champion_version=1,
        champion_revision=1,
    )
    options: dict[str, Any] = {"output": Verdict, "parameters": {}, "inputs": {}, "log": _LOG}
    execute_step(context, "judge", lambda: verdict, **options)

    assert execute_step(context, "judge", lambda: pytest.fail("executed again"), **options) == verdict


def _execute(
    context: RunContext,
    calls: list[int],
    *,
    inputs: dict[str, str],
    parameters: dict[str, Any] | None = None,
) -> Part:
    def work() -> Part:
        calls.append(1)
        return Part(start=0, stop=len(calls))

    return execute_step(context, "count", work, output=Part, parameters=parameters or {}, inputs=inputs, log=_LOG)
