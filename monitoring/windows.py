"""One window of served traffic, measured: drift, loss on matured labels, and the loss to expect without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from base.class_codes import encode_labels
from base.metrics import LOSS_NAMES, row_losses
from monitoring.alarms.loss_bets import LossSample
from monitoring.alarms.measures import WindowFacts
from monitoring.drift import DriftPage, DriftReport, compare_labels
from monitoring.impossible_values import find_examples, find_impossible
from monitoring.monitored_version import MonitoredVersion
from monitoring.performance import (
    Estimate,
    EstimateScore,
    PerformanceReport,
    is_comparable,
    measure_performance,
    read_answers,
)
from monitoring.store import MonitorStore
from registry.manifest import ModelManifest
from serving.labels.matured import DAYS_BEFORE, matured_rows, measure_coverage


@dataclass(frozen=True)
class WindowRows:
    """The served rows of a window, and what the estimator saw of them."""

    traffic: pd.DataFrame
    features: pd.DataFrame


@dataclass(frozen=True)
class MeasuredWindow:
    """What was measured in one window.

    Attributes
    ----------
    labelled, features : DataFrame
        The rows whose label has matured and come, in the order of time; and what the estimator saw of them. Without a
        row before the labels were looked at.
    drift, estimate : optional
        None with fewer rows than ``monitor.min_rows``.
    losses : LossSample, optional
        None where no label has come.
    """

    start: datetime
    stop: datetime
    n_rows: int
    facts: WindowFacts
    performance: PerformanceReport
    labelled: pd.DataFrame
    features: pd.DataFrame
    drift: DriftPage | None = None
    estimate: Estimate | None = None
    losses: LossSample | None = None

    @property
    def report(self) -> DriftReport | None:
        """What was found in the columns."""
        return None if self.drift is None else self.drift.report


def read_rows(version: MonitoredVersion, store: MonitorStore, *, start: datetime, stop: datetime) -> WindowRows:
    """Read the served rows of [start, stop), and build a version's features of them."""
    traffic = store.traffic(start, stop)
    return WindowRows(traffic, version.build_features(traffic))


def measure_traffic(
    rows: WindowRows,
    version: MonitoredVersion,
    *,
    start: datetime,
    stop: datetime,
    min_rows: int = 1,
    past: EstimateScore | None = None,
    n_refused: int = 0,
    with_page: bool = False,
) -> MeasuredWindow:
    """Measure what a window's rows show without their labels: drift, and the loss to expect.

    Parameters
    ----------
    past : EstimateScore, optional
        How earlier estimates turned out.
    n_refused : int
        Rows that came in the window and were refused.
    """
    manifest, traffic = version.manifest, rows.traffic
    impossible = find_impossible(traffic, manifest.contract)
    facts = WindowFacts(
        start,
        stop,
        len(traffic),
        version.number,
        n_refused=n_refused,
        impossible={column: int(is_so.sum()) for column, is_so in impossible.items()},
    )
    measured = MeasuredWindow(
        start, stop, len(traffic), facts, await_labels(manifest), traffic.iloc[:0], rows.features.iloc[:0]
    )
    if len(traffic) < min_rows:
        return measured
    drift = version.measure_drift(rows.features, version.take_answers(traffic), with_page=with_page)
    estimate = version.estimate(traffic, rows.features, past=past)
    examples = find_examples(drift.report, rows.features, traffic["id"], impossible)
    return replace(measured, drift=drift, estimate=estimate, facts=replace(facts, examples=examples))


def measure_labels(
    measured: MeasuredWindow,
    rows: WindowRows,
    version: MonitoredVersion,
    store: MonitorStore,
    *,
    until: datetime,
    label_delay: timedelta,
    slices: Sequence[str] = (),
) -> MeasuredWindow:
    """Add to what was measured of a window's traffic what its matured labels say: the loss, and their own drift.

    Parameters
    ----------
    measured : MeasuredWindow
        As :func:`measure_traffic` gave it, now or weeks ago.
    until : datetime
        The moment of the look: what was known of labels by then counts.
    slices : sequence of str
        ``evaluate.slices``: columns by whose values the loss is measured too.
    """
    manifest, labels = version.manifest, store.labels()
    judged = matured_rows(rows.traffic, labels, label_delay=label_delay, until=until)
    performance = measure_performance(judged, manifest, reference=version.reference, slices=slices)
    before = store.served(measured.start - DAYS_BEFORE, measured.stop)
    coverage = measure_coverage(matured_rows(before, labels, label_delay=label_delay, until=until))
    missing = describe_missing(coverage, measured.start)
    labelled = judged[judged["is_labelled"]]
    labelled = labelled[is_comparable(labelled, manifest.classes)]
    # The join counts its rows anew, and takes an id that came twice once.
    first = rows.traffic["id"].drop_duplicates()
    places = first.index[pd.Index(first).get_indexer(pd.Index(labelled["id"]))]
    return replace(
        measured,
        performance=performance.model_copy(update={"missing": missing}),
        facts=replace(measured.facts, missing_labels=missing),
        labelled=labelled,
        features=rows.features.loc[places].set_axis(labelled.index),
        losses=_sample_losses(labelled, version) if len(labelled) else None,
        drift=_with_label(measured.drift, judged, version),
    )


