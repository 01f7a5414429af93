"""Rows in segments: read as one table, in batches and by SQL, they are the same rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.artifacts import ArtifactStore
from base.references import Rows, Segment
from base.rows.compaction import compact_rows
from base.rows.duck import open_duckdb
from base.rows.reading import POSITION, SEGMENT, drop_positions, load_rows, stream_segment, view_rows
from base.rows.tables import MOMENT

_START = datetime(2024, 1, 1, tzinfo=UTC)

# Each segment: the hours of its rows, and the positions to drop in one or two goes.
_segments = st.lists(
    st.lists(st.integers(0, 20), min_size=1, max_size=12).flatmap(
        lambda hours: st.tuples(
            st.just(hours), st.lists(st.sets(st.integers(0, len(hours) - 1), max_size=4), min_size=0, max_size=2)
        )
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.slow
@given(_segments, st.booleans())
def test_all_ways_of_reading_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, segments: list[tuple[list[int], list[set[int]]]], timed: bool
) -> None:
    artifacts = ArtifactStore(str(tmp_path_factory.getbasetemp() / "rows-store"))
    rows, expected = _store(artifacts, tmp_path_factory.getbasetemp(), segments, timed=timed)

    table = load_rows(artifacts, rows)
    narrow = load_rows(artifacts, rows, columns=["number"])
    streamed = [batch for segment in rows.segments for batch in stream_segment(artifacts, segment)]
    with open_duckdb() as connection:
        view_rows(connection, artifacts, rows)
        order = f"{'moment, ' if timed else ''}{SEGMENT}, {POSITION}"
        seen = connection.sql(f"SELECT number FROM rows ORDER BY {order}").fetchall()

    assert table["number"].to_pylist() == narrow["number"].to_pylist() == [number for (number,) in seen] == expected
    assert narrow.column_names == ["number"]
    assert sorted(number for batch in streamed for number in batch["number"].to_pylist()) == sorted(expected)
    assert rows.n_rows == len(expected)


@settings(max_examples=25)
@given(_segments, st.booleans(), st.integers(0, 2), st.integers(2, 12))
def test_merged_segments_hold_the_same_rows_in_the_same_order(
    tmp_path_factory: pytest.TempPathFactory,
    segments: list[tuple[list[int], list[set[int]]]],
    timed: bool,
    most_small: int,
    small_rows: int,
) -> None:
    artifacts = ArtifactStore(str(tmp_path_factory.getbasetemp() / "rows-store"))
    rows, expected = _store(artifacts, tmp_path_factory.getbasetemp(), segments, timed=timed)

    merged = compact_rows(artifacts, rows, most_small=most_small, small_rows=small_rows)

    assert load_rows(artifacts, merged)["number"].to_pylist() == expected
    assert load_rows(artifacts, rows)["number"].to_pylist() == expected
    assert len(merged.segments) <= len(rows.segments)
    kept = [one for one in rows.segments if one.n_stored - one.n_dropped >= small_rows]
    assert all(segment in merged.segments for segment in kept)


def test_positions_that_were_dropped_many_times_become_one_list(tmp_path: Path) -> None:
    artifacts = ArtifactStore(str(tmp_path / "store"))
    rows, _ = _store(artifacts, tmp_path, [(list(range(12)), [])], timed=True)
    (segment,) = rows.segments

    for position in range(10):
        segment = drop_positions(artifacts, segment, [position])

    assert (segment.n_dropped, len(segment.dropped)) == (10, 2)
    left = load_rows(artifacts, rows.model_copy(update={"segments": (segment,)}))
    assert left["number"].to_pylist() == [10, 11]


def _store(
    artifacts: ArtifactStore, folder: Path, segments: list[tuple[list[int], list[set[int]]]], *, timed: bool
) -> tuple[Rows, list[int]]:
    """Store segments whose rows are numbered throughout; give the numbers that remain, in their order."""
    number, stored, remaining = 0, [], []
    for hours, drops in segments:
        moments = [_START + timedelta(hours=hour) for hour in hours]
        table = pa.table({"moment": pa.array(moments, MOMENT), "number": range(number, number + len(hours))})
        pq.write_table(table, folder / "segment.parquet")
        segment = Segment(artifact=artifacts.put_file(folder / "segment.parquet"), n_stored=len(hours))
        gone: set[int] = set()
        for positions in drops:
            segment = drop_positions(artifacts, segment, sorted(positions - gone))
            gone |= positions
        stored.append(segment)
        remaining += [(hour, number + at) for at, hour in enumerate(hours) if at not in gone]
        number += len(hours)
    ordered = pd.DataFrame(remaining, columns=["hour", "number"])
    if timed:
        ordered = ordered.sort_values("hour", kind="stable")
    return Rows(segments=tuple(stored), time="moment" if timed else None), ordered["number"].tolist()
