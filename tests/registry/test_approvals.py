"""Approvals: who may answer, what an answer does, and what happens when time or the champion moves on."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import Session

from base.approval_spec import ApprovalSpec
from registry.approval_rule import Answer
from registry.approvals import (
    APPROVED,
    EXPIRED,
    OVERTAKEN,
    REJECTED,
    WAITING,
    ApprovalRefused,
    answer_approval,
    ask_approval,
    close_expired,
    find_approval,
    list_answers,
    list_approvals,
)
from registry.ledger import first_broken_link, list_decisions
from registry.models import find_alias, promote_version
from registry.store import Registry
from registry.tables import Approval, Run
from tests.registry.samples import a_pipeline_in, a_version

NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)
REQUESTER = "ada"


def _asked(registry: Registry, spec: ApprovalSpec | None = None) -> str:
    """Let one version wait for approval, and return its run."""
    with registry.database.write() as session:
        version = a_version(session, a_pipeline_in(session))
        run = session.get_one(Run, version.run_id)
        run.status = WAITING
        session.add(run)
        approval = ask_approval(
            session,
            spec or ApprovalSpec(),
            version,
            environment="prod",
            revision=0,
            requester=REQUESTER,
            reason="better by 0.01",
            now=NOON,
        )
        return approval.run_id


def _answer(
    session: Session, run: str, actor: str = "ben", answer: Answer = "approve", now: datetime = NOON
) -> Approval:
    return answer_approval(session, run, actor=actor, answer=answer, reason="seen", now=now)


def test_the_last_approval_promotes(any_registry: Registry) -> None:
    run = _asked(any_registry, ApprovalSpec(needed=2))

    with any_registry.database.write() as session:
        assert _answer(session, run, "ben").status == WAITING
        assert find_alias(session, "prod", "churn") is None
    with any_registry.database.write() as session:
        assert _answer(session, run, "cleo").status == APPROVED
    with any_registry.database.read() as session:
        alias = find_alias(session, "prod", "churn")
        assert alias is not None
        assert alias.number == 1
        assert session.get_one(Run, run).status == "promoted"
        assert [given.actor for given in list_answers(session, run)] == ["ben", "cleo"]
        kinds = [(each.kind, each.outcome) for each in reversed(list_decisions(session, run_id=run))]
        assert kinds == [
            ("approval", "asked"),
            ("approval", "approve"),
            ("approval", "approve"),
            ("promotion", "churn@champion = 1"),
        ]
        assert first_broken_link(session) is None


def test_one_who_rejects_is_enough(registry: Registry) -> None:
    run = _asked(registry, ApprovalSpec(needed=2))

    with registry.database.write() as session:
        assert _answer(session, run, answer="reject").status == REJECTED
    with registry.database.read() as session:
        assert find_alias(session, "prod", "churn") is None
        assert session.get_one(Run, run).status == "kept"
        assert list_approvals(session, waiting_only=True) == []


@pytest.mark.parametrize(
    ("spec", "actor", "now", "expected"),
    [
        (ApprovalSpec(), REQUESTER, NOON, "'ada' asked for this training"),
        (ApprovalSpec(approvers=("ben",)), "cleo", NOON, "'cleo' is none of the approvers"),
        (ApprovalSpec(), "ben", NOON + timedelta(days=2), "was over at 2026-05-05 12:00 UTC"),
    ],
)
def test_an_answer_of_the_wrong_person_or_too_late_does_not_count(
    registry: Registry, spec: ApprovalSpec, actor: str, now: datetime, expected: str
) -> None:
    run = _asked(registry, spec)

    with pytest.raises(ApprovalRefused, match=expected), registry.database.write() as session:
        _answer(session, run, actor, now=now)
    with registry.database.read() as session:
        assert list_answers(session, run) == []
        assert find_approval(session, "churn").status == WAITING


def test_nobody_answers_twice(registry: Registry) -> None:
    run = _asked(registry, ApprovalSpec(needed=2))
    with registry.database.write() as session:
        _answer(session, run, "ben")

    with pytest.raises(ApprovalRefused, match="'ben' has answered"), registry.database.write() as session:
        _answer(session, run, "ben")


def test_time_runs_out(registry: Registry) -> None:
    run = _asked(registry)

    with registry.database.write() as session:
        assert close_expired(session, NOON + timedelta(days=1)) == []
        assert [each.run_id for each in close_expired(session, NOON + timedelta(days=2))] == [run]
    with registry.database.read() as session:
        approval = find_approval(session, run)
        assert approval.status == EXPIRED
        assert session.get_one(Run, run).status == "kept"


def test_an_approval_of_a_comparison_with_another_champion_promotes_nothing(registry: Registry) -> None:
    run = _asked(registry)
    with registry.database.write() as session:
        other = a_version(session, a_pipeline_in(session, digest="e" * 64))
        promote_version(session, "prod", other, expected_revision=0, actor="zoe", reason="by hand")

    with registry.database.write() as session:
        assert _answer(session, run).status == OVERTAKEN
    with registry.database.read() as session:
        alias = find_alias(session, "prod", "churn")
        assert alias is not None
        assert alias.number == 2


def test_of_two_last_answers_at_once_one_promotes(any_registry: Registry) -> None:
    run = _asked(any_registry)
    refused: list[ApprovalRefused] = []

    def answer(actor: str) -> None:
        try:
            with any_registry.database.write() as session:
                _answer(session, run, actor)
        except ApprovalRefused as error:
            refused.append(error)

    people = [threading.Thread(target=answer, args=(actor,)) for actor in ("ben", "cleo", "dan")]
    for each in people:
        each.start()
    for each in people:
        each.join()

    assert len(refused) == 2
    with any_registry.database.read() as session:
        alias = find_alias(session, "prod", "churn")
        assert alias is not None
        assert alias.revision == 1


def test_the_same_run_asks_once(registry: Registry) -> None:
    run = _asked(registry)
    with registry.database.write() as session:
        from registry.models import find_version

        version = find_version(session, "churn", 1)
        assert version is not None
        again = ask_approval(
            session,
            ApprovalSpec(needed=3),
            version,
            environment="prod",
            revision=5,
            requester="zoe",
            reason="again",
            now=NOON + timedelta(hours=1),
        )

        assert (again.run_id, again.needed, again.requester) == (run, 1, REQUESTER)
        assert len(list_decisions(session, run_id=run)) == 1


def test_more_people_needed_than_named_is_a_wrong_definition() -> None:
    with pytest.raises(ValueError, match="needed: 2, but approvers names 1"):
        ApprovalSpec(needed=2, approvers=("ben",))
