"""Claims about the end of versions: protected ones stay, deleted ones are still named, both collections agree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from base.approval_spec import ApprovalSpec
from base.errors import ArgumentError
from base.times import utc_now
from registry.approvals import ask_approval
from registry.ledger import Rule, list_decisions
from registry.lineage import trace_lineage
from registry.models import VersionDeleted, VersionNotFound, find_version, resolve_present, roll_back
from registry.needed_files import find_needed
from registry.retention import RetentionPolicy, collect_garbage
from registry.store import Registry
from registry.tables import ModelVersion
from registry.tags import change_tags
from registry.version_retention import (
    VersionPolicy,
    VersionProtected,
    VersionsDeleted,
    delete_versions,
    plan_deletion,
    plan_version_retention,
    preview_deletion,
)
from tests.registry.histories import History, files_of

_LATER = timedelta(days=365)
_ONE = VersionPolicy(keep=1, older_than=timedelta(0))
_RULE = Rule("version retention", 1, {})


@pytest.fixture
def history(registry: Registry) -> History:
    return History(registry)


def _train(history: History, count: int) -> list[ModelVersion]:
    return [history.train(history.snapshot(history.segment())) for _ in range(count)]


def _delete(registry: Registry, policy: VersionPolicy = _ONE, *, is_preview: bool = False) -> VersionsDeleted:
    now = utc_now() + _LATER

    def plan(session: Any) -> Any:
        return plan_version_retention(session, policy, now)

    if is_preview:
        return preview_deletion(registry, plan, now=now)
    return delete_versions(registry, plan, rule=_RULE, now=now, actor="test", reason="old")


def _is_there(registry: Registry, version: ModelVersion) -> bool:
    return all(file in registry.artifacts for file in files_of(version.manifest))


def _numbers(deleted: VersionsDeleted) -> list[int]:
    return [version.number for version in deleted.deleted]


def test_champions_the_ones_before_and_kept_ones_stay(history: History) -> None:
    versions = _train(history, 7)
    for version in (versions[0], versions[1], versions[2]):
        history.promote(version)
    history.promote(versions[3], environment="staging")
    with history.registry.database.write() as session:
        change_tags(session, versions[4], put={"keep": ""}, actor="test")

    deleted = _delete(history.registry)

    assert {version.number: version.kept_for for version in deleted.versions} == {
        1: None,
        2: "to which a rollback in prod goes",
        3: "champion in prod",
        4: "champion in staging",
        5: "tagged 'keep'",
        6: None,
        7: "among the newest 1 of its model",
    }
    assert [_is_there(history.registry, version) for version in versions] == [
        False,
        True,
        True,
        True,
        True,
        False,
        True,
    ]


def test_a_version_whose_promotion_waits_for_people_stays_as_long_as_they_are_asked(history: History) -> None:
    asked, expired, _ = _train(history, 3)
    with history.registry.database.write() as session:
        for version, since in ((asked, timedelta(0)), (expired, timedelta(days=3))):
            ask_approval(
                session,
                ApprovalSpec(),
                version,
                environment="prod",
                revision=0,
                requester="ada",
                reason="better",
                now=utc_now() - since,
            )

    assert _numbers(_delete(history.registry)) == [expired.number]


def test_a_preview_says_what_the_deletion_does_and_deletes_nothing(history: History) -> None:
    versions = _train(history, 3)

    preview = _delete(history.registry, is_preview=True)

    assert all(_is_there(history.registry, version) for version in versions)
    deleted = _delete(history.registry)
    assert _numbers(preview) == _numbers(deleted) == [2, 1]
    assert {file.digest for file in preview.files} == {file.digest for file in deleted.files}
    assert deleted.freed_bytes > 0


def test_young_versions_stay(history: History) -> None:
    _train(history, 3)

    assert _numbers(_delete(history.registry, VersionPolicy(keep=1, older_than=2 * _LATER))) == []


def test_files_younger_than_an_hour_stay_until_the_next_collection(history: History) -> None:
    versions = _train(history, 2)

    def plan(session: Any) -> Any:
        return plan_version_retention(session, _ONE, utc_now() + _LATER)

    deleted = delete_versions(history.registry, plan, rule=_RULE, now=utc_now(), actor="test", reason="old")

    assert (_numbers(deleted), deleted.files) == ([1], ())
    assert _is_there(history.registry, versions[0])
    assert _delete(history.registry).deleted == ()
    assert not _is_there(history.registry, versions[0])


def test_a_file_that_another_version_names_stays(history: History) -> None:
    first, second = _train(history, 2)
    shared = {**second.manifest, "code": {"features.py": first.manifest["model_file"]}}
    with history.registry.database.write() as session:
        session.merge(second).manifest = shared

    _delete(history.registry)

    assert files_of(first.manifest["model_file"])[0] in history.registry.artifacts
    assert files_of(first.manifest["reference"])[0] not in history.registry.artifacts


def test_a_deleted_version_is_still_named_by_lineage_and_ledger_but_not_usable(history: History) -> None:
    _train(history, 2)

    _delete(history.registry)

    with history.registry.database.read() as session:
        version = find_version(session, "churn", 1)
        assert version is not None
        assert trace_lineage(session, version).steps
        decision = list_decisions(session)[0]
        with pytest.raises(VersionDeleted, match=r"churn@1 was deleted on .*; its record stays"):
            resolve_present(session, "prod", "churn@1")
    assert (decision.kind, decision.outcome, decision.run_id) == ("deletion", "churn@1 deleted", version.run_id)
    with pytest.raises(VersionDeleted):
        history.promote(version)


def test_the_number_of_a_deleted_version_is_never_given_again(history: History) -> None:
    _train(history, 2)
    _delete(history.registry)

    assert _train(history, 1)[0].number == 3


def test_one_version_can_be_deleted_unless_it_is_protected(history: History) -> None:
    versions = _train(history, 2)
    history.promote(versions[1])

    def delete(version: ModelVersion) -> VersionsDeleted:
        now = utc_now() + _LATER
        return delete_versions(
            history.registry,
            lambda session: plan_deletion(session, version),
            rule=_RULE,
            now=now,
            actor="test",
            reason="wrong",
        )

    assert _numbers(delete(versions[0])) == [1]
    with pytest.raises(VersionProtected, match="churn@2 cannot be deleted: it is champion in prod"):
        delete(versions[1])


def test_a_rollback_passes_over_deleted_versions(history: History) -> None:
    versions = _train(history, 4)
    for version in versions[:3]:
        history.promote(version)
    _delete(history.registry)

    def back() -> int:
        with history.registry.database.write() as session:
            return roll_back(session, "prod", "churn", actor="test", reason="worse").number

    assert back() == 2
    with pytest.raises(VersionNotFound, match="there is none to go back to"):
        back()
    with history.registry.database.write() as session, pytest.raises(VersionDeleted):
        roll_back(session, "prod", "churn", actor="test", reason="worse", to=1)


def test_the_collection_of_data_takes_what_a_deletion_left_when_it_died(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = _train(history, 2)
    with monkeypatch.context() as patch:
        patch.setattr("registry.version_retention.delete_unneeded", _die)
        with pytest.raises(KeyboardInterrupt):
            _delete(history.registry)
    assert _is_there(history.registry, versions[0])

    collect_garbage(
        history.registry, RetentionPolicy(keep=5, older_than=2 * _LATER), now=utc_now() + _LATER, actor="test"
    )

    assert not _is_there(history.registry, versions[0])
    assert _is_there(history.registry, versions[1])


def test_the_collection_of_data_keeps_the_data_of_a_tagged_version_and_not_of_a_deleted_one(history: History) -> None:
    versions = _train(history, 4)
    with history.registry.database.write() as session:
        change_tags(session, versions[0], put={"keep": ""}, actor="test")
    _delete(history.registry)

    policy = RetentionPolicy(keep=1, older_than=timedelta(0))
    plan = collect_garbage(history.registry, policy, now=utc_now() + _LATER, actor="test").plan

    kept = {snapshot.digest: snapshot.kept_for for snapshot in plan.snapshots if snapshot.kept_for}
    assert kept == {
        versions[0].manifest["snapshot"]: "churn@1, tagged 'keep'",
        versions[3].manifest["snapshot"]: "churn@4, among its newest 1 versions",
    }
    assert _is_there(history.registry, versions[0])


def test_messages_that_name_a_file_do_not_need_it(history: History) -> None:
    from registry.tables import WebhookDelivery

    digest = "f" * 64
    with history.registry.database.write() as session:
        session.add(WebhookDelivery(message_id="m", receiver="r", event="e", model="churn", body=digest))

    with history.registry.database.read() as session:
        assert digest not in find_needed(session)


def test_a_policy_keeps_at_least_one_version() -> None:
    with pytest.raises(ArgumentError, match="keep is 0"):
        VersionPolicy(keep=0)


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
