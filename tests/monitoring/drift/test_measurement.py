"""What a window is said to differ in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from monitoring.drift import DriftReport, ReferenceProfile, compare_labels, make_profile, measure_drift
from tests.monitoring.drift.rows import compare, make_reference, make_rows


@pytest.mark.parametrize(
    ("current", "drifted"),
    [
        (make_rows(seed=1), ()),
        (make_rows(100, seed=1), ()),
        (make_rows(seed=1, shift=0.5), ("x",)),
        (make_rows(seed=1, shift=-0.5), ("x",)),
        (make_rows(1_000, seed=2, shift=0.5), ("x",)),
        (make_rows(seed=1, shares=(0.1, 0.1, 0.8)), ("c",)),
        (make_rows(seed=1, shift=2.0, shares=(0.1, 0.1, 0.8)), ("x", "c")),
        (make_rows(seed=1).assign(c="new"), ("c",)),
        (make_rows(seed=1).assign(x=lambda rows: rows["x"] * 1_000), ("x",)),
        (make_rows(seed=1).assign(x=0.0), ("x",)),
        (make_rows(seed=1).assign(x=lambda rows: rows["x"].where(rows.index % 2 == 0)), ("x",)),
        (make_rows(seed=1).assign(x=np.nan), ("x",)),
        (make_rows(seed=1).assign(c=None), ("c",)),
    ],
    ids=[
        "nothing",
        "few rows",
        "up",
        "down",
        "half a deviation in 1,000 rows",
        "shares",
        "both",
        "a new category",
        "another unit",
        "stuck",
        "every second value gone",
        "all gone",
        "all categories gone",
    ],
)
def test_a_planted_change_is_found_and_nothing_else(current: pd.DataFrame, drifted: tuple[str, ...]) -> None:
    report = compare(current)

    assert report.drifted == drifted
    assert report.share == pytest.approx(len(drifted) / 4)


def test_a_difference_too_small_to_matter_is_no_drift_however_sure_it_is() -> None:
    report = compare(make_rows(200_000, seed=1, shift=0.05), make_rows(200_000))

    found = report.find("x")
    assert found is not None
    assert found.p_value < 1e-9
    assert report.drifted == ()


@pytest.mark.parametrize(("shift", "direction"), [(0.6, "up"), (-0.6, "down"), (0.0, "")])
def test_the_direction_and_the_size_of_a_shift_are_told(shift: float, direction: str) -> None:
    rows = make_rows(20_000)

    found = compare(rows.assign(x=rows["x"] + np.float32(shift)), rows).find("x")

    assert found is not None
    assert found.direction == direction
    # In units of the deviation without the outermost rows, which is a twentieth smaller.
    assert found.shift == pytest.approx(shift * 1.05, abs=0.02)
    assert found.effect == pytest.approx(abs(shift) * 1.05, abs=0.02)


def test_new_and_vanished_categories_are_named_with_their_share() -> None:
    window = make_rows(1_000, seed=1)
    window.loc[window["c"] == "a", "c"] = "z"
    window.loc[:49, "town"] = "Atlantis"

    report = compare(window)
    category, town = report.find("c"), report.find("town")

    assert category is not None
    assert town is not None
    assert (category.new_categories, category.gone_categories) == (("z",), ("a",))
    assert category.new_share == pytest.approx(0.5, abs=0.05)
    assert category.gone_share == pytest.approx(0.5, abs=0.05)
    assert category.new_p < 1e-9
    assert town.new_categories[0] == "Atlantis"
    assert town.new_p < 1e-3


def test_rare_categories_that_were_merely_not_seen_yet_are_no_surprise() -> None:
    found = compare(make_rows(1_000, seed=3)).find("town")

    assert found is not None
    assert found.new_p > 0.01


@pytest.mark.parametrize("factor", [1_000, 1 / 1_000, 1.609344, 1 / 1.609344, 60])
def test_another_unit_is_named_by_its_factor(factor: float) -> None:
    rows = make_rows(2_000).assign(x=lambda rows: np.exp(rows["x"] / 2))
    window = make_rows(1_000, seed=1).assign(x=lambda rows: np.exp(rows["x"] / 2) * np.float32(factor))

    found = compare(window, rows).find("x")

    assert found is not None
    assert found.unit_ratio == pytest.approx(factor)
    assert any("another unit" in note for note in found.notes)


def test_counts_that_grew_are_not_taken_for_another_unit() -> None:
    draw = np.random.default_rng(0)
    rows = make_rows(2_000).assign(x=draw.poisson(40, 2_000))
    window = make_rows(1_000, seed=1).assign(x=draw.poisson(64, 1_000))

    found = compare(window, rows).find("x")

    assert found is not None
    assert found.direction == "up"
    assert found.unit_ratio is None


def test_a_burst_of_gaps_is_told_from_gaps_that_are_scattered() -> None:
    draw = np.random.default_rng(0)
    reference = make_rows().assign(x=lambda rows: rows["x"].mask(draw.random(len(rows)) < 0.1))
    scattered = make_rows(seed=1).assign(x=lambda rows: rows["x"].mask(draw.random(len(rows)) < 0.1))
    burst = make_rows(seed=1).assign(x=lambda rows: rows["x"].mask(rows.index < 200))

    quiet, loud = compare(scattered, reference).find("x"), compare(burst, reference).find("x")

    assert quiet is not None
    assert loud is not None
    assert quiet.gap_p > 0.01
    assert loud.gap_rows == 200
    assert loud.missing_current == pytest.approx(0.1)
    assert loud.gap_p < 1e-100
    assert min(quiet.missing_p, loud.missing_p) > 0.05


SKEWS: list[tuple[str, dict[str, Any], str, str]] = [
    ("a column is not there", {"x": None}, "missing column", "not in the window"),
    ("a column is new", {"z": 1.0}, "extra column", "not in the reference"),
    ("texts for numbers", {"y": "many"}, "type", "no numbers, such as 'many'"),
    ("one value", {"c": "a"}, "constant", "are the same"),
    ("one number", {"y": 0.5}, "constant", "are the same"),
    ("out of range", {"y": -3.0}, "range", "outside"),
    ("infinite", {"y": np.inf}, "infinite", "are infinite"),
]


@pytest.mark.parametrize(("change", "kind", "words"), [case[1:] for case in SKEWS], ids=[case[0] for case in SKEWS])
def test_skew_is_named(change: dict[str, Any], kind: str, words: str) -> None:
    window = make_rows(500, seed=1).assign(**{name: value for name, value in change.items() if value is not None})
    window = window.drop(columns=[name for name, value in change.items() if value is None])

    report = compare(window)

    found = {skew.kind: skew for skew in report.skew}
    assert kind in found
    assert found[kind].column in change
    assert words in found[kind].text
    assert {skew.column for skew in report.skew} == set(change)


def test_fractions_of_what_were_whole_numbers_are_skew() -> None:
    report = compare(make_rows(seed=1), make_rows().assign(x=lambda rows: np.floor(rows["x"])))

    assert [(skew.column, skew.kind) for skew in report.skew] == [("x", "type")]


def test_a_quiet_window_has_no_skew() -> None:
    assert [skew for seed in range(1, 30) for skew in compare(make_rows(300, seed=seed)).skew] == []


@pytest.mark.parametrize(
    ("side", "column", "values"),
    [
        ("window", "x", np.nan),
        ("window", "x", np.inf),
        ("window", "c", None),
        ("window", "c", np.nan),
        ("reference", "y", np.nan),
        ("reference", "c", None),
    ],
)
def test_a_feature_without_a_value_is_named_and_the_others_are_compared(side: str, column: str, values: Any) -> None:
    reference, current = make_rows(), make_rows(seed=1)
    (reference if side == "reference" else current)[column] = values

    report = compare(current, reference)

    assert report.not_measured == {column: f"no value in the {side}"}
    assert [found.column for found in report.columns] == ["x", "y", "c", "town"]
    found = report.find(column)
    assert found is not None
    assert (found.p_value, found.effect) == (1.0, 0.0)
    assert found.missing_p < 1e-9


ODD: dict[str, Any] = {
    "booleans": [True, False],
    "booleans with gaps": pd.array([True, None], dtype="boolean"),
    "whole numbers with gaps": pd.array([1, None], dtype="Int64"),
    "moments": pd.date_range("2013-01-01", periods=2, tz="UTC"),
    "naive moments": pd.date_range("2013-01-01", periods=2),
    "durations": pd.to_timedelta([1, 2], unit="h"),
    "mixed": np.array([1, "one"], dtype=object),
    "categories": pd.Categorical(["one", "two"]),
    "one value": [3.0, 3.0],
    "infinities": [np.inf, -np.inf],
    "huge numbers": [1e308, -1e308],
    "nothing": [None, None],
    "bytes": np.array([b"1", b"two"], dtype=object),
}


@pytest.mark.parametrize("as_category", [False, True])
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("n_times", [1, 60])
def test_columns_of_any_kind_are_compared_with_themselves_or_named(kind: str, as_category: bool, n_times: int) -> None:
    column = pd.concat([pd.Series(ODD[kind])] * n_times, ignore_index=True)
    rows = pd.DataFrame({"odd": column})
    profile = make_profile(rows, categorical=("odd",)) if as_category else make_profile(rows, numeric=("odd",))

    page = measure_drift(profile, rows)

    assert page.report.drifted == ()
    assert [found.column for found in page.report.columns] == ["odd"]
    assert page.report.columns[0].p_value > 0.05
    assert np.isfinite([page.report.columns[0].effect, page.report.columns[0].shift]).all()


def test_texts_that_hardly_repeat_are_compared_by_their_length() -> None:
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"note": [f"{'x' * draw.integers(5, 40)} {number}" for number in range(600)]})
    profile = make_profile(rows[:400], categorical=("note",))

    quiet = measure_drift(profile, rows[400:]).report
    longer = measure_drift(profile, rows[400:] + "and more of it").report

    assert quiet.columns[0].kind == "text"
    assert (quiet.drifted, longer.drifted) == ((), ("note",))
    assert longer.columns[0].direction == "up"


def test_a_moment_moves_on_without_drift_and_its_gaps_are_compared() -> None:
    rows = pd.DataFrame({"at": np.arange(500, dtype="float64")})
    profile = make_profile(rows, numeric=("at",), times=("at",))

    later = measure_drift(profile, rows + 1e6).report
    gone = measure_drift(profile, (rows + 1e6).where(rows["at"] > 250)).report

    assert later.not_measured == {"at": "moments move on by themselves"}
    assert (later.drifted, gone.drifted) == ((), ("at",))


def test_an_empty_window_measures_nothing() -> None:
    report = measure_drift(make_reference(), make_rows().head(0)).report

    assert report.columns == ()
    assert set(report.not_measured) == {"x", "y", "c", "town"}
    assert (report.share, report.n_current, report.skew) == (0.0, 0, ())


def test_a_single_row_is_measured_and_no_drift() -> None:
    report = measure_drift(make_reference(), make_rows(1, seed=5)).report

    assert len(report.columns) == 4
    assert (report.drifted, report.multivariate) == ((), None)


def test_a_table_gives_the_report_of_the_frame_it_was_made_of() -> None:
    window = make_rows(700, seed=1, shift=0.3)
    window.loc[::9, "c"] = None
    window.loc[::7, "x"] = np.nan

    of_frame = measure_drift(make_reference(), window).report
    of_table = measure_drift(make_reference(), pa.Table.from_pandas(window)).report

    assert of_table == of_frame


def test_predictions_and_labels_are_columns_of_their_own_and_no_features() -> None:
    reference = make_rows().assign(__prediction__=np.linspace(0, 1, 2_000), __target__=np.arange(2_000) % 2)
    profile = make_profile(
        reference, numeric=("x", "y"), categorical=("c", "town"), target="late", classes=(False, True)
    )
    window = make_rows(1_000, seed=1)

    report = measure_drift(profile, window, predictions=pd.Series(np.linspace(0.5, 1, 1_000))).report
    assert report.find("late", "label") is None
    report = compare_labels(report, profile, pd.Series([True] * 90 + [False] * 10, dtype=object))

    prediction, label = report.find("prediction", "prediction"), report.find("late", "label")
    assert prediction is not None
    assert label is not None
    assert (prediction.has_drifted, prediction.direction) == (True, "up")
    assert (label.has_drifted, label.n_current, label.kind) == (True, 100, "categorical")
    assert report.drifted == ()
    assert len(report.features) == 4


def test_what_was_not_given_is_not_measured_and_no_fault() -> None:
    reference = make_rows().assign(__prediction__=0.5, __target__=1.0)
    profile = make_profile(reference, numeric=("x",), target="fare")

    report = measure_drift(profile, make_rows(seed=1)[["x"]]).report

    assert [column.column for column in report.columns] == ["x"]
    assert report.not_measured == {}


def test_a_report_is_read_back_as_it_was() -> None:
    report = measure_drift(make_reference(), make_rows(seed=1, shift=2.0).assign(y=np.nan)).report

    again = DriftReport.model_validate(report.model_dump(mode="json"))

    assert again == report
    assert DriftReport.model_validate_json(report.model_dump_json()) == report
    assert report.model_dump(mode="json")["share"] == 0.5


def test_a_profile_is_read_back_as_it_was_and_measures_the_same() -> None:
    profile = make_reference(make_rows().assign(x=lambda rows: rows["x"].round(1)))

    again = ReferenceProfile.model_validate_json(profile.model_dump_json(exclude_defaults=True))
    window = make_rows(900, seed=1).assign(x=lambda rows: rows["x"].round(1))

    assert again == profile
    assert measure_drift(again, window).report == measure_drift(profile, window).report


def test_a_profile_stays_small_however_many_rows_and_levels_there_are() -> None:
    rows = make_rows(60_000)
    rows["c"] = [f"level {number // 4}" for number in range(60_000)]

    profile = make_reference(rows)
    report = measure_drift(profile, rows).report

    assert len(profile.model_dump_json(exclude_defaults=True)) < 500_000
    assert report.drifted == ()
    assert any("rarest categories" in note for found in report.columns for note in found.notes)
