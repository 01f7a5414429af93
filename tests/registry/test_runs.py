"""Claims about runs, their leases and their steps."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from base.fingerprint import digest_document
from base.times import utc_now
from registry.runs import (
    LeaseLost,
    RunUnderWay,
    StepKey,
    begin_run,
    explain_miss,
    find_step,
    finish_run,
    is_alive,
    list_runs,
    list_steps,
    record_step,
    renew_lease,
    this_process,
)
from registry.store import Registry
from registry.tables import PipelineVersion, Run
from tests.processes import run_at_once, start_process
from tests.registry.samples import LEASE, a_finished_run, a_pipeline, a_pipeline_in

_KEY = StepKey(code="c", parameters="p", inputs={"snapshot": "s"}, environment="e")


def _begin(registry: Registry, pipeline: PipelineVersion, **changes: Any) -> tuple[Run, bool]:
    options: dict[str, Any] = {"parameters": {}, "trigger": "person", "owner": this_process(), "lease": LEASE}
    with registry.database.write() as session:
        return begin_run(session, pipeline, **(options | changes))


def _renew(registry: Registry, run: Run, owner: str, **options: Any) -> None:
    with registry.database.write() as session:
        renew_lease(session, run.id, owner=owner, lease=LEASE, **options)


def _finish(registry: Registry, run: Run, status: str = "kept", reason: str = "") -> None:
    with registry.database.write() as session:
        finish_run(session, run, status=status, reason=reason)


def _run(**values: Any) -> Run:
    return Run(
        id="1", pipeline="churn", pipeline_version="d", trigger="person", status="running", under_way="churn", **values
    )


def _found(registry: Registry, run: Run) -> Run:
    with registry.database.read() as session:
        return session.get_one(Run, run.id)


def _dead_process() -> str:
    """Name a process that was killed."""
    child = start_process(signal.pause)
    assert child.pid is not None
    host = this_process().rsplit(":", 2)[0]
    owner = f"{host}:{child.pid}:{psutil.Process(child.pid).create_time():.0f}"
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    return owner


def test_of_processes_that_begin_at_once_one_runs_and_the_others_are_told(any_registry: Registry) -> None:
    pipeline = a_pipeline(any_registry)
    # The children name this test's process as the owner, which lives on when they have ended.
    owner = this_process()

    answers = run_at_once(8, lambda number: _begin(any_registry, pipeline, parameters={"n": number}, owner=owner))
    started = [answer for answer in answers if isinstance(answer, tuple)]
    refused = [answer for answer in answers if isinstance(answer, RunUnderWay)]
    assert (len(started), len(refused)) == (1, 7)
    assert {error.run.id for error in refused} == {started[0][0].id}
    with any_registry.database.read() as session:
        assert [run.under_way for run in list_runs(session)] == ["churn"]


def test_two_pipelines_run_side_by_side(registry: Registry) -> None:
    runs = [_begin(registry, a_pipeline(registry, name, name))[0] for name in ("churn", "fares")]

    with registry.database.read() as session:
        assert [run.id for run in list_runs(session, pipeline="fares")] == [runs[1].id]


def test_a_live_owner_is_not_disturbed_however_old_its_lease(any_registry: Registry) -> None:
    pipeline = a_pipeline(any_registry)
    run, _ = _begin(any_registry, pipeline, lease=-LEASE)

    with pytest.raises(RunUnderWay, match=f"run {run.id} is at step 'extract'.*; wait until it ends"):
        _begin(any_registry, pipeline)


def test_the_run_of_a_killed_process_is_resumed_at_once(any_registry: Registry) -> None:
    pipeline = a_pipeline(any_registry)
    first, _ = _begin(any_registry, pipeline, parameters={"month": 3, "x": float("nan")}, owner=_dead_process())

    second, resumed = _begin(any_registry, pipeline, parameters={"x": float("nan"), "month": 3}, prefect_run="flow-2")
    assert (second.id, resumed) == (first.id, True)
    found = _found(any_registry, first)
    assert (found.owner, found.prefect_run, found.status) == (this_process(), "flow-2", "running")


@pytest.mark.parametrize("change", [{"parameters": {"month": 4}}, {"digest": "e" * 64}])
def test_a_dead_run_of_other_work_is_closed_and_a_new_one_begins(
    any_registry: Registry, change: dict[str, Any]
) -> None:
    first, _ = _begin(any_registry, a_pipeline(any_registry), owner=_dead_process())
    pipeline = a_pipeline(any_registry, digest=change.pop("digest", "f" * 64))

    second, resumed = _begin(any_registry, pipeline, **change)
    assert second.id != first.id
    assert not resumed
    found = _found(any_registry, first)
    assert (found.status, found.under_way) == ("failed", None)
    assert "died at step None" in found.reason


def test_of_processes_that_resume_at_once_one_does(any_registry: Registry) -> None:
    pipeline = a_pipeline(any_registry)
    _begin(any_registry, pipeline, owner=_dead_process())
    owner = this_process()

    answers = run_at_once(8, lambda _number: _begin(any_registry, pipeline, owner=owner))
    assert [resumed for _, resumed in (answer for answer in answers if isinstance(answer, tuple))] == [True]
    assert sum(isinstance(answer, RunUnderWay) for answer in answers) == 7


@pytest.mark.parametrize(("lease", "alive"), [(timedelta(seconds=30), True), (timedelta(seconds=-1), False)])
@pytest.mark.parametrize("owner", ["another-host:1:1", "another/4026532:1:1", "no process at all", "a:b:c"])
def test_of_a_process_that_cannot_be_asked_the_lease_tells(lease: timedelta, alive: bool, owner: str) -> None:
    now = utc_now()

    assert is_alive(_run(owner=owner, lease_until=now + lease), now) is alive


def test_a_process_that_got_the_number_of_a_dead_one_does_not_keep_its_run() -> None:
    host, pid, start = this_process().rsplit(":", 2)
    now = utc_now()

    assert is_alive(_run(owner=f"{host}:{pid}:{start}", lease_until=now), now)
    assert not is_alive(_run(owner=f"{host}:{pid}:{int(start) - 100}", lease_until=now + LEASE), now)


def test_a_correction_of_the_clock_kills_no_run() -> None:
    host, pid, start = this_process().rsplit(":", 2)

    assert is_alive(_run(owner=f"{host}:{pid}:{int(start) + 1}", lease_until=utc_now()), utc_now())


def test_a_lease_is_renewed_with_the_step(any_registry: Registry) -> None:
    run, _ = _begin(any_registry, a_pipeline(any_registry), lease=-LEASE)

    _renew(any_registry, run, this_process(), step="train")
    found = _found(any_registry, run)
    assert found.step == "train"
    assert found.lease_until > utc_now()


def test_who_was_taken_over_can_neither_renew_nor_finish(any_registry: Registry) -> None:
    pipeline = a_pipeline(any_registry)
    old = _begin(any_registry, pipeline, owner="another-host:1:1", lease=-LEASE)[0]
    new, resumed = _begin(any_registry, pipeline)
    assert resumed

    with pytest.raises(LeaseLost):
        _renew(any_registry, old, "another-host:1:1")
    with pytest.raises(LeaseLost):
        _finish(any_registry, old, "failed", "I believe that I still run")
    assert _found(any_registry, new).status == "running"
    _renew(any_registry, new, this_process())
    _finish(any_registry, new)
    assert _found(any_registry, new).status == "kept"


def test_a_run_ends_once(any_registry: Registry) -> None:
    run, _ = _begin(any_registry, a_pipeline(any_registry))
    _finish(any_registry, run, "promoted", "better")

    with pytest.raises(LeaseLost, match="has ended"):
        _finish(any_registry, run, "failed", "afterthought")
    with pytest.raises(LeaseLost):
        _renew(any_registry, run, this_process())
    found = _found(any_registry, run)
    assert (found.status, found.reason, found.under_way) == ("promoted", "better", None)
    assert found.finished_at is not None


def test_a_reason_may_hold_any_bytes(any_registry: Registry) -> None:
    run, _ = _begin(any_registry, a_pipeline(any_registry))
    _finish(any_registry, run, "failed", "no file 'caf\udce9\0'")

    assert _found(any_registry, run).reason == "no file 'caf\ufffd\ufffd'"


def test_equal_work_finds_the_step(any_registry: Registry) -> None:
    with any_registry.database.write() as session:
        run = a_finished_run(session, a_pipeline_in(session))
        step = record_step(session, run=run, step="train", key=_KEY, output={"loss": float("nan")}, seconds=1.5)
        reused = record_step(
            session, run=run, step="train", key=_KEY, output={"loss": None}, seconds=0, reused_from=step.id
        )
    with any_registry.database.read() as session:
        found = find_step(session, "churn", "train", _KEY)
        assert found is not None
        assert found.id == reused.id
        assert found.output_digest == step.output_digest == digest_document(found.output)
        assert [each.id for each in list_steps(session, run.id)] == [step.id, reused.id]
        assert find_step(session, "churn", "evaluate", _KEY) is None
        assert find_step(session, "fares", "train", _KEY) is None


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (StepKey("c2", "p", {"snapshot": "s"}, "e"), "changed: code"),
        (StepKey("c", "p2", {"snapshot": "s"}, "e2"), "changed: parameters, environment"),
        (StepKey("c", "p", {"snapshot": "s2"}, "e"), "changed: input snapshot"),
        (StepKey("c", "p", {"snapshot": "s", "champion": "x"}, "e"), "changed: input champion"),
        (StepKey("c", "p", {}, "e"), "changed: input snapshot"),
        (_KEY, "its stored result is gone"),
    ],
)
def test_a_miss_says_what_moved(registry: Registry, key: StepKey, why: str) -> None:
    with registry.database.write() as session:
        run = a_finished_run(session, a_pipeline_in(session))
        assert explain_miss(session, "churn", "train", key) == "first time"
        record_step(session, run=run, step="train", key=_KEY, output={}, seconds=1)

        assert explain_miss(session, "churn", "train", key) == why


def test_the_process_table_of_a_container_is_part_of_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "readlink", lambda _path: Path("pid:[4026532999]"))

    assert "/4026532999:" in this_process()
    assert is_alive(_run(owner=this_process(), lease_until=utc_now()), utc_now())
