"""Claims about the chain: a byte flipped anywhere in a row is found, and what was cut off by who kept the head."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st

from base.database import Database
from base.settings import Settings
from registry.ledger import Rule, append_decision
from registry.ledger_chain import ChainReport, check_chain
from registry.store import Registry, open_registry

N_ENTRIES = 4
# Bytes before the words of an entry in which SQLite keeps the types and lengths of its columns.
_TYPES = 11


def _fill(registry: Registry) -> None:
    for number in range(N_ENTRIES):
        with registry.database.write() as session:
            append_decision(
                session,
                kind="gate",
                pipeline="churn",
                run_id=None if number % 2 else f"run-{number}",
                outcome="better",
                reason="the loss fell",
                actor="test",
                evidence={"difference": -0.01, "checks": [1, 2.5, True, None]},
                rule=Rule("gate", 1, {"confidence": 0.95}),
                inputs={"losses": "ab" * 32},
            )


def _check(registry: Registry, head: str | None = None) -> ChainReport:
    with registry.database.read() as session:
        return check_chain(session, head=head)


@pytest.fixture(scope="module")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of one file, with all that was written in it."""
    home = tmp_path_factory.mktemp("ledger")
    registry = open_registry(Settings(home=home))
    _fill(registry)
    registry.database.close()
    file = home / "everfit.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    return file


def _rows_in_file(file: Path) -> list[int]:
    """List the places of the file that hold the entries: what each column holds, and its type and length before it."""
    content = file.read_bytes()
    with sqlite3.connect(file) as connection:
        digests = [digest.encode() for (digest,) in connection.execute("SELECT digest FROM decision ORDER BY sequence")]
    places: list[int] = []
    for digest in digests:
        # An entry holds its own digest last; its successor holds it, too, and the index once more.
        ends = [found.start() for found in re.finditer(digest, content)]
        starts = [content.rfind(b"gatechurn", 0, end) for end in ends]
        length, start = min((end - start, start) for end, start in zip(ends, starts, strict=True) if start >= 0)
        places += range(start - _TYPES, start + length + len(digest))
    return places


@cases(max_examples=60)
@given(draw=st.data())
def test_one_flipped_byte_in_a_row_is_found(ledger_file: Path, draw: st.DataObject) -> None:
    content = ledger_file.read_bytes()
    place = draw.draw(st.sampled_from(_rows_in_file(ledger_file)))
    flipped = bytearray(content)
    flipped[place] ^= draw.draw(st.integers(1, 255))
    file = ledger_file.with_name("flipped.db")
    file.write_bytes(flipped)

    database = Database(f"sqlite:///{file}")
    with database.read() as session:
        report = check_chain(session)
    database.close()

    assert report.broken is not None, f"byte {place}: {content[place]:#x} → {flipped[place]:#x}"


def test_a_whole_chain_tells_its_length_and_head(any_registry: Registry) -> None:
    assert _check(any_registry) == ChainReport(0, "0" * 64, None)
    _fill(any_registry)

    report = _check(any_registry)

    assert (report.n_entries, report.broken) == (N_ENTRIES, None)
    assert _check(any_registry, head=report.head).broken is None


def test_entries_cut_off_the_end_are_found_by_the_head_that_was_kept(registry: Registry) -> None:
    from sqlalchemy import text

    _fill(registry)
    head = _check(registry).head
    with registry.database.write() as session:
        session.connection().execute(text("DELETE FROM decision WHERE sequence = 4"))

    assert _check(registry).broken is None
    broken = _check(registry, head=head).broken
    assert broken is not None
    assert "cut off" in broken.problem


def test_a_head_that_is_no_longer_the_last_is_still_known(registry: Registry) -> None:
    _fill(registry)
    head = _check(registry).head
    _fill(registry)

    assert _check(registry, head=head[:16]).broken is None


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE decision SET reason = 'x' WHERE sequence = 2", "one of the two was changed"),
        ("UPDATE decision SET reason = CAST(reason AS BLOB) WHERE sequence = 2", "a value of type blob"),
        ("UPDATE decision SET evidence = replace(evidence, ': ', ':') WHERE sequence = 2", "not written as it was"),
        ("UPDATE decision SET evidence = '{' WHERE sequence = 2", "holds no document"),
        ("UPDATE decision SET decided_at = 'noon' WHERE sequence = 2", "which is no moment"),
        ("UPDATE decision SET reason = CAST(x'ff' AS TEXT) WHERE sequence = 2", "is no text"),
        ("DELETE FROM decision WHERE sequence = 2", "entry 2 is missing: entry 3 stands in its place"),
    ],
)
def test_what_differs_is_told(registry: Registry, statement: str, told: str) -> None:
    from sqlalchemy import text

    _fill(registry)
    with registry.database.write() as session:
        session.connection().execute(text(statement))

    broken: Any = _check(registry).broken

    assert broken is not None
    assert broken.sequence == 2
    assert told in broken.problem
