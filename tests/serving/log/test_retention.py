"""Claims about retention: what is kept no longer goes, with a record of how much there was."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.artifacts import Artifact
from base.log_spec import LogSpec
from base.times import utc_now
from registry.ledger import list_decisions
from registry.ledger_chain import check_chain
from registry.manifest import ModelManifest
from registry.needed_files import find_needed
from registry.store import Registry
from registry.tables import TrafficSegment
from registry.traffic import list_moved
from serving.log import retention
from serving.log.retention import KeptTraffic, choose_removed, remove_traffic
from serving.log.status import read_status
from serving.log.upkeep import move_all, remove_old
from tests.serving.log.samples import NOON, fill_day, read_ids

_segments = st.lists(
    st.builds(
        lambda hours, size: TrafficSegment(
            id=f"{hours}-{size}",
            model="trips",
            kind="predictions",
            version=1,
            n_rows=1,
            size_bytes=size,
            last_predicted_at=NOON - timedelta(hours=hours),
        ),
        st.integers(0, 200),
        st.integers(1, 1000),
    ),
    max_size=12,
)


def _age(segment: TrafficSegment) -> datetime:
    assert segment.last_predicted_at is not None
    return segment.last_predicted_at


@given(_segments, st.none() | st.integers(1, 150), st.none() | st.integers(0, 4000))
def test_what_is_removed_is_the_oldest_and_no_more_than_needed(
    segments: list[TrafficSegment], hours: int | None, size: int | None
) -> None:
    policy = KeptTraffic(None if hours is None else timedelta(hours=hours), size)

    removed = choose_removed(segments, policy, NOON)

    kept = [one for one in segments if all(one is not gone for gone in removed)]
    assert all(_age(gone) <= _age(one) for gone in removed for one in kept)
    if hours is not None:
        assert all(NOON - _age(one) <= timedelta(hours=hours) for one in kept)
    if size is not None:
        assert sum(one.size_bytes for one in kept) <= size
    if removed:
        last = removed[-1]
        needed_by_age = hours is not None and NOON - _age(last) > timedelta(hours=hours)
        needed_by_size = size is not None and sum(one.size_bytes for one in kept) + last.size_bytes > size
        assert needed_by_age or needed_by_size


def _moved(home: Path, registry: Registry, manifest: ModelManifest, n_days: int = 4) -> list[list[str]]:
    ids = [fill_day(home, manifest, NOON + timedelta(days=day)) for day in range(n_days)]
    move_all(home, registry)
    return ids


def test_what_was_removed_is_in_the_ledger_and_the_accounts_still_add_up(
    tmp_path: Path, registry: Registry, manifest: ModelManifest
) -> None:
    ids = _moved(tmp_path, registry, manifest)
    with registry.database.read() as session:
        sizes = [one.size_bytes for one in list_moved(session)]
        files = [Artifact.model_validate(one.artifact) for one in list_moved(session)]

    removed = remove_traffic(registry, "trips", KeptTraffic(keep_bytes=sum(sizes[2:]) + 1), now=utc_now(), actor="Anna")

    assert (len(removed.segments), removed.n_rows) == (2, 6)
    assert read_ids(tmp_path, registry) == sorted([*ids[2], *ids[3]])
    assert sum(file in registry.artifacts for file in files) == 2
    (status,) = read_status(tmp_path, registry)
    assert status.gaps == ()
    assert (status.totals.stored, status.n_found, status.count("removed")) == (12, 12, (2, 6))
    with registry.database.read() as session:
        (decision,) = list_decisions(session, kind="data")
        assert (decision.actor, decision.evidence["n_rows"]) == ("Anna", 6)
        assert check_chain(session).broken is None


def test_a_removal_that_dies_before_the_files_are_gone_leaves_files_that_nothing_needs(
    tmp_path: Path, registry: Registry, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    _moved(tmp_path, registry, manifest)
    with registry.database.read() as session:
        files = {one.artifact["digest"] for one in list_moved(session)}
        assert files <= find_needed(session)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(retention, "delete_unneeded", die)
    with pytest.raises(KeyboardInterrupt):
        remove_traffic(registry, "trips", KeptTraffic(keep_bytes=0), now=utc_now(), actor="Anna")

    assert read_ids(tmp_path, registry) == []
    with registry.database.read() as session:
        assert not files & find_needed(session)
    (status,) = read_status(tmp_path, registry)
    assert (status.gaps, status.n_found) == ((), 12)


def test_a_definition_says_how_much_is_kept(
    tmp_path: Path, registry: Registry, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    _moved(tmp_path, registry, manifest)
    assert remove_old(registry) == []
    kept = manifest.model_copy(update={"log": LogSpec(keep_bytes=1)})
    monkeypatch.setattr(ModelManifest, "model_validate", lambda _document: kept)

    (removed,) = remove_old(registry)

    assert removed.n_rows == 12
    assert remove_old(registry) == []


def test_an_age_is_that_of_the_newest_row(tmp_path: Path, registry: Registry, manifest: ModelManifest) -> None:
    _moved(tmp_path, registry, manifest)
    policy = KeptTraffic(keep_for=timedelta(days=30))

    assert remove_traffic(registry, "trips", policy, now=utc_now() + timedelta(days=29), actor="Anna").segments == ()
    assert remove_traffic(registry, "trips", policy, now=utc_now() + timedelta(days=31), actor="Anna").n_rows == 12
