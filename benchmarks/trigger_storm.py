"""A storm of triggers: 10,000 wishes of all kinds from 8 processes at one registry, while trainings begin and end.

``python -m benchmarks.trigger_storm [--triggers 10000] [--processes 8] [--database URL]`` prints how many wishes were
lost (filed by nobody, or without a ruling), how often two trainings of one pipeline were under way at once, how many
errors reached a caller, and the seconds. Without ``--database`` it is SQLite in a temporary folder; give a URL of an
empty Postgres database for the other.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from sqlalchemy import func
from sqlmodel import col, select

from base.references import Trigger
from base.settings import Settings
from base.times import utc_now
from monitoring.desk import TriggerRequest, take
from registry.launches import LaunchClosed, hold_next, list_open, mark_sent
from registry.ledger_chain import check_chain
from registry.runs import RunUnderWay, begin_run, finish_run, this_process
from registry.store import Registry, open_registry
from registry.tables import Decision, Launch, PipelineRow, PipelineVersion, Run, TriggerRow

KINDS: tuple[Trigger, ...] = get_args(Trigger)
PIPELINES = ("bike", "hotel", "loans")
_DUPLICATES = 20  # one wish in so many is delivered twice
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Storm:
    """What a storm left behind."""

    n_triggers: int
    seconds: float
    lost: int
    double_runs: int
    errors: tuple[str, ...]
    outcomes: dict[str, int]
    n_launches: int
    n_runs: int
    is_chained: bool
    cpu_milliseconds: float


def raise_storm(settings: Settings, *, n_triggers: int, n_processes: int, n_runners: int = 2) -> Storm:
    """File the wishes from so many processes at once, beside runners that begin and end what is granted."""
    registry = open_registry(settings)
    _register(registry)
    barrier, is_over = _FORK.Barrier(n_processes + n_runners + 1), _FORK.Event()
    results: Any = _FORK.Queue()
    shares = [range(number, n_triggers, n_processes) for number in range(n_processes)]
    askers = [_FORK.Process(target=_ask, args=(settings, barrier, share, results), daemon=True) for share in shares]
    runners = [
        _FORK.Process(target=_run, args=(settings, barrier, is_over, results), daemon=True) for _ in range(n_runners)
    ]
    for process in (*askers, *runners):
        process.start()
    barrier.wait()
    started = time.perf_counter()
    answers, computed = zip(*(results.get() for _ in askers), strict=True)
    seconds = time.perf_counter() - started
    is_over.set()
    answers += tuple(results.get() for _ in runners)
    for process in (*askers, *runners):
        process.join()
    errors = tuple(error for answer in answers for error in answer)
    return _take_stock(registry, n_triggers, seconds, errors, 1_000 * sum(computed) / n_triggers)


def _register(registry: Registry) -> None:
    with registry.database.write() as session:
        for name in PIPELINES:
            session.add(PipelineRow(name=name, definition=f"{name}.yaml"))
            session.flush()
            package = {"spec": {"triggers": {"merge_within": "0 seconds"}}}
            session.add(PipelineVersion(digest=f"storm-{name}", pipeline=name, package=package))


def _ask(settings: Settings, barrier: Barrier, numbers: range, results: Any) -> None:
    draw = random.Random(numbers.start)
    registry = open_registry(settings)
    errors: list[str] = []
    barrier.wait()
    before = time.process_time()
    for number in numbers:
        kind = KINDS[number % len(KINDS)]
        request = TriggerRequest(
            pipeline=PIPELINES[number // len(KINDS) % len(PIPELINES)],
            kind=kind,
            key=f"storm:{number}",
            reason=f"wish {number}",
            actor="storm",
            payload={"number": number},
        )
        for _ in range(2 if draw.randrange(_DUPLICATES) == 0 else 1):
            try:
                take(registry, request, now=utc_now())
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
    results.put((errors, time.process_time() - before))


def _run(settings: Settings, barrier: Barrier, is_over: Event, results: Any) -> None:
    """Begin and end what is granted, as quickly as runs never do; note where two are under way at once."""
    registry = open_registry(settings)
    errors: list[str] = []
    barrier.wait()
    while not is_over.is_set():
        try:
            _run_next(registry)
        except (RunUnderWay, LaunchClosed):
            pass
        except Exception as error:
            errors.append(f"runner: {type(error).__name__}: {error}")
        time.sleep(0.02)
    results.put(errors)


def _run_next(registry: Registry) -> None:
    holder = this_process()
    with registry.database.read() as session:
        if not any(launch.state == "waiting" for launch in list_open(session)):
            return
    with registry.database.write() as session:
        launch = hold_next(session, holder, now=utc_now(), seconds=30)
        if launch is None:
            return
        mark_sent(session, launch.id, flow_run=f"flow-{launch.id}", now=utc_now(), holder=holder)
    with registry.database.write() as session:
        version = session.get_one(PipelineVersion, f"storm-{launch.pipeline}")
        run, _ = begin_run(
            session,
            version,
            parameters={"reason": launch.reason},
            trigger=launch.kind,
            owner=holder,
            lease=timedelta(minutes=1),
            launch=launch.id,
        )
    time.sleep(0.1)
    with registry.database.write() as session:
        finish_run(session, session.get_one(Run, run.id), status="kept", reason="the storm's")


def _take_stock(
    registry: Registry, n_triggers: int, seconds: float, errors: tuple[str, ...], cpu_milliseconds: float
) -> Storm:
    with registry.database.read() as session:
        states = Counter(session.exec(select(TriggerRow.state)))
        n_filed = session.exec(select(func.count()).select_from(TriggerRow)).one()
        n_decided = session.exec(
            select(func.count()).select_from(Decision).where(col(Decision.kind) == "trigger")
        ).one()
        n_launches = session.exec(select(func.count()).select_from(Launch)).one()
        runs = list(session.exec(select(Run).order_by(col(Run.pipeline), col(Run.started_at))))
        chain = check_chain(session)
    double = sum(
        one.pipeline == other.pipeline and (one.finished_at is None or other.started_at < one.finished_at)
        for one, other in itertools.pairwise(runs)
    )
    lost = n_triggers - n_filed + states["waiting"] + abs(n_filed - n_decided)
    is_chained = chain.broken is None
    return Storm(
        n_triggers, seconds, lost, double, errors, dict(states), n_launches, len(runs), is_chained, cpu_milliseconds
    )


def main() -> None:
    """Raise a storm and print what it left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triggers", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--database", help="URL of an empty database; default: SQLite in a temporary folder.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="everfit-storm-") as folder:
        url = None if given.database is None else SecretStr(given.database)
        settings = Settings(home=Path(folder), database_url=url)
        storm = raise_storm(settings, n_triggers=given.triggers, n_processes=given.processes)
    print(f"{storm.n_triggers:,} triggers of {len(KINDS)} kinds from {given.processes} processes: {storm.outcomes}")
    print(f"{storm.n_launches} launches, {storm.n_runs} runs, the ledger's chain holds: {storm.is_chained}")
    print(f"errors that reached a caller: {len(storm.errors)} {storm.errors[:1]}")
    figures = {
        "storm_lost": storm.lost,
        "storm_double_runs": storm.double_runs,
        "storm_errors": len(storm.errors),
        "storm_seconds": round(storm.seconds, 1),
        "storm_cpu_milliseconds": round(storm.cpu_milliseconds, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
