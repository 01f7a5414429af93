"""Windows of served traffic: cut, checked against the champion's reference, and judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sqlalchemy import func
from sqlmodel import Session, col, select

from base.class_codes import encode_labels
from base.monitor_spec import MonitorSpec
from features.fitted import load_states
from features.plan import build_features
from monitoring.drift import DriftPage, measure_drift, profile_reference
from monitoring.performance import (
    Estimate,
    PerformanceReport,
    estimate_performance,
    measure_performance,
    read_reference,
)
from registry.manifest import ModelManifest
from registry.store import Registry
from registry.tables import WindowRow
from serving.labels.matured import DAYS_BEFORE, matured_rows, measure_coverage
from serving.labels.reading import read_label_versions, read_served
from serving.log.frames import shown_name
from serving.log.traffic import read_event_times, read_traffic

Outcome = Literal["healthy", "drift", "performance", "labels missing", "too few rows"]


@dataclass(frozen=True)
class WindowReport:
    """What one window showed, and what it calls for."""

    start: datetime
    stop: datetime
    n_rows: int
    drift: DriftPage | None
    performance: PerformanceReport
    outcome: Outcome
    reason: str
    estimate: Estimate | None = None


def check_window(
    home: Path,
    manifest: ModelManifest,
    spec: MonitorSpec,
    registry: Registry,
    *,
    start: datetime,
    stop: datetime,
    until: datetime | None = None,
    label_delay: timedelta | None = None,
    with_page: bool = False,
    trusted: Sequence[str] = (),
    slices: Sequence[str] = (),
) -> WindowReport:
    """Check the served rows of [start, stop): have the features moved, and does the loss still hold?

    Loss is judged first: on labelled rows it says that the model is wrong, while drift says only that the
    world looks different. Only matured rows are judged, by the labels that were known at *until*.

    Parameters
    ----------
    until : datetime, optional
        The moment of the check; default: when the window's last row has matured.
    label_delay : timedelta, optional
        The label horizon; default: as the model was trained.
    trusted : sequence of str
        Types that a fitted feature's state may hold; see :attr:`base.settings.Settings.trusted_types`.
    slices : sequence of str
        ``evaluate.slices``: columns by whose values the loss is measured too.
    """
    label_delay = manifest.label_delay if label_delay is None else label_delay
    until = stop + label_delay if until is None else until
    artifacts = registry.artifacts
    traffic = read_traffic(home, manifest.model, start=start, stop=stop, registry=registry)
    labels = read_label_versions(home, manifest.model, registry=registry)
    judged = matured_rows(traffic, labels, label_delay=label_delay, until=until)
    reference = read_reference(manifest, artifacts)
    performance = measure_performance(judged, manifest, reference=reference, slices=slices)
    before = read_served(home, manifest.model, start=start - DAYS_BEFORE, stop=stop, registry=registry)
    matured = matured_rows(before, labels, label_delay=label_delay, until=until)
    performance = performance.model_copy(update={"missing": describe_missing(measure_coverage(matured), start)})
    if len(traffic) < spec.min_rows:
        reason = f"{len(traffic):,} rows, expected at least {spec.min_rows:,}"
        return WindowReport(start, stop, len(traffic), None, performance, "too few rows", reason)
    plan, code = manifest.plan, manifest.load_code(artifacts)
    fitted = load_states(artifacts, plan.states, code, trusted=trusted)
    features = build_features(_inputs(traffic, manifest), plan, code, fitted)
    drift = measure_drift(
        profile_reference(manifest, artifacts),
        features,
        predictions=_answers(traffic, manifest),
        labels=_labels(judged, manifest),
        with_page=with_page,
    )
    outcome, reason = judge_window(drift, performance, spec)
    estimate = estimate_performance(traffic, manifest, reference, features=features)
    return WindowReport(start, stop, len(traffic), drift, performance, outcome, reason, estimate)


def judge_window(drift: DriftPage, performance: PerformanceReport, spec: MonitorSpec) -> tuple[Outcome, str]:
    """Say what a window calls for, with the figures."""
    report = drift.report
    moved = f"{len(report.drifted)} of {len(report.features)} features drifted"
    if report.drifted:
        moved += f" ({', '.join(report.drifted[:3])}{', …' if len(report.drifted) > 3 else ''})"
    if performance.increase is None:
        held = "no labels yet"
    else:
        of_all = f" of {performance.n_matured:,}" if performance.n_matured > performance.n_labelled else ""
        held = (
            f"{performance.loss} {performance.metrics[performance.loss]:.4f} "
            f"on {performance.n_labelled:,}{of_all} labelled rows, "
            f"{performance.increase:+.1%} against {performance.expected:.4f} at promotion"
        )
    if performance.increase is not None and performance.increase > spec.max_loss_increase:
        return "performance", f"{held} (limit {spec.max_loss_increase:+.1%}); {moved}"
    if report.share > spec.max_drifted_share:
        return "drift", f"{moved}, limit {spec.max_drifted_share:.0%}; {held}"
    if performance.missing is not None:
        return "labels missing", f"{performance.missing}; {held}; {moved}"
    return "healthy", f"{held}; {moved}"


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


def due_windows(
    session: Session,
    home: Path,
    model: str,
    *,
    length: timedelta,
    label_delay: timedelta,
    until: datetime,
    registry: Registry | None = None,
) -> list[tuple[datetime, datetime]]:
    """List the windows that are over, whose labels have had time to come, and that no one has checked.

    The first window starts at midnight (UTC) of the first served row, each next one where another ended. A
    stretch without any row has no windows: a single row of 1970 must not bring thousands of them.
    """
    last = session.exec(select(func.max(WindowRow.stop)).where(WindowRow.model == model)).one()
    moments = read_event_times(home, model, start=last, stop=until - label_delay, registry=registry)
    if moments.empty:
        return []
    origin = pd.Timestamp(last) if last is not None else moments.iloc[0].floor("D")
    starts = [(origin + number * length).to_pydatetime() for number in sorted(set((moments - origin) // length))]
    return [(start, start + length) for start in starts if start + length + label_delay <= until]


def list_windows(session: Session, model: str) -> list[WindowRow]:
    """List the checked windows of a model in their order."""
    return list(session.exec(select(WindowRow).where(WindowRow.model == model).order_by(col(WindowRow.start))))


def _inputs(traffic: pd.DataFrame, manifest: ModelManifest) -> pd.DataFrame:
    """Take the model's inputs out of the traffic; one that the served rows did not have is missing."""
    columns: dict[str, Any] = {}
    for name in manifest.plan.inputs:
        shown = shown_name(name)
        columns[name] = traffic[shown] if shown in traffic.columns else pd.Series([None] * len(traffic), dtype=object)
    return pd.DataFrame(columns)


def _answers(traffic: pd.DataFrame, manifest: ModelManifest) -> pd.Series[Any]:
    """Take what was answered as the reference holds it: the value, or the probability of the last class."""
    n_classes = len(manifest.classes or ())
    if n_classes < 3:
        return traffic["prediction"]
    if "probabilities" not in traffic:
        return pd.Series(math.nan, index=traffic.index)
    # Another version may have known other classes.
    return traffic["probabilities"].map(
        lambda row: row[-1] if isinstance(row, list | np.ndarray) and len(row) == n_classes else math.nan
    )


def _labels(judged: pd.DataFrame, manifest: ModelManifest) -> pd.Series[Any] | None:
    """Take the labels that have come, named as the model's classes."""
    values = judged.loc[judged["is_labelled"], "value"]
    if values.empty:
        return None
    if manifest.classes is None:
        numbers: pd.Series[Any] = pd.to_numeric(values, errors="coerce")
        return numbers
    codes = encode_labels(values, manifest.classes)
    names = [manifest.classes[code] if code >= 0 else str(value) for code, value in zip(codes, values, strict=True)]
    return pd.Series(names, index=values.index, dtype=object)
