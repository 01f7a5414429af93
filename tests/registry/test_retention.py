"""Claims about retention: what a kept version needs stays, what nothing needs goes, whenever the process dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.artifacts import STORED_AGAIN_AFTER, Artifact, ArtifactStore
from base.errors import ArgumentError
from base.settings import Settings
from base.times import utc_now
from registry.ledger import list_decisions
from registry.lineage import trace_lineage
from registry.models import find_version, roll_back
from registry.retention import Collected, RetentionPolicy, collect_garbage, preview_garbage
from registry.snapshots import find_snapshot, newest_snapshot, record_snapshot
from registry.store import Registry, open_registry
from tests.registry.histories import History, files_of

_ANY_AGE = timedelta(0)
# Seen from here, everything that a test has made is old.
_LATER = timedelta(days=365)
_ONE = RetentionPolicy(keep=1, older_than=_ANY_AGE)


@pytest.fixture
def history(registry: Registry) -> History:
    return History(registry)


def _collect(registry: Registry, policy: RetentionPolicy = _ONE, **options: Any) -> Collected:
    return collect_garbage(registry, policy, now=utc_now() + _LATER, actor="test", **options)


def _reads(registry: Registry, document: Any) -> bool:
    return all(registry.artifacts.read_bytes(file) is not None for file in files_of(document))


def test_a_snapshot_that_nothing_needs_ends_with_its_files(history: History) -> None:
    old = history.snapshot(history.segment())
    new = history.snapshot(history.segment())

    collected = _collect(history.registry)

    assert [snapshot.digest for snapshot in collected.plan.deleted] == [old.digest]
    assert collected.freed_bytes == old.rows.segments[0].artifact.size_bytes
    assert old.rows.segments[0].artifact not in history.registry.artifacts
    assert _reads(history.registry, new.model_dump())


def test_a_deleted_snapshot_keeps_its_place_and_says_so(history: History) -> None:
    old = history.snapshot(history.segment())
    history.snapshot(history.segment())

    _collect(history.registry)

    assert history.rows()[old.digest].deleted_at is not None
    with history.registry.database.read() as session, pytest.raises(ArgumentError, match="deleted by retention"):
        find_snapshot(session, "churn", old.digest)


def test_the_ledger_says_what_was_deleted(history: History) -> None:
    old = history.snapshot(history.segment())
    history.snapshot(history.segment())

    _collect(history.registry)

    with history.registry.database.read() as session:
        (decision,) = list_decisions(session)
    assert (decision.outcome, decision.actor) == ("1 snapshots deleted", "test")
    assert decision.evidence["inputs"] == {"snapshots": [old.digest]}
    assert decision.evidence["rule"]["name"] == "retention"


def test_daily_growth_costs_nothing_and_so_every_day_stays(history: History) -> None:
    days = [history.grow() for _ in range(4)]

    collected = _collect(history.registry)

    assert (collected.plan.deleted, collected.freed_bytes) == ((), 0)
    assert {judged.kept_for for judged in collected.plan.snapshots[1:]} == {"others need all of its files"}
    assert all(_reads(history.registry, day.model_dump()) for day in days)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_snapshots_stay(history: History, keep: int) -> None:
    made = [history.snapshot(history.segment()) for _ in range(4)]

    collected = _collect(history.registry, RetentionPolicy(keep=keep, older_than=_ANY_AGE))

    assert {judged.digest for judged in collected.plan.deleted} == {snapshot.digest for snapshot in made[:-keep]}


def test_what_is_young_stays(history: History) -> None:
    made = utc_now() + _LATER
    history.snapshot(history.segment(), made=made - timedelta(days=9))
    young = history.snapshot(history.segment(), made=made - timedelta(days=5))
    history.snapshot(history.segment(), made=made)

    collected = _collect(history.registry, RetentionPolicy(keep=1, older_than=timedelta(days=7)))

    assert [judged.kept_for for judged in collected.plan.snapshots if judged.digest == young.digest] == ["young"]
    assert len(collected.plan.deleted) == 1


def test_what_an_alias_of_any_environment_needs_stays(history: History) -> None:
    first = history.snapshot(history.segment())
    champion = history.train(first)
    history.promote(champion, environment="staging")
    for _ in range(3):
        history.train(history.snapshot(history.segment()))

    collected = _collect(history.registry)

    reasons = {judged.digest: judged.kept_for for judged in collected.plan.snapshots}
    assert reasons[first.digest] == "churn@1, champion in staging"
    with history.registry.database.read() as session:
        assert _reads(history.registry, [step.output for step in trace_lineage(session, champion).steps])


def test_what_a_rollback_would_go_to_stays(history: History) -> None:
    versions = [history.train(history.snapshot(history.segment())) for _ in range(3)]
    for version in versions:
        history.promote(version)

    _collect(history.registry)

    with history.registry.database.write() as session:
        alias = roll_back(session, "prod", "churn", actor="test", reason="test")
        back = find_version(session, "churn", alias.number)
        assert back is not None
        assert back.number == 2
        find_snapshot(session, "churn", back.manifest["snapshot"])
        assert _reads(history.registry, [step.output for step in trace_lineage(session, back).steps])


def test_every_registered_model_can_still_be_served(history: History) -> None:
    versions = [history.train(history.snapshot(history.segment())) for _ in range(4)]

    _collect(history.registry)

    assert all(_reads(history.registry, version.manifest) for version in versions)


def test_prepared_data_of_old_runs_end(history: History) -> None:
    snapshot = history.snapshot(history.segment())
    prepared = []
    for _ in range(3):
        run = history.run(snapshot)
        prepared.append(history.file(f"prepared {run.id}"))

    _collect(history.registry)

    assert [file in history.registry.artifacts for file in prepared] == [False, False, True]


def test_a_pipeline_that_is_being_trained_loses_no_snapshot(history: History) -> None:
    old = history.snapshot(history.segment())
    history.snapshot(history.segment())
    history.run(old, is_under_way=True)

    collected = _collect(history.registry)

    assert collected.plan.deleted == ()
    assert _reads(history.registry, old.model_dump())


def test_a_run_under_way_loses_no_file_that_it_has_not_recorded_yet(history: History) -> None:
    history.run(history.snapshot(history.segment()), is_under_way=True)
    unrecorded = history.file("written by a step that has not ended")

    _collect(history.registry)

    assert unrecorded in history.registry.artifacts


@pytest.mark.parametrize(("age", "stays"), [(timedelta(minutes=5), True), (timedelta(hours=3), False)])
def test_a_file_that_nothing_names_goes_when_it_is_no_longer_young(
    history: History, age: timedelta, stays: bool
) -> None:
    orphan = history.file("left by a step that died")

    collect_garbage(history.registry, _ONE, now=utc_now() + age, actor="test")

    assert (orphan in history.registry.artifacts) is stays


def test_an_old_file_that_is_stored_again_is_young_again(history: History, tmp_path: Path) -> None:
    old = history.file("the same content")
    path = history.registry.artifacts.local_path(old)
    _age(path)

    assert history.file("the same content") == old

    collect_garbage(history.registry, _ONE, now=utc_now(), actor="test")
    assert old in history.registry.artifacts


def test_a_file_of_an_object_store_that_is_stored_again_is_young_again(tmp_path: Path) -> None:
    import fsspec

    store = ArtifactStore(f"memory://{tmp_path.name}/store", cache=tmp_path)
    kept = store.put_bytes(b"content")
    (address,) = fsspec.filesystem("memory").find(f"/{tmp_path.name}")
    fsspec.filesystem("memory").store[address].modified -= timedelta(days=1)

    store.put_bytes(b"content")

    assert not store.delete(kept, unless_since=utc_now() - STORED_AGAIN_AFTER)
    assert store.delete(kept, unless_since=utc_now() + timedelta(seconds=1))
    assert (list(store.list_files()), store.touched(kept)) == ([], None)


def test_what_a_crash_left_half_written_goes(history: History) -> None:
    kept = history.file("x")
    leftover = history.registry.artifacts.local_path(kept).parent / ".writing-0123456789abcdef"
    leftover.write_bytes(b"half")
    _age(leftover)

    collected = _collect(history.registry)

    assert not leftover.exists()
    assert collected.unfinished_bytes == 4


def test_a_preview_deletes_nothing_and_tells_the_truth(history: History) -> None:
    for _ in range(3):
        history.train(history.snapshot(history.segment()))
    policy = RetentionPolicy(keep=1, older_than=_ANY_AGE)

    preview = preview_garbage(history.registry, policy, now=utc_now() + _LATER)
    before = set(history.registry.artifacts.list_files())
    collected = _collect(history.registry, policy)

    assert {file.digest for file in preview.files} == {file.digest for file in collected.files}
    assert (preview.freed_bytes, len(preview.files)) == (collected.freed_bytes, len(collected.files))
    assert preview.freed_bytes > 0
    assert before - set(history.registry.artifacts.list_files()) == set(collected.files)


def test_the_same_content_again_is_a_snapshot_again(history: History) -> None:
    old = history.snapshot(history.segment())
    history.snapshot(history.segment())
    _collect(history.registry)

    with history.registry.database.write() as session:
        record_snapshot(session, "churn", old, source="s", state={}, n_new=0)

    with history.registry.database.read() as session:
        assert find_snapshot(session, "churn", old.digest).deleted_at is None


def test_no_newest_snapshot_is_a_refusal(history: History) -> None:
    with pytest.raises(ArgumentError, match="keep is 0, expected at least 1"):
        RetentionPolicy(keep=0)


def _age(path: Path) -> None:
    then = (utc_now() - timedelta(days=9)).timestamp()
    os.utime(path, (then, then))


class _DiesAfter(ArtifactStore):
    """A store whose process dies at the n-th deletion, before or after the file is gone."""

    def __init__(self, store: ArtifactStore, n_deletions: int, *, is_late: bool) -> None:
        super().__init__(store.url)
        self.n_left, self.is_late = n_deletions, is_late

    def delete(self, artifact: Artifact, **options: Any) -> bool:
        self.n_left -= 1
        if self.n_left < 0 and not self.is_late:
            raise KeyboardInterrupt
        gone = super().delete(artifact, **options)
        if self.n_left < 0:
            raise KeyboardInterrupt
        return gone


@pytest.fixture(scope="module")
def shared_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One registry for all examples of the law: migrating a new one for each would take minutes."""
    opened = open_registry(Settings(home=tmp_path_factory.mktemp("retention")))
    yield opened
    opened.database.close()


