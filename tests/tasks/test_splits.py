"""Cuts by time, gaps that nothing crosses, and groups that lie on one side."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.pipeline import PipelineSpec, SplitSpec
from base.references import Rows
from registry.store import Registry
from tasks.frames import store_rows
from tasks.splits import Split, number_groups, split_by_group, split_by_time, split_moments, split_rows

moments = st.lists(st.integers(-3, 12), min_size=3, max_size=60).map(sorted)
shares = st.floats(0.01, 0.9)
splits = st.tuples(shares, shares).map(lambda both: SplitSpec(validation=both[0], test=both[1] * (1 - both[0]) * 0.99))


@given(moments=moments, validation=shares, test=shares)
def test_a_split_covers_every_row_once_in_order(moments: list[int], validation: float, test: float) -> None:
    parts = split_by_time(np.array(moments), validation, test * (1 - validation))

    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == len(moments)
    assert all(part.n_rows > 0 for part in parts)


@given(moments=moments.filter(lambda moments: len(set(moments)) >= 3), validation=shares, test=shares)
def test_equal_moments_stay_on_one_side_of_a_cut(moments: list[int], validation: float, test: float) -> None:
    parts = split_by_time(np.array(moments), validation, test * (1 - validation))

    sides = [set(moments[part.start : part.stop]) for part in parts]
    assert max(sides[0]) < min(sides[1])
    assert max(sides[1]) < min(sides[2])


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([], [0, 0, 0]),
        ([5], [1, 0, 0]),
        ([5, 5], [1, 1, 0]),
        ([5] * 100, [70, 15, 15]),
        ([1] * 98 + [2, 3], [98, 1, 1]),
        ([1, 2] + [3] * 98, [1, 1, 98]),
        (list(range(100)), [70, 15, 15]),
    ],
    ids=["nothing", "one row", "two rows", "one moment", "a late start", "an early start", "hours"],
)
def test_weird_tables_are_split_as_well_as_can_be(moments: list[int], expected: list[int]) -> None:
    split = split_moments(np.array(moments, dtype=np.int64), SplitSpec())

    assert [part.n_rows for part in (split.train, split.validation, split.test)] == expected


@st.composite
def _histories(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], SplitSpec, int, np.ndarray[Any, Any] | None]:
    times = np.array(draw(moments))
    groups = draw(st.none() | st.lists(st.integers(0, 5), min_size=len(times), max_size=len(times)))
    numbers = None if groups is None else np.array(groups)
    return times, draw(splits), draw(st.integers(0, 8)), numbers


@given(history=_histories())
def test_what_is_learnt_from_was_known_before_the_next_part_began(history: Any) -> None:
    times, spec, gap, groups = history
    split = split_moments(times, spec, gap=gap, groups=groups)

    kept = np.arange(len(times)) if split.positions is None else split.positions
    train, validation, test = (times[rows] for rows in _rows_of(split, kept))
    learnt = times[kept[: split.validation.stop]]
    cuts = split_by_time(times, spec.validation, spec.test)
    if cuts[1].n_rows:
        assert (train + gap <= times[cuts[1].start]).all() or gap == 0
    if cuts[2].n_rows:
        assert (learnt + gap <= times[cuts[2].start]).all() or gap == 0
    if len(set(times)) >= 3:
        assert train.max(initial=-99) < validation.min(initial=99)
        assert learnt.max(initial=-99) < test.min(initial=99)


@given(history=_histories())
def test_no_row_is_used_twice_and_those_left_out_are_counted(history: Any) -> None:
    times, spec, gap, groups = history
    split = split_moments(times, spec, gap=gap, groups=groups)

    kept = np.arange(len(times)) if split.positions is None else split.positions
    used = np.concatenate([kept[: split.validation.stop], kept[split.test.start : split.test.stop]])
    assert len(set(used.tolist())) == len(used)
    assert len(used) + split.n_in_gap + split.n_of_groups == len(times)


@given(history=_histories().filter(lambda history: history[3] is not None))
def test_no_group_that_is_judged_was_learnt_from(history: Any) -> None:
    times, spec, gap, groups = history
    split = split_moments(times, spec, gap=gap, groups=groups)

    assert split.positions is not None
    train, validation, test = (set(groups[rows].tolist()) for rows in _rows_of(split, split.positions))
    learnt = set(groups[split.positions[: split.validation.stop]].tolist())
    assert not train & validation
    assert not learnt & test


@given(history=_histories(), share=shares)
def test_what_the_champion_knows_the_challenger_knows_too_and_nothing_newer_moves_its_cuts(
    history: Any, share: float
) -> None:
    times, spec, gap, _ = history
    n_seen = int(np.searchsorted(times, times[int(share * len(times))], side="right"))
    split = split_moments(times, spec, gap=gap, n_seen=n_seen)

    assert (split.validation.stop, split.test.start, split.test.stop) == (n_seen, n_seen, len(times))
    assert split.n_in_gap == 0
    assert split.train.stop <= split.validation.start
    if len(set(times[:n_seen])) >= 2:
        assert split.validation.n_rows
        assert (times[: split.train.stop] + gap <= times[split.validation.start]).all() or gap == 0
    longer = split_moments(np.append(times, times[-1] + 5), spec, gap=gap, n_seen=n_seen)
    assert (longer.train, longer.validation) == (split.train, split.validation)


@given(groups=st.lists(st.integers(0, 9), min_size=3, max_size=60))
def test_without_a_time_groups_are_parted_by_chance_and_all_rows_are_used(groups: list[int]) -> None:
    numbers = np.array(groups)
    split = split_by_group(numbers, SplitSpec())

    assert split.positions is not None
    assert sorted(split.positions.tolist()) == list(range(len(groups)))
    if len(set(groups)) >= 3:
        train, validation, test = (set(numbers[rows].tolist()) for rows in _rows_of(split, split.positions))
        assert not train & validation
        assert not (train | validation) & test


@pytest.mark.parametrize(
    ("columns", "n_groups"),
    [
        ({"a": ["x", "y", "x"]}, 2),
        ({"a": [1, None, None]}, 3),
        ({"a": [1, 1, 1], "b": ["p", "q", "p"]}, 2),
        ({"a": ["x", "x", None], "b": [None, None, None]}, 2),
        ({"a": pa.array([None] * 3, pa.null())}, 3),
        ({"a": pa.array(["x", None, "x"]).dictionary_encode()}, 2),
        ({"a": pa.chunked_array([["x"], ["y", "x"]])}, 2),
        ({"a": pa.array([], pa.string())}, 0),
    ],
)
def test_a_group_is_what_the_columns_name_together(columns: dict[str, Any], n_groups: int) -> None:
    numbers = number_groups(pa.table(columns))

    assert sorted(set(numbers.tolist())) == list(range(n_groups))
    assert numbers.tolist() == number_groups(pa.table(columns)).tolist()


def _spec(**prepare: Any) -> PipelineSpec:
    document: dict[str, Any] = {"name": "p", "task": "regression", "target": "y", "time": "at"}
    document |= {"extract": {"source": "x.parquet", "label_delay": "3 hours"}, "prepare": {"split": prepare}}
    return PipelineSpec.model_validate(document)


def _stored(registry: Registry, n_rows: int = 100) -> Rows:
    hours = pd.date_range("2013-01-01", periods=n_rows, freq="h", tz="UTC").astype("datetime64[us, UTC]")
    table = pa.table({"at": pa.array(hours), "customer": [str(row % 90) for row in range(n_rows)]})
    return store_rows(registry.artifacts, table, time="at")


@pytest.mark.parametrize(
    ("split", "train_stop", "n_in_gap"),
    [({}, 68, 2), ({"gap": "auto"}, 68, 2), ({"gap": "10 hours"}, 61, 9), ({"gap": "0 hours"}, 70, 0)],
)
def test_the_gap_is_the_label_delay_or_as_declared(
    split: dict[str, Any], train_stop: int, n_in_gap: int, registry: Registry
) -> None:
    found = split_rows(registry.artifacts, _stored(registry), _spec(**split))

    assert (found.train.stop, found.validation.start, found.n_in_gap) == (train_stop, 70, n_in_gap)
    assert found.positions is None


def test_rows_of_returning_groups_are_counted(registry: Registry) -> None:
    found = split_rows(registry.artifacts, _stored(registry), _spec(groups="customer", gap="0 hours"))

    assert found.test.n_rows == 5
    assert found.left_out == {"of groups that the model learns from": 10}


def test_a_gap_without_a_time_is_refused() -> None:
    document = _spec().model_dump() | {"time": None, "prepare": {"split": {"gap": timedelta(hours=1)}}}

    with pytest.raises(ValueError, match=r"prepare\.split\.gap needs key 'time'"):
        PipelineSpec.model_validate(document)


def _rows_of(split: Split, kept: Any) -> list[Any]:
    return [kept[part.start : part.stop] for part in (split.train, split.validation, split.test)]
