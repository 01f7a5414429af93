"""The matured join: predictions whose labels have had time to come, with what was known of them at a moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import orjson
import pandas as pd

from base.times import as_utc

if TYPE_CHECKING:
    from collections.abc import Iterable

# A day is compared with the days before it; more of them would make it blind to what the world has become.
_N_DAYS_BEFORE = 7
DAYS_BEFORE = timedelta(days=_N_DAYS_BEFORE)
"""How far back :func:`measure_coverage` looks from a day."""

_FEWEST_ROWS = 20
# A fall is told when it is both: more than chance (four standard errors) and worth somebody's time.
_STANDARD_ERRORS = 4.0
_LEAST_FALL = 0.1


def matured_rows(
    traffic: pd.DataFrame, labels: pd.DataFrame, *, label_delay: timedelta, until: datetime
) -> pd.DataFrame:
    """Join served rows whose label horizon has passed with the newest label that was known by then.

    This is the one join of predictions and labels: monitoring, the rollout's tests and backtests take it, so that
    none of them judges a prediction before its label had time to come, nor by a label that came after the
    moment of the decision. A cohort is matured as a whole: judging what happens to be labelled already would
    judge the quick labels only (cancellations are known before survivals).

    Parameters
    ----------
    traffic : DataFrame of shape (n_rows, …)
        Served rows with ``id`` and ``event_time``; an id that occurs twice counts once, with its first row.
    labels : DataFrame of shape (n_versions, …)
        ``id``, ``value``, ``observed_at``, and ``received_at`` where it is known; an id may have many versions, in
        any order.
    label_delay : timedelta
        The label horizon: how long after its event time a row's label has had time to come.
    until : datetime
        The moment of the decision: nothing that was observed later is seen.

    Returns
    -------
    DataFrame of shape (n_matured, …)
        The columns of *traffic*, and

        - ``matured_at``: event time and horizon together, never after *until*;
        - ``is_labelled``: whether a label was known at *until*;
        - ``value``, ``observed_at``: that label, missing where there was none.

        In the order of *traffic*.

    Examples
    --------
    >>> noon = pd.Timestamp("2013-04-01T12:00Z")
    >>> traffic = pd.DataFrame({"id": ["a", "b", "c"], "event_time": [noon, noon, noon + pd.Timedelta("1D")]})
    >>> day = pd.Timedelta("1D")
    >>> labels = pd.DataFrame({"id": ["a", "a"], "value": [0, 1], "observed_at": [noon + day, noon + 9 * day]})
    >>> matured_rows(traffic, labels, label_delay=day, until=noon + day)[["id", "is_labelled", "value"]]
      id  is_labelled value
    0  a         True     0
    1  b        False   NaN
    """
    moment = pd.Timestamp(as_utc(until))
    matured_at = traffic["event_time"] + pd.Timedelta(label_delay)
    matured = traffic[matured_at <= moment].drop_duplicates("id")
    known = newest_labels(labels[labels["observed_at"] <= moment]).set_index("id")
    places = known.index.get_indexer(pd.Index(matured["id"]))
    is_labelled = places >= 0
    found = known.take(places[is_labelled])
    values = pd.Series(None, index=matured.index, dtype=object)
    values[is_labelled] = found["value"].astype(object).to_numpy()
    observed = pd.Series(pd.NaT, index=matured.index, dtype="datetime64[us, UTC]")
    observed[is_labelled] = found["observed_at"].array
    joined = matured.assign(
        matured_at=matured_at.loc[matured.index], is_labelled=is_labelled, value=values, observed_at=observed
    )
    return joined.reset_index(drop=True)


def newest_labels(labels: pd.DataFrame) -> pd.DataFrame:
    """Take of each id the version that was observed last; of two observed at one moment, the one that came later.

    Where also that is equal, the values decide, so that the answer never depends on the order of the rows.
    """
    order = ["observed_at", "received_at"] if "received_at" in labels else ["observed_at"]
    if labels.duplicated(["id", *order]).any():
        labels = labels.assign(_value=[_write(value) for value in labels["value"]])
        order.append("_value")
    newest = labels.sort_values(order, kind="stable").drop_duplicates("id", keep="last")
    return newest.drop(columns="_value", errors="ignore").sort_index()


def measure_coverage(matured: pd.DataFrame) -> pd.DataFrame:
    """Count by day how many matured rows have their label.

    Parameters
    ----------
    matured : DataFrame
        As :func:`matured_rows` gives it.

    Returns
    -------
    DataFrame
        ``day`` (UTC, of the event time), ``n_matured``, ``n_labelled``, ``coverage`` (0 to 1), and ``has_fallen``:
        whether the day has fewer labels than the seven days before it, by more than chance and by more than a
        tenth. Labels that stop coming leave every metric as it was, measured on ever fewer rows of another kind.
    """
    by_day = matured.groupby(matured["event_time"].dt.floor("D"))["is_labelled"]
    days = pd.DataFrame({"n_matured": by_day.size(), "n_labelled": by_day.sum().astype("int64")})
    days = days.rename_axis("day").reset_index()
    days["coverage"] = days["n_labelled"] / days["n_matured"]
    days["has_fallen"] = list(_find_falls(zip(days["n_matured"], days["n_labelled"], strict=True)))
    return days


def _find_falls(days: Iterable[tuple[int, int]]) -> Iterable[bool]:
    before: list[tuple[int, int]] = []
    for n_matured, n_labelled in days:
        n_before, labelled_before = (sum(column) for column in zip((0, 0), *before[-_N_DAYS_BEFORE:], strict=True))
        fell = False
        if min(n_matured, n_before) >= _FEWEST_ROWS:
            usual, found = labelled_before / n_before, n_labelled / n_matured
            # Half a row on each side keeps the error above nothing where every row had its label.
            pooled = (labelled_before + n_labelled + 0.5) / (n_before + n_matured + 1)
            error = (pooled * (1 - pooled) * (1 / n_before + 1 / n_matured)) ** 0.5
            fell = usual - found > max(_STANDARD_ERRORS * error, _LEAST_FALL)
        yield fell
        # What has fallen is no measure for the days after it, or the alarm would end by itself.
        if not fell:
            before.append((n_matured, n_labelled))


def _write(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
