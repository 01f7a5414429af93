"""The state of the prediction log: what its writers counted against what its segments really hold."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from registry.store import Registry
from registry.traffic import list_traffic_models, list_writers
from serving.log.accounts import AccountTotals
from serving.log.kinds import KINDS, PREDICTIONS
from serving.log.streams import FoundSegment, Place, find_holes, find_segments

Life = Literal["alive", "closed", "dead", "elsewhere"]
"""Of a writer: at work, ended in order, died, or known from another host's accounts alone."""


@dataclass(frozen=True)
class WriterAccounts:
    """What one process counted of one model, at one moment."""

    writer: str
    host: str
    pid: int
    life: Life
    written_at: datetime
    totals: AccountTotals


@dataclass(frozen=True)
class WriterStatus:
    """One writer's counters of a model beside the rows that are found, and what that means."""

    accounts: WriterAccounts
    n_found: int
    notes: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelStatus:
    """The log of one model."""

    model: str
    writers: tuple[WriterStatus, ...]
    segments: tuple[FoundSegment, ...]
    notes: tuple[str, ...]
    gaps: tuple[str, ...]

    @property
    def totals(self) -> AccountTotals:
        """What all writers counted together."""
        totals = [one.accounts.totals for one in self.writers]
        rejected: dict[str, int] = {}
        for one in totals:
            for reason, n_rows in one.rejected.items():
                rejected[reason] = rejected.get(reason, 0) + n_rows
        return AccountTotals(
            sum(one.accepted for one in totals),
            sum(one.stored for one in totals),
            rejected,
            sum(one.shadow for one in totals),
        )

    def count(self, place: Place, kind: str = PREDICTIONS) -> tuple[int, int]:
        """How many segments of a kind are in a place, and how many rows they hold."""
        found = [one.n_rows for one in self.segments if one.place == place and one.kind == kind]
        return len(found), sum(found)

    @property
    def n_found(self) -> int:
        """The predictions that are counted in segments, those that retention has removed since included."""
        return sum(one.n_rows for one in self.segments if one.kind == PREDICTIONS)


def read_status(home: Path, registry: Registry | None, models: Iterable[str] | None = None) -> list[ModelStatus]:
    """Count the log of some models, or of all that have one.

    The counters are read first, the segments after them: a row that is stored meanwhile can only be found without
    having been counted, never the other way round.
    """
    accounts = read_accounts(home, registry)
    known = {path.parent.name for kind in KINDS for path in (home / "traffic").glob(f"*/{kind}")} | set(accounts)
    if registry is not None:
        with registry.database.read() as session:
            known |= set(list_traffic_models(session))
    chosen = sorted(known) if models is None else list(models)
    return [_judge(model, accounts.get(model, []), find_segments(home, model, registry)) for model in chosen]


def read_accounts(home: Path, registry: Registry | None = None) -> dict[str, list[WriterAccounts]]:
    """Read what all processes counted, by model: those of this machine, and copies of other hosts' accounts."""
    found: dict[str, list[WriterAccounts]] = {}
    here = set()
    folder = home / "traffic" / "accounts"
    for path in sorted(folder.glob("*.json")):
        # Whether it lives is asked first: whoever dies afterwards has written at least these counters.
        is_alive = _is_held(path.with_suffix(".lock"))
        document = orjson.loads(path.read_bytes())
        here.add(document["writer"]["name"])
        life: Life = "alive" if is_alive else "closed" if document["closed"] else "dead"
        writer = document["writer"]
        for model, totals in document["models"].items():
            found.setdefault(model, []).append(
                WriterAccounts(
                    writer["name"],
                    writer["host"],
                    writer["pid"],
                    life,
                    datetime.fromisoformat(document["written_at"]),
                    _totals(totals),
                )
            )
    if registry is None:
        return found
    with registry.database.read() as session:
        copies = list_writers(session)
    for copy in copies:
        if copy.name not in here:
            for model, totals in copy.totals.items():
                found.setdefault(model, []).append(
                    WriterAccounts(copy.name, copy.host, copy.pid, "elsewhere", copy.written_at, _totals(totals))
                )
    return found


def _judge(model: str, accounts: list[WriterAccounts], segments: list[FoundSegment]) -> ModelStatus:
    by_writer: dict[str | None, list[FoundSegment]] = {}
    for one in segments:
        by_writer.setdefault(one.writer, []).append(one)
    # What another host has not moved yet cannot be seen from here.
    elsewhere = {one.writer for one in accounts if one.life == "elsewhere"}
    holes = list(find_holes(one for one in segments if one.writer not in elsewhere))
    gaps = [one.fault for one in segments if one.fault is not None] + holes
    writers = [_judge_writer(one, by_writer.get(one.writer, [])) for one in accounts]
    notes = []
    uncounted = set(by_writer) - {one.writer for one in accounts}
    for writer in sorted(uncounted, key=str):
        n_rows = sum(one.n_rows for one in by_writer[writer] if one.kind == PREDICTIONS)
        if n_rows:
            notes.append(f"{n_rows:,} rows are of writer {writer}, which died before it had written its first accounts")
    return ModelStatus(
        model,
        tuple(writers),
        tuple(segments),
        tuple(notes),
        tuple(gaps + [gap for one in writers for gap in one.gaps]),
    )


def _judge_writer(accounts: WriterAccounts, segments: list[FoundSegment]) -> WriterStatus:
    totals = accounts.totals
    n_found = sum(one.n_rows for one in segments if one.kind == PREDICTIONS)
    surplus = n_found - totals.stored - totals.shadow
    notes, gaps = [], []
    if surplus < 0 and accounts.life == "elsewhere":
        notes.append(f"{-surplus:,} stored rows were still on host {accounts.host} when it copied its accounts")
    elif surplus < 0:
        gaps.append(
            f"writer {accounts.writer} counted {totals.stored + totals.shadow:,} rows as stored, "
            f"{n_found:,} are in segments: {-surplus:,} are in none"
        )
    elif surplus and accounts.life == "dead":
        notes.append(
            f"it died at {accounts.written_at:%Y-%m-%d %H:%M:%S} UTC or within a second after; the {surplus:,} rows "
            "that it stored since are in its segments and not in its counters"
        )
    elif surplus and accounts.life == "closed":
        gaps.append(
            f"writer {accounts.writer} counted {totals.stored + totals.shadow:,} rows as stored when it ended, and "
            f"{n_found:,} are in segments: {surplus:,} were refused and are there nevertheless, or are there twice"
        )
    if totals.in_flight < 0:
        gaps.append(f"writer {accounts.writer} stored or rejected {-totals.in_flight:,} rows more than it accepted")
    elif totals.in_flight and accounts.life in ("dead", "closed"):
        notes.append(f"{totals.in_flight:,} accepted rows had no answer when it ended")
    return WriterStatus(accounts, n_found, tuple(notes), tuple(gaps))


def _totals(document: dict[str, Any]) -> AccountTotals:
    return AccountTotals(document["accepted"], document["stored"], document["rejected"], document["shadow"])


def _is_held(lock: Path) -> bool:
    """Tell whether the process lives that made a lock file; the system takes the lock from a dead one."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
