"""Drift: one pass over a window, against the profile that the version keeps of its reference."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from monitoring.drift.classifier import MOST_COLUMNS, compare_jointly
from monitoring.drift.comparison import Compared, compare_column
from monitoring.drift.findings import ColumnFinding, DriftPage, DriftReport, Multivariate, Skew
from monitoring.drift.profile import ReferenceColumn, ReferenceProfile
from monitoring.drift.sampling import conform, sample_window
from monitoring.drift.skew import find_skew


def measure_drift(
    profile: ReferenceProfile,
    window: pd.DataFrame | pa.Table,
    *,
    predictions: pd.Series[Any] | None = None,
    with_multivariate: bool = True,
    with_page: bool = False,
) -> DriftPage:
    """Compare each column of a window with the reference's, and all of them together.

    Parameters
    ----------
    window : DataFrame or Table of shape (n_rows, n_features)
        The features as the model saw them, in the order of time.
    predictions : Series of shape (n_rows,), optional
        What was answered: the value, or the probability of the last class.
    with_multivariate : bool
        Whether a classifier tries to tell window from reference (half a second, whatever the window's size).
    with_page : bool
        Whether to render Evidently's page as well (4 MB, seconds); it shows the verdicts of the report.

    Examples
    --------
    >>> from monitoring.drift.profile import make_profile
    >>> import numpy as np
    >>> draw = np.random.default_rng(0)
    >>> profile = make_profile(pd.DataFrame({"age": draw.normal(40, 10, 2_000)}), numeric=("age",))
    >>> window = pd.DataFrame({"age": draw.normal(47, 10, 500)})
    >>> report = measure_drift(profile, window, with_multivariate=False).report
    >>> report.drifted, report.columns[0].direction, round(report.columns[0].effect, 1)
    (('age',), 'up', 0.7)
    """
    names = list(map(str, window.columns if isinstance(window, pd.DataFrame) else window.column_names))
    n_current = len(window)
    findings: list[ColumnFinding] = []
    not_measured: dict[str, str] = {}
    skew: list[Skew] = []
    features = [column for column in profile.columns if column.role == "feature"]
    for reference in profile.columns:
        if reference.role == "label":
            continue
        is_feature = reference.role == "feature"
        column = predictions if not is_feature else window[reference.name] if reference.name in names else None
        if column is None:
            if is_feature:
                not_measured[reference.name] = "not in the window"
                skew.append(Skew(column=reference.name, kind="missing column", text="not in the window"))
            continue
        compared = compare_column(reference, column)
        if why_not := _why_not(reference, compared, n_current):
            not_measured[reference.name] = why_not
        if compared.finding.n_current:
            findings.append(compared.finding)
            skew += find_skew(reference, compared.read, n_columns=len(features))
    known = {column.name for column in features}
    skew += [Skew(column=name, kind="extra column", text="not in the reference") for name in names if name not in known]
    report = DriftReport(
        columns=tuple(findings),
        not_measured=not_measured,
        n_reference=profile.n_rows,
        n_current=n_current,
        skew=tuple(skew),
    )
    if not with_multivariate and not with_page:
        return DriftPage(report, None)
    sample = sample_window(
        window, [column.name for column in features if column.name in names], predictions=predictions
    )
    if with_multivariate:
        report = report.model_copy(update={"multivariate": _compare_jointly(profile, sample, report)})
    html = None
    if with_page:
        from monitoring.drift.page import render_page

        html = render_page(report, profile, sample)
    return DriftPage(report, html)


def compare_labels(report: DriftReport, profile: ReferenceProfile, labels: pd.Series[Any]) -> DriftReport:
    """Add to a window's report how its labels compare with the reference's, once they have come.

    Parameters
    ----------
    labels : Series of shape (n_labelled,)
        Of rows that have matured, named as the reference names them.
    """
    findings = [column for column in report.columns if column.role != "label"]
    skew, not_measured = list(report.skew), dict(report.not_measured)
    for reference in profile.columns:
        if reference.role != "label":
            continue
        compared = compare_column(reference, labels)
        if compared.why_not:
            not_measured[reference.name] = compared.why_not
        if compared.finding.n_current:
            findings.append(compared.finding)
            skew += find_skew(reference, compared.read, n_columns=1)
    return report.model_copy(update={"columns": tuple(findings), "skew": tuple(skew), "not_measured": not_measured})


def _why_not(reference: ReferenceColumn, compared: Compared, n_current: int) -> str:
    if reference.role == "feature" and not n_current:
        return "no row in the window"
    return compared.why_not


def _compare_jointly(profile: ReferenceProfile, sample: pd.DataFrame, report: DriftReport) -> Multivariate | None:
    """Compare the features that can be, those that look strangest first where there are too many."""
    findings = {finding.column: finding for finding in report.features}
    kinds = {
        column.name: column.kind
        for column in profile.columns
        if column.role == "feature" and column.name in findings and column.kind in ("numeric", "categorical")
    }
    chosen = sorted(kinds, key=lambda name: findings[name].p_value)[:MOST_COLUMNS]
    numeric = [name for name in kinds if name in chosen and kinds[name] == "numeric"]
    categorical = [name for name in kinds if name in chosen and kinds[name] == "categorical"]
    rows = conform(sample, numeric=numeric, categorical=categorical)
    return compare_jointly(profile.sample_frame(), rows, numeric=numeric, categorical=categorical)
