"""Claims about recorded segments: recorded once, found by their range, and their file let go of when they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from base.artifacts import Artifact
from registry.needed_files import find_needed
from registry.store import Registry
from registry.tables import TrafficSegment
from registry.traffic import (
    artifact_of,
    find_recorded,
    list_moved,
    list_traffic_models,
    list_writers,
    mark_removed,
    record_segment,
    record_writer,
)

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def _segment(number: int, **more: Any) -> TrafficSegment:
    fields: dict[str, Any] = {
        "id": f"segment-{number}",
        "model": "trips",
        "kind": "predictions",
        "version": 1,
        "writer": "host_1_ab",
        "first_seq": number * 10,
        "n_rows": 10,
        "artifact": Artifact(digest=f"{number:064x}", size_bytes=5, suffix=".parquet").model_dump(mode="json"),
        "size_bytes": 5,
        "first_event_time": NOON + number * DAY,
        "last_event_time": NOON + (number + 1) * DAY - timedelta(seconds=1),
    }
    return TrafficSegment(**(fields | more))


def _record(registry: Registry, *segments: TrafficSegment) -> list[bool]:
    with registry.database.write() as session:
        return [record_segment(session, segment) for segment in segments]


def test_a_segment_is_recorded_once(any_registry: Registry) -> None:
    assert _record(any_registry, _segment(1)) == [True]
    assert _record(any_registry, _segment(1, n_rows=99)) == [False]

    with any_registry.database.read() as session:
        assert [one.n_rows for one in list_moved(session)] == [10]
        assert find_recorded(session, ["segment-1", "segment-2"]) == {"segment-1"}
        assert list_traffic_models(session) == ["trips"]


def test_no_two_segments_hold_the_same_rows_of_a_writer(any_registry: Registry) -> None:
    _record(any_registry, _segment(1))

    with pytest.raises(IntegrityError):
        _record(any_registry, _segment(1, id="another"))


@pytest.mark.parametrize(
    ("start", "stop", "found"),
    [
        (None, None, [0, 1, 2, 3]),
        (NOON + DAY, NOON + 2 * DAY, [1]),
        (NOON + DAY, NOON + 2 * DAY + timedelta(seconds=1), [1, 2]),
        (NOON + DAY - timedelta(seconds=1), None, [0, 1, 2, 3]),
        (NOON + 4 * DAY, None, []),
        (None, NOON, []),
    ],
)
def test_segments_are_found_by_the_range_of_their_event_times(
    any_registry: Registry, start: datetime | None, stop: datetime | None, found: list[int]
) -> None:
    _record(any_registry, *(_segment(number) for number in range(4)), _segment(9, model="other"))

    with any_registry.database.read() as session:
        moved = list_moved(session, "trips", "predictions", start=start, stop=stop)

    assert [one.id for one in moved] == [f"segment-{number}" for number in found]


def test_a_file_is_needed_until_its_segment_is_removed(any_registry: Registry) -> None:
    _record(any_registry, _segment(1), _segment(2))

    with any_registry.database.write() as session:
        files = mark_removed(session, list_moved(session)[:1], now=NOON)

    assert [file.digest for file in files] == [f"{1:064x}"]
    with any_registry.database.read() as session:
        assert f"{1:064x}" not in find_needed(session)
        assert f"{2:064x}" in find_needed(session)
        assert [artifact_of(one).digest for one in list_moved(session)] == [f"{2:064x}"]
        assert len(list_moved(session, with_removed=True)) == 2
        assert find_recorded(session, ["segment-1"]) == {"segment-1"}


def _accounts(written: datetime, accepted: int) -> dict[str, Any]:
    return {
        "writer": {"name": "host_1_ab", "host": "host", "pid": 1, "started_at": NOON.isoformat()},
        "written_at": written.isoformat(),
        "closed": False,
        "models": {"trips": {"accepted": accepted, "stored": accepted, "rejected": {}, "shadow": 0}},
    }


def test_the_newest_accounts_of_a_writer_are_kept(any_registry: Registry) -> None:
    for written, accepted in ((NOON, 1), (NOON + DAY, 5), (NOON + timedelta(hours=1), 3)):
        with any_registry.database.write() as session:
            record_writer(session, _accounts(written, accepted))

    with any_registry.database.read() as session:
        (writer,) = list_writers(session)
    assert (writer.written_at, writer.totals["trips"]["accepted"]) == (NOON + DAY, 5)
