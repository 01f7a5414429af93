"""Sixteen processes promote at once: errors that a retry would cure, breaks in the history, promotions a second."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

from pydantic import SecretStr

from base.settings import Settings
from benchmarks.figures import Figure
from benchmarks.postgres_server import PostgresMissing, start_postgres
from registry.ledger import first_broken_link
from registry.models import NewVersion, alias_history, find_alias, promote_version, register_version, resolve_version
from registry.runs import begin_run, finish_run, this_process
from registry.store import Registry, open_registry
from registry.tables import PipelineRow, PipelineVersion

N_PROCESSES = 16
N_PROMOTIONS = 10
_MODEL = "churn"
_PATIENCE_SECONDS = 240.0
_FORK = multiprocessing.get_context("fork")


def measure_race(rounds: int) -> list[Figure]:
    """Let processes start on an empty database at once, migrate it, and promote at once, on SQLite and on Postgres.

    Each process asks where the champion stands and moves it, in one transaction, *N_PROMOTIONS* times. An exception of
    any kind in any process is an error, a break in the history of the alias or of the ledger another one.
    """
    errors: list[str] = []
    rates: dict[str, float] = {}
    for name, opened in (("sqlite", _sqlite), ("postgres", _postgres)):
        try:
            with opened(rounds) as every:
                seconds = [_race(settings, errors) for settings in every]
        except PostgresMissing as missing:
            print(f"promote_race: Postgres is left out: {missing}", file=sys.stderr)
            continue
        rates[name] = N_PROCESSES * N_PROMOTIONS / min(seconds)
    for error in errors[:10]:
        print(f"promote_race: {error}", file=sys.stderr)
    where = " and ".join(rates)
    what = f"{N_PROCESSES} processes x {N_PROMOTIONS} promotions x {rounds} rounds on {where}"
    return [
        Figure("promote_race_errors", len(errors), "errors", f"{what}; goal 0"),
        *(
            Figure(f"promotions_per_second_{name}", rate, "1/s", "with history, ledger and fsync, one at a time")
            for name, rate in rates.items()
        ),
    ]


@contextmanager
def _sqlite(rounds: int) -> Iterator[list[Settings]]:
    with tempfile.TemporaryDirectory(prefix="everfit-race-") as folder:
        yield [Settings(home=Path(folder) / str(number)) for number in range(rounds)]


@contextmanager
def _postgres(rounds: int) -> Iterator[list[Settings]]:
    with tempfile.TemporaryDirectory(prefix="everfit-race-") as folder, start_postgres(rounds) as urls:
        yield [
            Settings(home=Path(folder) / str(number), database_url=SecretStr(url)) for number, url in enumerate(urls)
        ]


def _race(settings: Settings, errors: list[str]) -> float:
    """Run one race and return the seconds from the first promotion to the last."""
    ready, go = _FORK.Barrier(N_PROCESSES + 1), _FORK.Barrier(N_PROCESSES + 1)
    pipes = [_FORK.Pipe(duplex=False) for _ in range(N_PROCESSES)]
    children = [
        _FORK.Process(target=_promote, args=(settings, number, ready, go, sender), daemon=True)
        for number, (_, sender) in enumerate(pipes)
    ]
    for child in children:
        child.start()
    try:
        ready.wait(_PATIENCE_SECONDS)
        registry = open_registry(settings)
        _register(registry)
        registry.database.close()
        go.wait(_PATIENCE_SECONDS)
        began = time.perf_counter()
        for number, (receiver, _) in enumerate(pipes):
            if not receiver.poll(_PATIENCE_SECONDS):
                errors.append(f"process {number} gave no answer")
            elif found := receiver.recv():
                errors.append(f"process {number}: {found}")
        seconds = time.perf_counter() - began
    finally:
        for child in children:
            child.join(1)
            child.kill()
    registry = open_registry(settings)
    errors.extend(find_breaks(registry, N_PROCESSES * N_PROMOTIONS))
    registry.database.close()
    return seconds


def _promote(settings: Settings, number: int, ready: Barrier, go: Barrier, sender: Connection) -> None:
    problem = ""
    try:
        ready.wait(_PATIENCE_SECONDS)
        registry = open_registry(settings)
        go.wait(_PATIENCE_SECONDS)
        for turn in range(N_PROMOTIONS):
            with registry.database.write() as session:
                version = resolve_version(session, "prod", f"{_MODEL}@{(number + turn) % N_PROCESSES + 1}")
                alias = find_alias(session, "prod", _MODEL)
                promote_version(
                    session,
                    "prod",
                    version,
                    expected_revision=0 if alias is None else alias.revision,
                    actor=f"process {number}",
                    reason="race",
                )
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
    sender.send(problem)
    os._exit(0)


def _register(registry: Registry) -> None:
    with registry.database.write() as session:
        session.add(PipelineRow(name=_MODEL, definition="pipeline.yaml"))
        session.flush()
        package = PipelineVersion(digest="d" * 64, pipeline=_MODEL, package={})
        session.add(package)
        session.flush()
        for number in range(N_PROCESSES):
            run, _ = begin_run(
                session,
                package,
                parameters={"number": number},
                trigger="benchmark",
                owner=this_process(),
                lease=timedelta(minutes=1),
            )
            finish_run(session, run, status="promoted", reason="benchmark")
            register_version(
                session,
                NewVersion(
                    model=_MODEL, run_id=run.id, pipeline_version=package.digest, manifest={}, metrics={}, verdict={}
                ),
            )


def find_breaks(registry: Registry, n_moves: int) -> list[str]:
    """Find where a history is not one line: revisions without gaps, each move from where the one before went to."""
    with registry.database.read() as session:
        alias = find_alias(session, "prod", _MODEL)
        moves = alias_history(session, "prod", _MODEL)[::-1]
        broken = first_broken_link(session)
    breaks = [] if broken is None else [f"the ledger is broken at {broken}"]
    if [move.revision for move in moves] != list(range(1, n_moves + 1)):
        breaks.append(f"expected revisions 1 to {n_moves}, found {len(moves)} moves")
    if [move.previous for move in moves] != [None, *(move.number for move in moves[:-1])]:
        breaks.append("a move does not start where the one before ended")
    if alias is None or not moves or (alias.number, alias.revision) != (moves[-1].number, moves[-1].revision):
        breaks.append("the alias does not stand where its last move put it")
    return breaks


if __name__ == "__main__":
    from benchmarks.figures import print_table

    print_table(measure_race(3))
