"""Evidently's page of a drift report: its tables and charts, with the report's own verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pandas as pd

from monitoring.drift.findings import FALSE_DISCOVERY_RATE, DriftReport
from monitoring.drift.profile import ReferenceProfile
from monitoring.drift.sampling import conform
from serving.loading.stored_rows import PREDICTION

METHOD = "everfit_two_sample"
_DISPLAYED = "two-sample test, corrected for the number of columns"
_VERDICTS: ContextVar[Mapping[str, tuple[float, bool]]] = ContextVar("drift_verdicts")


def render_page(
    report: DriftReport,
    profile: ReferenceProfile,
    sample: pd.DataFrame,
) -> str | None:
    """Render Evidently's page of a report; None where no column can be shown. See :func:`run_evidently`."""
    snapshot = run_evidently(report, profile, sample)
    return None if snapshot is None else str(snapshot.get_html_str(as_iframe=False))


def run_evidently(report: DriftReport, profile: ReferenceProfile, sample: pd.DataFrame) -> Any:
    """Run Evidently's drift preset on sampled rows, each column's test being the report's; None without a column.

    Evidently's own tests compare samples as if the reference were the truth, so that a quiet window of 100 rows
    shows most columns as drifted. Its preset takes registered tests instead (``register_stattest``): ours looks the
    verdict up, so that page and report never differ.

    Parameters
    ----------
    sample : DataFrame of shape (n_sampled, n_features)
        Rows of the window, with ``__prediction__`` where there are predictions.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    shown = [column for column in report.features if column.column not in report.not_measured]
    numbers = [column.column for column in shown if column.kind == "numeric"]
    categories = [column.column for column in shown if column.kind == "categorical"]
    verdicts = {name: (report.adjusted[name], name in report.drifted) for name in numbers + categories}
    reference = profile.sample_frame()
    answered = report.find("prediction", "prediction")
    if answered is not None and all(PREDICTION in rows for rows in (reference, sample)):
        numbers = [*numbers, PREDICTION]
        verdicts[PREDICTION] = answered.p_value, answered.has_drifted
    sides = [conform(sample, numeric=numbers, categorical=categories), reference[numbers + categories]]
    # A column may have no value among the sampled rows, and Evidently ends with an error at one that has none.
    names = [name for name in verdicts if all(rows[name].notna().any() for rows in sides)]
    if not names:
        return None
    definition = DataDefinition(
        numerical_columns=[name for name in numbers if name in names],
        categorical_columns=[name for name in categories if name in names],
    )
    data = [Dataset.from_pandas(rows[names], data_definition=definition) for rows in sides]
    _register()
    with _verdicts(verdicts):
        preset = DataDriftPreset(columns=names, method=METHOD, threshold=FALSE_DISCOVERY_RATE)
        return Report([preset], include_tests=True).run(data[0], data[1])  # the window first, then the reference


@contextmanager
def _verdicts(verdicts: Mapping[str, tuple[float, bool]]) -> Iterator[None]:
    token = _VERDICTS.set(verdicts)
    try:
        yield
    finally:
        _VERDICTS.reset(token)


def _look_up(_reference: pd.Series[Any], current: pd.Series[Any], _kind: Any, _threshold: float) -> tuple[float, bool]:
    return _VERDICTS.get()[str(current.name)]


def _register() -> None:
    """Make the test known to Evidently by its name; a second time changes nothing."""
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    kinds = [ColumnType.Numerical, ColumnType.Categorical]
    test = StatTest(name=METHOD, display_name=_DISPLAYED, allowed_feature_types=kinds)
    register_stattest(test, _look_up)
