"""Claims about the matured join: nothing immature, nothing that was not known, each prediction once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from serving.labels.matured import matured_rows, measure_coverage, newest_labels

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

hours = st.integers(0, 48).map(lambda hour: NOON + hour * HOUR)
ids = st.sampled_from("abcdefgh")
predictions = st.lists(st.tuples(ids, hours), max_size=10)
values: st.SearchStrategy[Any] = st.sampled_from([0, 1, 0.5, True, "x"])
versions = st.lists(st.tuples(ids | st.just("unknown"), values, hours, hours), max_size=25)
delays = st.integers(0, 30).map(lambda hour: hour * HOUR)


def _traffic(rows: list[tuple[str, datetime]]) -> pd.DataFrame:
    moments = pd.Series([moment for _, moment in rows], dtype="datetime64[us, UTC]")
    return pd.DataFrame({"id": pd.Series([name for name, _ in rows], dtype=object), "event_time": moments})


def _labels(rows: list[tuple[str, Any, datetime, datetime]]) -> pd.DataFrame:
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return pd.DataFrame(
        {
            "id": pd.Series(columns[0], dtype=object),
            "value": pd.Series(columns[1], dtype=object),
            "observed_at": pd.Series(columns[2], dtype="datetime64[us, UTC]"),
            "received_at": pd.Series(columns[3], dtype="datetime64[us, UTC]"),
        }
    )


@given(predictions, versions, delays, hours)
def test_no_label_is_joined_that_was_not_known_at_the_moment(
    rows: list[tuple[str, datetime]],
    labels: list[tuple[str, Any, datetime, datetime]],
    delay: timedelta,
    until: datetime,
) -> None:
    found = matured_rows(_traffic(rows), _labels(labels), label_delay=delay, until=until)

    known = {(name, repr(value), observed) for name, value, observed, _ in labels if observed <= until}
    joined = found[found["is_labelled"]]
    found_labels = zip(
        joined["id"], joined["value"], [moment.to_pydatetime() for moment in joined["observed_at"]], strict=True
    )
    assert {(name, repr(value), observed) for name, value, observed in found_labels} <= known
    assert set(joined["id"]) == {name for name, _, _ in known} & set(found["id"])
    assert found.loc[~found["is_labelled"], ["value", "observed_at"]].isna().all(axis=None)


@given(predictions, versions, delays, hours)
def test_exactly_the_predictions_whose_horizon_has_passed_are_there_and_each_once(
    rows: list[tuple[str, datetime]],
    labels: list[tuple[str, Any, datetime, datetime]],
    delay: timedelta,
    until: datetime,
) -> None:
    found = matured_rows(_traffic(rows), _labels(labels), label_delay=delay, until=until)

    assert (found["matured_at"] <= until).all()
    assert found["id"].is_unique
    assert set(found["id"]) == {name for name, moment in rows if moment + delay <= until}


@given(predictions, versions, delays, hours, st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_order_and_the_repetition_of_labels_change_nothing(
    rows: list[tuple[str, datetime]],
    labels: list[tuple[str, Any, datetime, datetime]],
    delay: timedelta,
    until: datetime,
    chance: Any,
    times: int,
) -> None:
    again = labels * times
    chance.shuffle(again)

    expected = matured_rows(_traffic(rows), _labels(labels), label_delay=delay, until=until)

    pd.testing.assert_frame_equal(
        matured_rows(_traffic(rows), _labels(again), label_delay=delay, until=until), expected
    )


@given(predictions, versions, delays, hours, versions)
def test_what_is_observed_later_never_changes_what_was_seen_before(
    rows: list[tuple[str, datetime]],
    labels: list[tuple[str, Any, datetime, datetime]],
    delay: timedelta,
    until: datetime,
    more: list[tuple[str, Any, datetime, datetime]],
) -> None:
    later = [(name, value, until + timedelta(seconds=1), received) for name, value, _, received in more]

    pd.testing.assert_frame_equal(
        matured_rows(_traffic(rows), _labels(labels + later), label_delay=delay, until=until),
        matured_rows(_traffic(rows), _labels(labels), label_delay=delay, until=until),
    )


def test_a_correction_that_came_later_wins_over_one_of_the_same_moment() -> None:
    found = newest_labels(_labels([("a", 1, NOON, NOON + HOUR), ("a", 0, NOON, NOON), ("b", 1, NOON, NOON)]))

    assert found.set_index("id")["value"].to_dict() == {"a": 1, "b": 1}


def _matured(shares: list[float], n_rows: int = 200) -> pd.DataFrame:
    days = np.repeat(np.arange(len(shares)), n_rows)
    labelled = [number < share * n_rows for share in shares for number in range(n_rows)]
    moments = pd.Series(pd.Timestamp(NOON) + pd.to_timedelta(days, unit="D"))
    return pd.DataFrame({"event_time": moments, "is_labelled": labelled})


def test_coverage_is_told_by_day() -> None:
    days = measure_coverage(_matured([1.0, 0.5, 0.0]))

    assert days[["n_matured", "n_labelled"]].to_numpy().tolist() == [[200, 200], [200, 100], [200, 0]]
    assert days["coverage"].tolist() == [1.0, 0.5, 0.0]
    assert days["has_fallen"].tolist() == [False, True, True]


def test_coverage_that_has_always_been_low_is_no_fall() -> None:
    assert not measure_coverage(_matured([0.3, 0.28, 0.33, 0.3]))["has_fallen"].any()


def test_labels_that_stay_away_are_told_every_day() -> None:
    assert measure_coverage(_matured([0.9] * 10 + [0.4] * 12))["has_fallen"].tolist() == [False] * 10 + [True] * 12


def test_a_few_rows_are_no_fall() -> None:
    assert not measure_coverage(_matured([1.0, 0.0], n_rows=10))["has_fallen"].any()


def test_no_matured_row_has_no_days() -> None:
    nothing = matured_rows(_traffic([]), _labels([]), label_delay=HOUR, until=NOON)

    assert measure_coverage(nothing).empty
    assert list(nothing) == ["id", "event_time", "matured_at", "is_labelled", "value", "observed_at"]
