"""Windows of served traffic: cut, checked against the champion's reference, and judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow.parquet as pq
from sqlalchemy import func
from sqlmodel import Session, col, select

from base.monitor_spec import MonitorSpec
from features.plan import build_features
from monitoring.drift import DriftPage, measure_drift
from monitoring.performance import PerformanceReport, measure_performance
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
    """
    label_delay = manifest.label_delay if label_delay is None else label_delay
    until = stop + label_delay if until is None else until
    artifacts = registry.artifacts
    traffic = read_traffic(home, manifest.model, start=start, stop=stop, registry=registry)
    labels = read_label_versions(home, manifest.model, registry=registry)
    performance = measure_performance(matured_rows(traffic, labels, label_delay=label_delay, until=until), manifest)
    before = read_served(home, manifest.model, start=start - DAYS_BEFORE, stop=stop, registry=registry)
    matured = matured_rows(before, labels, label_delay=label_delay, until=until)
    performance = performance.model_copy(update={"missing": describe_missing(measure_coverage(matured), start)})
    if len(traffic) < spec.min_rows:
        reason = f"{len(traffic):,} rows, expected at least {spec.min_rows:,}"
        return WindowReport(start, stop, len(traffic), None, performance, "too few rows", reason)
    reference = pq.read_table(artifacts.local_path(manifest.reference)).to_pandas()
    current = build_features(_inputs(traffic, manifest), manifest.plan, manifest.load_code(artifacts))
    plan = manifest.plan
    drift = measure_drift(reference, current, numeric=plan.numeric, categorical=plan.categorical, with_page=with_page)
    outcome, reason = judge_window(drift, performance, spec)
    return WindowReport(start, stop, len(traffic), drift, performance, outcome, reason)


def judge_window(drift: DriftPage, performance: PerformanceReport, spec: MonitorSpec) -> tuple[Outcome, str]:
    """Say what a window calls for, with the figures."""
    report = drift.report
    moved = f"{len(report.drifted)} of {len(report.columns)} features drifted"
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
