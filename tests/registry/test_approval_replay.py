"""Claims about approvals in the replay: the same answers lead to the same end, and a forged one is found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlmodel import Session, col, select

from base.approval_spec import ApprovalSpec
from registry.approval_rule import Answer, Given, Question, decide_standing, why_not_counted
from registry.approvals import (
    WAITING,
    ApprovalRefused,
    answer_approval,
    ask_approval,
    close_expired,
)
from registry.ledger_replay import Replayed, replay_decisions
from registry.models import promote_version
from registry.store import Registry
from registry.tables import Approval, ApprovalAnswer, Decision, Run
from tests.registry.samples import a_pipeline_in, a_version

NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)
SPEC = ApprovalSpec(needed=2, approvers=("ben", "cleo", "dora"), expires=timedelta(days=1))
PEOPLE = ("ada", "ben", "cleo", "dora", "eve")


def _ask(registry: Registry, spec: ApprovalSpec = SPEC) -> str:
    with registry.database.write() as session:
        version = a_version(session, a_pipeline_in(session))
        run = session.get_one(Run, version.run_id)
        run.status = WAITING
        ask_approval(session, spec, version, environment="prod", revision=0, requester="ada", reason="better", now=NOON)
        return version.run_id


def _answer(registry: Registry, run: str, actor: str, answer: Answer = "approve", *, after: float = 1) -> None:
    now = NOON + timedelta(hours=after)
    with registry.database.write() as session:
        answer_approval(session, run, actor=actor, answer=answer, reason="seen", now=now)


def _overtake(registry: Registry) -> None:
    with registry.database.write() as session:
        other = a_version(session, a_pipeline_in(session, digest="e" * 64))
        promote_version(session, "prod", other, expected_revision=0, actor="eve", reason="by hand")


def _expire(registry: Registry) -> None:
    with registry.database.write() as session:
        close_expired(session, NOON + timedelta(days=2))


def _replay(registry: Registry) -> list[Replayed]:
    return list(replay_decisions(registry))


def _approved(registry: Registry) -> str:
    run = _ask(registry)
    _answer(registry, run, "ben")
    _answer(registry, run, "cleo")
    return run


def _rejected(registry: Registry) -> str:
    run = _ask(registry)
    _answer(registry, run, "ben")
    _answer(registry, run, "dora", "reject")
    return run


def _expired(registry: Registry) -> str:
    run = _ask(registry)
    _answer(registry, run, "ben")
    _expire(registry)
    return run


def _overtaken(registry: Registry) -> str:
    run = _ask(registry)
    _answer(registry, run, "ben")
    _overtake(registry)
    _answer(registry, run, "cleo")
    return run


ENDS = [_ask, _approved, _rejected, _expired, _overtaken]


@pytest.mark.parametrize("end", ENDS)
def test_every_end_is_decided_again_to_the_same(any_registry: Registry, end: Callable[[Registry], str]) -> None:
    end(any_registry)

    found = _replay(any_registry)

    assert found
    assert {each.answer for each in found if each.decision.kind == "approval"} == {"identical"}, found


def _entry(session: Session, run: str, outcome: str) -> Decision:
    query = select(Decision).where(Decision.run_id == run, Decision.outcome == outcome)
    return session.exec(query.order_by(col(Decision.sequence).desc())).all()[0]


def _change(session: Session, decision: Decision, **part: Any) -> None:
    decision.evidence = {**decision.evidence, **part}
    session.add(decision)


def _requester_answers(session: Session, run: str) -> None:
    _entry(session, run, "approve").actor = "ada"


def _stranger_answers(session: Session, run: str) -> None:
    _entry(session, run, "approve").actor = "eve"


def _same_person_twice(session: Session, run: str) -> None:
    _entry(session, run, "approve").actor = "ben"


def _answer_after_the_time(session: Session, run: str) -> None:
    decision = _entry(session, run, "approve")
    late = (NOON + timedelta(days=1, seconds=1)).isoformat()
    _change(session, decision, inputs={**decision.evidence["inputs"], "as_of": late})


def _one_was_enough(session: Session, run: str) -> None:
    decision = _entry(session, run, "asked")
    rule = decision.evidence["rule"]
    _change(session, decision, rule={**rule, "parameters": {**rule["parameters"], "needed": 1}})


def _row_put_in(session: Session, run: str) -> None:
    session.add(ApprovalAnswer(run_id=run, actor="dora", answer="approve", reason="", answered_at=NOON))


def _row_changed(session: Session, run: str) -> None:
    session.get_one(Approval, run).status = "rejected"


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (_requester_answers, "the answer of 'ada' does not count: 'ada' asked for this training"),
        (_stranger_answers, "the answer of 'eve' does not count: 'eve' is none of the approvers"),
        (_same_person_twice, "the answer of 'ben' does not count: 'ben' has answered already"),
        (_answer_after_the_time, "does not count: the time to answer was over"),
        (_one_was_enough, "needed: asked 1, the definition said 2"),
        (_row_put_in, "the registry holds the answers"),
        (_row_changed, "the registry says that it is rejected, the ledger that it is approved"),
    ],
)
def test_a_promotion_that_people_had_not_agreed_to_is_found(
    registry: Registry, tamper: Callable[[Session, str], None], told: str
) -> None:
    run = _approved(registry)
    with registry.database.write() as session:
        tamper(session, run)

    faults = [each for each in _replay(registry) if each.is_fault]

    assert faults
    assert any(told in each.told for each in faults), faults


def test_an_agreement_that_led_to_nothing_is_found(registry: Registry) -> None:
    run = _overtaken(registry)
    with registry.database.write() as session:
        session.delete(_entry(session, run, "overtaken"))

    assert any("holds no promotion" in each.told or "says that it is" in each.told for each in _replay(registry))


answers = st.lists(
    st.tuples(st.sampled_from(PEOPLE), st.sampled_from(["approve", "reject"]), st.floats(0, 30)), max_size=6
)


@given(answers=answers, needed=st.integers(1, 3))
def test_no_promotion_without_enough_different_people_in_time(
    answers: list[tuple[str, Answer, float]], needed: int
) -> None:
    question = Question("ada", needed, ("ben", "cleo", "dora"), NOON + timedelta(hours=24))
    counted: list[Given] = []
    for actor, answer, hours in sorted(answers, key=lambda each: each[2]):
        if why_not_counted(question, counted, actor, NOON + timedelta(hours=hours)) is None:
            assert hours < 24
            counted.append(Given(actor, answer))

    agreed = {each.actor for each in counted if each.answer == "approve"}
    standing = decide_standing(question, counted, NOON + timedelta(hours=31))

    assert agreed <= {"ben", "cleo", "dora"}
    assert (standing == "approved") == (len(agreed) >= needed and all(each.answer == "approve" for each in counted))


@given(answers=answers)
@hypothesis_settings(max_examples=10)
def test_the_replay_of_whatever_people_try_is_identical(answers: list[tuple[str, Answer, float]]) -> None:
    import tempfile
    from pathlib import Path

    from base.settings import Settings
    from registry.store import open_registry

    with tempfile.TemporaryDirectory() as folder:
        registry = open_registry(Settings(home=Path(folder)))
        run = _ask(registry)
        for actor, answer, hours in sorted(answers, key=lambda each: each[2]):
            if hours >= 24:
                _expire(registry)
            try:
                _answer(registry, run, actor, answer, after=hours)
            except ApprovalRefused:
                continue

        found = _replay(registry)
        registry.database.close()

    assert {each.answer for each in found} == {"identical"}, found
