"""One window of served traffic, measured: drift, loss on matured labels, and the loss to expect without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from base.class_codes import encode_labels
from base.metrics import LOSS_NAMES, row_losses
from monitoring.alarms.loss_bets import LossSample
from monitoring.alarms.measures import WindowFacts
from monitoring.drift import DriftPage, DriftReport, measure_drift
from monitoring.monitored_version import MonitoredVersion
from monitoring.performance import (
    Estimate,
    EstimateScore,
    PerformanceReport,
    estimate_performance,
    is_comparable,
    measure_performance,
    read_answers,
)
from registry.store import Registry
from serving.labels.matured import DAYS_BEFORE, matured_rows, measure_coverage
from serving.labels.reading import read_label_versions, read_served
from serving.log.traffic import read_traffic

# A few rows show what is wrong; who wants all of them asks the log.
_MOST_EXAMPLES = 5
_NOTABLE_SHARE = 0.02


@dataclass(frozen=True)
class MeasuredWindow:
    """What was measured in one window.

    Attributes
    ----------
    labelled, features : DataFrame
        The rows whose label has matured and come, in the order of time; and what the estimator saw of them.
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


def measure_window(
    home: Path,
    version: MonitoredVersion,
    registry: Registry,
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
    """Measure the served rows of [start, stop) against a version's reference.

    Only matured rows are judged, by the labels that were known at *until*.

    Parameters
    ----------
    until : datetime, optional
        The moment of the check; default: when the window's last row has matured.
    label_delay : timedelta, optional
        The label horizon; default: as the model was trained.
    slices : sequence of str
        ``evaluate.slices``: columns by whose values the loss is measured too.
    past : EstimateScore, optional
        How earlier estimates turned out.
    n_refused : int
        Rows that came in the window and were refused.
    """
    manifest = version.manifest
    label_delay = manifest.label_delay if label_delay is None else label_delay
    until = stop + label_delay if until is None else until
    traffic = read_traffic(home, manifest.model, start=start, stop=stop, registry=registry)
    labels = read_label_versions(home, manifest.model, registry=registry)
    judged = matured_rows(traffic, labels, label_delay=label_delay, until=until)
    performance = measure_performance(judged, manifest, reference=version.reference, slices=slices)
    before = read_served(home, manifest.model, start=start - DAYS_BEFORE, stop=stop, registry=registry)
    coverage = measure_coverage(matured_rows(before, labels, label_delay=label_delay, until=until))
    performance = performance.model_copy(update={"missing": describe_missing(coverage, start)})
    labelled = judged[judged["is_labelled"]]
    labelled = labelled[is_comparable(labelled, manifest.classes)]
    facts = WindowFacts(
        start, stop, len(traffic), version.number, n_refused=n_refused, missing_labels=performance.missing
    )
    features = version.build_features(traffic)
    measured = MeasuredWindow(start, stop, len(traffic), facts, performance, labelled, features.loc[labelled.index])
    if len(labelled):
        measured = replace(measured, losses=_sample_losses(labelled, version))
    if len(traffic) < min_rows:
        return measured
    drift = measure_drift(
        version.profile,
        features,
        predictions=version.take_answers(traffic),
        labels=_name_labels(judged, version),
        with_page=with_page,
    )
    estimate = estimate_performance(
        traffic, manifest, version.reference, features=features, expectation=version.expectation, past=past
    )
    examples = _find_examples(drift.report, features, traffic["id"])
    return replace(measured, drift=drift, estimate=estimate, facts=replace(facts, examples=examples))


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


def _find_examples(report: DriftReport, features: pd.DataFrame, ids: pd.Series[Any]) -> dict[str, tuple[str, ...]]:
    """Name a few rows that show what is strange in a column: a gap, a new category, or any row of another unit."""
    found = {}
    for finding in report.features:
        if finding.column not in features:
            continue
        column = features[finding.column]
        if finding.missing_current - finding.missing_reference > _NOTABLE_SHARE:
            chosen = column.isna()
        elif finding.new_share > _NOTABLE_SHARE:
            chosen = column.astype(str).isin(finding.new_categories)
        elif finding.unit_ratio is not None:
            chosen = column.notna()
        else:
            continue
        found[finding.column] = tuple(ids[chosen.to_numpy(dtype=bool)].head(_MOST_EXAMPLES))
    return found
