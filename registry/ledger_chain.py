"""The ledger's chain: is every decision still what was written, to the byte, and is none missing?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from base.times import as_utc
from registry.ledger import GENESIS, digest_decision
from registry.tables import Decision

_TEXTS = ("kind", "pipeline", "run_id", "outcome", "reason", "actor", "previous_digest", "digest")
_COLUMNS = ("sequence", *_TEXTS, "evidence", "decided_at")
# As SQLAlchemy writes a moment into SQLite.
_MOMENT = "%Y-%m-%d %H:%M:%S.%f"
_SHOWN = 12


@dataclass(frozen=True)
class BrokenLink:
    """The first place where the ledger is not what was written, and what differs there."""

    sequence: int
    problem: str


@dataclass(frozen=True)
class ChainReport:
    """What a walk along the chain found.

    ``head`` is the digest of the last entry: who keeps it elsewhere can tell later whether entries were cut off.
    """

    n_entries: int
    head: str
    broken: BrokenLink | None


@dataclass(frozen=True)
class _Entry:
    """A decision as it is stored, or what is wrong with how it is stored."""

    sequence: int | None
    decision: Decision | None
    problem: str = ""


def check_chain(session: Session, *, head: str | None = None) -> ChainReport:
    """Walk along the chain and find the first entry that is not what was written.

    A changed byte, a removed entry and a changed order are each found, since every digest covers the one before.
    SQLite's rows are compared as they lie in the file: what still reads the same (a space within a document, a text
    that has become a blob) was changed all the same. Entries that were cut off the end are found only by who
    kept a digest elsewhere.

    Parameters
    ----------
    head : str, optional
        Digest of an entry that was once the last, or the beginning of it; it must still be in the chain.
    """
    previous, count, seen = GENESIS, 0, head is None
    entries = _read_entries(session)
    try:
        for entry in entries:
            decision = entry.decision
            problem = _what_differs(entry, expected=count + 1, previous=previous)
            if problem is not None or decision is None:
                return ChainReport(count, previous, BrokenLink(count + 1, problem or entry.problem))
            previous, count = decision.digest, count + 1
            seen = seen or previous.startswith(head or "")
        if damage := _look_at_file(session):
            return ChainReport(count, previous, BrokenLink(count + 1, damage))
    except DBAPIError as error:
        problem = f"the database cannot read it ({str(error.orig).splitlines()[0]}); restore the file from a backup"
        return ChainReport(count, previous, BrokenLink(count + 1, problem))
    if not seen:
        problem = (
            f"the entry whose digest you kept, {str(head)[:_SHOWN]}, is not in the chain of {count:,}: entries were "
            "cut off its end, or the whole of it was written anew"
        )
        return ChainReport(count, previous, BrokenLink(count + 1, problem))
    return ChainReport(count, previous, None)


def _what_differs(entry: _Entry, *, expected: int, previous: str) -> str | None:
    decision = entry.decision
    if entry.sequence not in (None, expected):
        return f"entry {expected} is missing: entry {entry.sequence} stands in its place"
    if decision is None:
        return entry.problem
    found = digest_decision(decision)
    if decision.previous_digest != previous:
        before = "that nothing comes before it" if previous == GENESIS else f"entry {expected - 1}, {previous[:_SHOWN]}"
        told = f"it names {decision.previous_digest[:_SHOWN]} as the digest before its own, expected {before}"
        return f"{told}; entries were exchanged, or its own words were changed"
    if decision.digest != found:
        # Whole where their beginnings are equal: one changed byte may lie anywhere.
        shown = _SHOWN if found[:_SHOWN] != decision.digest[:_SHOWN] else None
        return (
            f"its content ({decision.kind} of {decision.pipeline!r}, {decision.decided_at:%Y-%m-%d %H:%M}) has the "
            f"digest {found[:shown]}, written down was {decision.digest[:shown]}: one of the two was changed"
        )
    return None


def _read_entries(session: Session) -> Iterator[_Entry]:
    if session.connection().dialect.name == "sqlite":
        yield from _read_bytes(session)
        return
    query = select(Decision).order_by(col(Decision.sequence)).execution_options(populate_existing=True, yield_per=1000)
    for decision in session.exec(query):
        yield _Entry(decision.sequence, decision)


def _read_bytes(session: Session) -> Iterator[_Entry]:
    """Read SQLite's rows as bytes: the driver would turn unlike bytes into equal values, or fail on some."""
    casts = ", ".join(f"typeof({name}), CAST({name} AS BLOB)" for name in _COLUMNS)
    rows = session.connection().execute(text(f"SELECT {casts} FROM decision ORDER BY sequence"))
    for row in rows.yield_per(1000):
        stored = {name: (row[2 * place], row[2 * place + 1]) for place, name in enumerate(_COLUMNS)}
        values: dict[str, Any] = {}
        problem = ""
        for name, (kind, content) in stored.items():
            try:
                values[name] = _read_value(name, kind, content)
            except ValueError as error:
                problem = problem or f"its column {name!r} {error}"
        sequence = values.get("sequence")
        yield _Entry(sequence, None, problem) if problem else _Entry(sequence, Decision(**values))


def _read_value(name: str, kind: str, content: bytes | None) -> Any:
    """Read a stored value; one that is not written as Everfit writes it is a ValueError."""
    wanted = "integer" if name == "sequence" else "text"
    if content is None and name == "run_id":
        return None
    if content is None or kind != wanted:
        raise ValueError(f"holds {'nothing' if content is None else f'a value of type {kind}'}, expected {wanted}")
    try:
        written = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is no text (byte {error.start} of it is {content[error.start]:#04x})") from error
    if name == "sequence":
        return int(written)
    if name == "evidence":
        return _read_document(written)
    if name == "decided_at":
        return _read_moment(written)
    return written


def _read_document(written: str) -> Any:
    try:
        document = json.loads(written)
    except ValueError as error:
        raise ValueError(f"holds no document ({error})") from error
    if json.dumps(document) != written:
        raise ValueError("reads the same, but is not written as it was")
    return document


def _read_moment(written: str) -> datetime:
    try:
        moment = datetime.strptime(written, _MOMENT)  # noqa: DTZ007  (SQLite's moments have no zone)
    except ValueError:
        raise ValueError(f"holds {written!r}, which is no moment") from None
    if moment.strftime(_MOMENT) != written:
        raise ValueError("reads the same, but is not written as it was")
    return as_utc(moment)


def _look_at_file(session: Session) -> str | None:
    """Ask SQLite whether the table's pages and indexes hold together; a row's own bytes were compared before."""
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        return None
    found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check('decision')"))]
    return None if found == ["ok"] else f"the file that holds the ledger is damaged: {found[0].splitlines()[0]}"