_ACTIONS = st.lists(
    st.sampled_from(["grow", "lose_rows", "again", "fresh", "train", "promote", "stage", "run", "roll_back"]),
    min_size=3,
    max_size=14,
)
_N_HISTORIES = iter(range(10**9))


@pytest.mark.slow
@settings(max_examples=25)
@given(
    actions=_ACTIONS,
    keep=st.integers(1, 3),
    n_deletions=st.none() | st.integers(0, 4),
    is_late=st.booleans(),
    pick=st.randoms(use_true_random=False),
)
def test_whatever_happened_all_that_is_kept_still_reads(
    shared_registry: Registry, actions: list[str], keep: int, n_deletions: int | None, is_late: bool, pick: Any
) -> None:
    registry = shared_registry
    history = History(registry, f"law{next(_N_HISTORIES)}")
    versions = _live(history, actions, pick)
    policy = RetentionPolicy(keep=keep, older_than=_ANY_AGE)

    if n_deletions is not None:
        dying = Registry(registry.database, _DiesAfter(registry.artifacts, n_deletions, is_late=is_late))
        with suppress(KeyboardInterrupt):
            _collect(dying, policy)
    _collect(registry, policy)
    again = _collect(registry, policy)

    assert (again.files, again.plan.deleted) == ((), ())
    with registry.database.read() as session:
        newest = newest_snapshot(session, history.pipeline)
    assert newest is not None
    for row in history.rows().values():
        assert row.deleted_at is not None or _reads(registry, row.document)
    with registry.database.read() as session:
        for number in {version.number for version in versions[-keep:]} | _aliased(history):
            version = find_version(session, history.pipeline, number)
            assert version is not None
            assert find_snapshot(session, history.pipeline, version.manifest["snapshot"])
            assert _reads(registry, [step.output for step in trace_lineage(session, version).steps])
    assert all(_reads(registry, version.manifest) for version in versions)


def _live(history: History, actions: list[str], pick: Any) -> list[Any]:
    history.grow()
    versions: list[Any] = []
    for action in actions:
        snapshot = pick.choice(history.snapshots)
        if action == "grow":
            history.grow()
        elif action == "lose_rows":
            history.lose_rows()
        elif action == "fresh":
            history.snapshot(history.segment())
        elif action == "again":
            history.snapshot(*pick.choice(history.snapshots).rows.segments)
        elif action == "run":
            history.run(snapshot)
        elif action == "train":
            versions.append(history.train(snapshot))
        elif action in ("promote", "stage") and versions:
            history.promote(pick.choice(versions), environment={"promote": "prod"}.get(action, "staging"))
        elif action == "roll_back" and _aliased(history):
            # There may be nothing to go back to.
            with suppress(ArgumentError), history.registry.database.write() as session:
                roll_back(session, "prod", history.pipeline, actor="test", reason="test")
    return versions


def _aliased(history: History) -> set[int]:
    from sqlmodel import select

    from registry.tables import Alias

    with history.registry.database.read() as session:
        return {alias.number for alias in session.exec(select(Alias).where(Alias.model == history.pipeline))}
