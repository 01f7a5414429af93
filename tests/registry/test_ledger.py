"""Claims about the ledger: whatever is changed afterwards is found."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as cases
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import Session

from registry.ledger import append_decision, first_broken_link, list_decisions
from registry.store import Registry
from tests.processes import run_at_once


def _append(registry: Registry, **changes: Any) -> int:
    options: dict[str, Any] = {
        "kind": "gate",
        "pipeline": "churn",
        "outcome": "better",
        "reason": "the loss fell",
        "actor": "test",
        "evidence": {"difference": -0.01},
    }
    with registry.database.write() as session:
        return append_decision(session, **(options | changes)).sequence


def _broken(registry: Registry) -> int | None:
    with registry.database.read() as session:
        return first_broken_link(session)


def _execute(*statements: str) -> Callable[[Session], None]:
    def change(session: Session) -> None:
        for statement in statements:
            session.connection().execute(text(statement))

    return change


def test_an_empty_ledger_is_whole(registry: Registry) -> None:
    assert _broken(registry) is None


def test_decisions_are_listed_newest_first_and_by_what_they_are_about(registry: Registry) -> None:
    for pipeline in ("churn", "fares", "churn"):
        _append(registry, pipeline=pipeline)

    with registry.database.read() as session:
        assert [decision.sequence for decision in list_decisions(session)] == [3, 2, 1]
        assert [decision.sequence for decision in list_decisions(session, pipeline="churn", limit=1)] == [3]
        assert list_decisions(session, run_id="none") == []


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (_execute("UPDATE decision SET kind = 'x' WHERE sequence = 3"), 3),
        (_execute("UPDATE decision SET pipeline = 'x' WHERE sequence = 3"), 3),
        (_execute("UPDATE decision SET run_id = 'x' WHERE sequence = 3"), 3),
        (_execute("UPDATE decision SET outcome = 'worse' WHERE sequence = 3"), 3),
        (_execute("UPDATE decision SET reason = 'x' WHERE sequence = 3"), 3),
        (_execute("UPDATE decision SET actor = 'x' WHERE sequence = 3"), 3),
        (_execute("""UPDATE decision SET evidence = '{"difference": -0.02}' WHERE sequence = 3"""), 3),
        (_execute("UPDATE decision SET decided_at = '2020-01-01 00:00:00.000000' WHERE sequence = 3"), 3),
        (_execute("UPDATE decision SET previous_digest = 'x' WHERE sequence = 3"), 3),
        (_execute("UPDATE decision SET digest = 'x' WHERE sequence = 3"), 3),
        (_execute("UPDATE decision SET sequence = 9 WHERE sequence = 5"), 5),
        (_execute("DELETE FROM decision WHERE sequence = 1"), 1),
        (_execute("DELETE FROM decision WHERE sequence = 3"), 3),
        (
            _execute(
                "DELETE FROM decision WHERE sequence = 3",
                "UPDATE decision SET sequence = sequence - 1 WHERE sequence = 4",
            ),
            3,
        ),
        (
            _execute(
                "UPDATE decision SET sequence = 0 WHERE sequence = 2",
                "UPDATE decision SET sequence = 2 WHERE sequence = 3",
                "UPDATE decision SET sequence = 3 WHERE sequence = 0",
            ),
            2,
        ),
    ],
)
def test_whatever_is_changed_afterwards_is_found(
    any_registry: Registry, change: Callable[[Session], None], broken: int
) -> None:
    for _ in range(5):
        _append(any_registry)
    assert _broken(any_registry) is None

    with any_registry.database.write() as session:
        change(session)
    assert _broken(any_registry) == broken


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=20)
    | st.datetimes(timezones=st.just(UTC) | st.none())
    | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10_000))
)
_EVIDENCE = st.dictionaries(
    st.text(max_size=10),
    st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner)),
    max_size=5,
)


@pytest.mark.slow
@cases(max_examples=60)
@given(evidence=_EVIDENCE)
@example(evidence={"whole": 1.0, "one": 1, "yes": True, "zero": -0.0, "large": 1e22, "small": 1e-320, "most": 1.7e308})
@example(
    evidence={
        "b": 1,
        "a": {"z": 1, "aa": 2},
        "nan": math.nan,
        "nul": "a\0b\ud800",
        "when": datetime(2024, 2, 29, tzinfo=UTC),
    }
)
def test_any_evidence_keeps_its_digest_through_the_database(any_registry: Registry, evidence: dict[str, Any]) -> None:
    _append(any_registry, evidence=evidence)

    assert _broken(any_registry) is None


def test_a_message_about_a_broken_file_can_be_a_reason(any_registry: Registry) -> None:
    _append(any_registry, reason="no such file: 'caf\udce9\0.csv'")

    assert _broken(any_registry) is None
    with any_registry.database.read() as session:
        assert list_decisions(session)[0].reason == "no such file: 'caf\ufffd\ufffd.csv'"


def test_processes_that_append_at_once_make_one_chain(any_registry: Registry) -> None:
    sequences = run_at_once(8, lambda _number: [_append(any_registry) for _ in range(5)])

    assert sorted(sequence for found in sequences for sequence in found) == list(range(1, 41))
    assert _broken(any_registry) is None
