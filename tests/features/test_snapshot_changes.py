"""Claims about what differs between two snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.artifacts import ArtifactStore
from base.errors import ArgumentError
from base.references import Rows, Segment, Snapshot
from base.rows.reading import drop_positions
from base.rows.tables import normalise, table_types
from features.snapshot_changes import RowChanges, compare_rows, compare_snapshots
from tasks.frames import store_rows


def _segment(artifacts: ArtifactStore, rows: list[dict[str, Any]] | pa.Table) -> Segment:
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows)
    (segment,) = store_rows(artifacts, normalise(table), time=None).segments
    return segment


def _snapshot(columns: dict[str, Any], *segments: Segment) -> Snapshot:
    return Snapshot(rows=Rows(segments=segments), columns=columns)


_COLUMNS: dict[str, Any] = {"id": "integer", "price": "number"}


def _rows(prices: dict[int, float | None]) -> list[dict[str, Any]]:
    return [{"id": number, "price": price} for number, price in prices.items()]


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "store"))


def _count(rows: RowChanges) -> tuple[int, int, int | None, int]:
    return rows.n_added, rows.n_removed, rows.n_changed, rows.n_unchanged


_prices = st.dictionaries(st.integers(0, 30), st.none() | st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=12)


@settings(max_examples=15)
@given(before=_prices, after=_prices, shared=_prices)
def test_rows_are_counted_as_a_dictionary_would(
    artifacts: ArtifactStore, before: dict[int, float | None], after: dict[int, float | None], shared: Any
) -> None:
    # Rows that both have in one file, with keys of their own.
    common = _segment(artifacts, _rows({number + 100: price for number, price in shared.items()}))
    one = _snapshot(_COLUMNS, common, _segment(artifacts, _rows(before)))
    other = _snapshot(_COLUMNS, common, _segment(artifacts, _rows(after)))

    by_key = compare_rows(artifacts, one, other, key=["id"])
    by_content = compare_rows(artifacts, one, other)

    both = before.keys() & after.keys()
    changed = sum(before[number] != after[number] for number in both)
    same = len(both) - changed + len(shared)
    assert _count(by_key) == (len(after.keys() - both), len(before.keys() - both), changed, same)
    assert _count(by_content) == (len(after.keys() - both) + changed, len(before.keys() - both) + changed, None, same)
    assert by_key.changed_in == ({"price": changed} if changed else {})


def test_a_corrected_row_is_a_change_with_its_values(artifacts: ArtifactStore) -> None:
    old = _segment(artifacts, _rows({1: 10.0, 2: 20.0, 3: 30.0}))
    before = _snapshot(_COLUMNS, old)
    after = _snapshot(_COLUMNS, drop_positions(artifacts, old, [1]), _segment(artifacts, _rows({2: 21.0, 4: 40.0})))

    changes = compare_snapshots(artifacts, before, after, key=["id"])

    assert _count(changes.rows) == (1, 0, 1, 2)
    (example,) = changes.rows.examples
    assert (example.key, example.column, example.before, example.after) == ({"id": 2}, "price", 20.0, 21.0)


def test_rows_that_come_back_are_added(artifacts: ArtifactStore) -> None:
    whole = _segment(artifacts, _rows({1: 10.0, 2: 20.0}))
    without = _snapshot(_COLUMNS, drop_positions(artifacts, whole, [0]))

    assert _count(compare_rows(artifacts, without, _snapshot(_COLUMNS, whole))) == (1, 0, None, 1)
    assert _count(compare_rows(artifacts, _snapshot(_COLUMNS, whole), without)) == (0, 1, None, 1)


def test_a_snapshot_is_no_different_from_itself(artifacts: ArtifactStore) -> None:
    snapshot = _snapshot(_COLUMNS, _segment(artifacts, _rows({1: 10.0, 2: 20.0})))

    changes = compare_snapshots(artifacts, snapshot, snapshot, key=["id"])

    assert (_count(changes.rows), changes.schema) == ((0, 0, 0, 2), ())
    assert [move.is_moved for move in changes.moves] == [False, False]


def test_columns_that_came_went_and_changed_their_type_are_named(artifacts: ArtifactStore) -> None:
    one, other = (
        pa.table({"a": [1, 2], "b": ["x", "y"], "c": [1, 2]}),
        pa.table({"a": [1.5, 2.0], "c": [1, 2], "d": [True, False]}),
    )
    before = _snapshot(dict(table_types(normalise(one))), _segment(artifacts, one))
    after = _snapshot(dict(table_types(normalise(other))), _segment(artifacts, other))

    changes = compare_snapshots(artifacts, before, after)

    assert {change.column: (change.before, change.after) for change in changes.schema} == {
        "a": ("integer", "number"),
        "b": ("text", None),
        "d": (None, "boolean"),
    }


def test_new_rows_that_moved_are_seen_beside_a_long_history(artifacts: ArtifactStore) -> None:
    draw = np.random.default_rng(0)
    history = _segment(artifacts, pa.table({"price": draw.normal(100, 10, 20_000), "size": draw.normal(0, 1, 20_000)}))
    # A day whose prices came in cents.
    day = _segment(artifacts, pa.table({"price": draw.normal(10_000, 1_000, 200), "size": draw.normal(0, 1, 200)}))
    columns: dict[str, Any] = {"price": "number", "size": "number"}

    changes = compare_snapshots(artifacts, _snapshot(columns, history), _snapshot(columns, history, day))

    moves = {move.column: move for move in changes.moves}
    assert moves["price"].distance < 0.1
    assert moves["price"].distance_new > 0.5
    assert moves["price"].is_moved
    assert not moves["size"].is_moved


def test_a_key_that_one_side_does_not_have_is_refused(artifacts: ArtifactStore) -> None:
    snapshot = _snapshot(_COLUMNS, _segment(artifacts, _rows({1: 10.0})))

    with pytest.raises(ArgumentError, match="key column 'idd' is not in both snapshots; did you mean 'id'"):
        compare_snapshots(artifacts, snapshot, snapshot, key=["idd"])