def measure_window(
    version: MonitoredVersion,
    store: MonitorStore,
    *,
    start: datetime,
    stop: datetime,
    min_rows: int = 1,
    until: datetime | None = None,
    label_delay: timedelta | None = None,
    slices: Sequence[str] = (),
    past: EstimateScore | None = None,
    n_refused: int = 0,
    with_page: bool = False,
) -> MeasuredWindow:
    """Measure the served rows of [start, stop) against a version's reference: traffic and labels at once.

    Only matured rows are judged, by the labels that were known at *until*. The other parameters are those of
    :func:`measure_traffic` and :func:`measure_labels`.

    Parameters
    ----------
    until : datetime, optional
        The moment of the check; default: when the window's last row has matured.
    label_delay : timedelta, optional
        The label horizon; default: as the model was trained.
    """
    label_delay = version.manifest.label_delay if label_delay is None else label_delay
    until = stop + label_delay if until is None else until
    rows = read_rows(version, store, start=start, stop=stop)
    measured = measure_traffic(
        rows, version, start=start, stop=stop, min_rows=min_rows, past=past, n_refused=n_refused, with_page=with_page
    )
    return measure_labels(measured, rows, version, store, until=until, label_delay=label_delay, slices=slices)


def await_labels(manifest: ModelManifest) -> PerformanceReport:
    """Report a performance of which nothing is known yet but what is expected."""
    loss = LOSS_NAMES[manifest.task]
    return PerformanceReport(n_labelled=0, metrics={}, loss=loss, expected=manifest.metrics[loss])


def describe_missing(days: pd.DataFrame, start: datetime) -> str | None:
    """Say on which days from *start* on far fewer rows got their label than before, or nothing."""
    fallen = days[days["has_fallen"] & (days["day"] >= pd.Timestamp(start).floor("D"))]
    if fallen.empty:
        return None
    first = fallen.iloc[0]
    more = f" and {len(fallen) - 1} more days" if len(fallen) > 1 else ""
    return (
        f"labels stay away: {first['n_labelled']:,} of {first['n_matured']:,} matured rows have one on "
        f"{first['day']:%Y-%m-%d}{more}"
    )


def _sample_losses(labelled: pd.DataFrame, version: MonitoredVersion) -> LossSample:
    manifest, reference = version.manifest, version.reference
    target = encode_labels(labelled["value"], manifest.classes)
    losses = row_losses(manifest.task, target, read_answers(labelled, manifest.classes))
    expected = manifest.metrics[LOSS_NAMES[manifest.task]]
    return LossSample(losses, expected, None if reference is None else reference.losses)


def _name_labels(judged: pd.DataFrame, version: MonitoredVersion) -> pd.Series[Any] | None:
    """Take the labels that have come, named as the model's classes."""
    values, classes = judged.loc[judged["is_labelled"], "value"], version.manifest.classes
    if values.empty:
        return None
    if classes is None:
        numbers: pd.Series[Any] = pd.to_numeric(values, errors="coerce")
        return numbers
    codes = encode_labels(values, classes)
    names = [classes[code] if code >= 0 else str(value) for code, value in zip(codes, values, strict=True)]
    return pd.Series(names, index=values.index, dtype=object)


def _with_label(drift: DriftPage | None, judged: pd.DataFrame, version: MonitoredVersion) -> DriftPage | None:
    """Add the label's column to a report of drift, where there is one and any label has come."""
    labels = _name_labels(judged, version)
    if drift is None or labels is None:
        return drift
    return replace(drift, report=compare_labels(drift.report, version.profile, labels))
