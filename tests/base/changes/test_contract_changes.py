"""Changes of data's shape: every planted one is found and named, and the same data in two halves give none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st

from base.artifacts import ArtifactStore
from base.changes.change import Change
from base.changes.profiled_rows import profile_table, sample_rows
from base.changes.schema import describe_changes, find_changes
from base.references import Rows
from base.rows.reading import drop_positions
from base.rows.tables import frame_to_table
from tasks.frames import store_rows

N_ROWS = 4_000


def _trips(seed: int = 0, n_rows: int = N_ROWS) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "at": pd.date_range("2013-01-01", periods=n_rows, freq="h", tz="UTC"),
            "distance": draw.lognormal(1, 0.8, n_rows),
            "temperature": draw.normal(12, 8, n_rows),
            "balance": draw.normal(0, 100, n_rows),
            "passengers": draw.integers(1, 6, n_rows),
            "company": draw.choice(["red", "blue", "green", "black"], n_rows, p=[0.4, 0.3, 0.2, 0.1]),
            "is_shared": draw.random(n_rows) < 0.3,
            "tip": np.where(draw.random(n_rows) < 0.6, 0.0, draw.exponential(2, n_rows)),
            "driver": [f"driver {number}" for number in draw.integers(0, 300, n_rows)],
            "trip": [f"t{number}" for number in range(n_rows)],
        }
    )


def _compare(before: pd.DataFrame, now: pd.DataFrame) -> list[Change]:
    reference, current = frame_to_table(before), frame_to_table(now)
    length = min(reference.num_rows, current.num_rows) // 2
    return find_changes(profile_table(reference, stretch_rows=length), profile_table(current))


def _with_nulls(values: Any, share: float) -> Any:
    return values.mask(np.random.default_rng(9).random(len(values)) < share)


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (lambda t: t.assign(colour="red"), ["new column 'colour': text now"]),
        (lambda t: t.drop(columns="is_shared"), ["missing column 'is_shared': boolean before"]),
        (lambda t: t.rename(columns={"distance": "distance_km"}), ["renamed column 'distance': 'distance_km' now"]),
        (lambda t: t.rename(columns={"company": "Operator"}), ["renamed column 'company': 'Operator' now"]),
        (lambda t: t.rename(columns={"balance": "saldo"}), ["renamed column 'balance': 'saldo' now"]),
        (
            lambda t: t.rename(columns={"is_shared": "shared"}).drop(columns="tip"),
            ["renamed column 'is_shared': 'shared' now", "missing column 'tip': number before"],
        ),
        (
            lambda t: t.assign(distance=t["distance"] * 1000).rename(columns={"distance": "distance_m"}),
            ["renamed column 'distance': 'distance_m' now", "unit jump in 'distance_m'"],
        ),
        (
            lambda t: t.assign(passengers=t["passengers"].astype(str) + " persons"),
            ["retyped column 'passengers': integer before, text, such as"],
        ),
        (lambda t: t.assign(passengers=t["passengers"] + 0.5), ["retyped column 'passengers': integer before, number"]),
        (
            lambda t: t.assign(company=t["company"].replace("black", "violet")),
            ["new categories in 'company': 'violet' in ", "vanished categories in 'company': 'black' in "],
        ),
        (lambda t: t.assign(distance=t["distance"] * 1000), ["unit jump in 'distance': median 2"]),
        (lambda t: t.assign(distance=t["distance"] / 1000), ["unit jump in 'distance': median 2"]),
        (lambda t: t.assign(distance=t["distance"] * 100), ["unit jump in 'distance'"]),
        (lambda t: t.assign(balance=t["balance"] * 1000), ["unit jump in 'balance'"]),
        (lambda t: t.assign(tip=t["tip"] * 100), ["unit jump in 'tip'"]),
        (lambda t: t.assign(temperature=t["temperature"] * 1.8 + 32), ["unit jump in 'temperature'"]),
        (lambda t: t.assign(distance=-t["distance"]), ["sign flip in 'distance'"]),
        (
            lambda t: t.assign(distance=t["distance"].where(np.arange(len(t)) % 10 > 0, -1.0)),
            ["negative values in 'distance': none negative before, 10.0% negative now"],
        ),
        (
            lambda t: t.assign(company=_with_nulls(t["company"], 0.3)),
            ["null burst in 'company': 0.0% null before, "],
        ),
        (
            lambda t: t.assign(tip=np.nan),
            ["null burst in 'tip': 0.0% null before, null in every row now"],
        ),
        (lambda t: t.assign(temperature=21.5), ["stuck column 'temperature'"]),
        (lambda t: t.assign(company="red"), ["stuck column 'company': 4 values before, 'red' in every row now"]),
        (
            lambda t: t.assign(company=[f"c{number}" for number in range(len(t))]),
            ["all distinct in 'company': 4 values in 4,000 rows before, another one in each of 1,000 rows now"],
        ),
    ],
)
def test_a_planted_change_is_found_and_named_for_what_it_is(
    plant: Callable[[pd.DataFrame], pd.DataFrame], expected: list[str]
) -> None:
    changes = _compare(_trips(), plant(_trips(seed=1, n_rows=1_000)))

    assert len(changes) == len(expected), changes
    assert [str(change)[: len(start)] for change, start in zip(changes, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("factor", "offset", "name"),
    [
        (1000, 0, "x1,000"),
        (0.001, 0, "x0.001"),
        (100, 0, "x100"),
        (1.8, 32, "Celsius to Fahrenheit"),
        (1, 273.15, "Celsius to Kelvin"),
        (-1, 0, "the sign is the other one"),
    ],
)
def test_a_unit_is_named_by_its_factor(factor: float, offset: float, name: str) -> None:
    draw = np.random.default_rng(0)
    before = pd.DataFrame({"n": draw.normal(20, 5, 2_000)})
    now = pd.DataFrame({"n": draw.normal(20, 5, 500) * factor + offset})

    assert [change.detail for change in _compare(before, now)] == [name]


def _draw_columns(draw: np.random.Generator, n: int) -> pd.DataFrame:
    number = np.arange(n)
    return pd.DataFrame(
        {
            "normal": draw.normal(0, 1, n),
            "heavy tails": draw.standard_cauchy(n),
            "skewed": draw.lognormal(0, 2, n),
            "mostly zero": np.where(draw.random(n) < 0.95, 0, draw.exponential(1, n)),
            "few": draw.integers(0, 3, n),
            "rare flag": draw.random(n) < 0.01,
            "many nulls": pd.Series(draw.random(n)).mask(draw.random(n) < 0.5),
            "rare nulls": pd.Series(draw.random(n)).mask(draw.random(n) < 0.01),
            "zipf": pd.Series(np.minimum(draw.zipf(1.6, n), 90)).astype(str),
            "names": pd.Series(draw.integers(0, 10**9, n)).astype(str),
            "constant": np.ones(n),
            "time": pd.date_range("2020", periods=n, freq="D", tz="UTC"),
            "counter": number * 3,
            "season": np.sin(number / 50) * 10 + draw.normal(0, 1, n),
            "month": pd.Series(number // 60 % 12).map("month {}".format),
            "clumped flag": number % 700 < 20,
        }
    )


@pytest.mark.slow
@cases(max_examples=12)
@given(seed=st.integers(0, 2**32), n_rows=st.integers(60, 3_000))
def test_two_random_halves_of_the_same_data_give_no_change(seed: int, n_rows: int) -> None:
    draw = np.random.default_rng(seed)
    rows = _draw_columns(draw, n_rows)
    is_first = draw.permutation(n_rows) < n_rows // 2

    assert _compare(rows[is_first], rows[~is_first]) == []


@pytest.mark.slow
@cases(max_examples=12)
@given(seed=st.integers(0, 2**32), share=st.floats(0.03, 0.3))
def test_the_next_rows_of_the_same_process_give_no_change(seed: int, share: float) -> None:
    draw = np.random.default_rng(seed)
    rows = _draw_columns(draw, 4_000)
    cut = round(len(rows) * (1 - share))

    assert _compare(rows[:cut], rows[cut:]) == []


@pytest.mark.parametrize(("n_before", "n_now"), [(0, 0), (0, 1_000), (1_000, 0), (1_000, 29), (29, 1_000)])
def test_of_a_few_rows_nothing_is_said_about_values(n_before: int, n_now: int) -> None:
    assert _compare(_trips(0, n_before), _trips(1, n_now).assign(distance=-1.0)) == []


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


def _store(artifacts: ArtifactStore, rows: pd.DataFrame) -> Rows:
    return store_rows(artifacts, frame_to_table(rows), time="at")


def test_a_day_that_was_added_is_compared_alone(artifacts: ArtifactStore) -> None:
    history, day = _store(artifacts, _trips()), _trips(seed=1, n_rows=200)
    added = _store(artifacts, day.assign(distance=day["distance"] * 1000))
    now = Rows(segments=(*history.segments, *added.segments), time="at")

    assert [change.kind for change in describe_changes(artifacts, history, now)] == ["unit jump"]
    assert describe_changes(artifacts, history, history) == []


def test_a_sample_holds_what_counts_at_even_distances(artifacts: ArtifactStore) -> None:
    parts = [_store(artifacts, _trips(seed, 3_000)) for seed in range(2)]
    first = drop_positions(artifacts, parts[0].segments[0], range(100))
    rows = Rows(segments=(first, parts[1].segments[0]))

    sample = sample_rows(artifacts, rows, most_rows=400)

    places = pa.compute.index_in(sample["trip"], pa.array([f"t{number}" for number in range(3_000)])).to_pylist()
    assert 300 <= sample.num_rows <= 400
    assert min(places[:20]) >= 100
    assert sum(place < 1_500 for place in places) == pytest.approx(200, abs=40)


def test_all_rows_are_read_where_there_are_few(artifacts: ArtifactStore) -> None:
    assert sample_rows(artifacts, _store(artifacts, _trips()), most_rows=N_ROWS).num_rows == N_ROWS
