"""Data drift: how far the features of a window have moved from the champion's reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

# Distances, not p-values: with thousands of rows a test finds every column significant, however small the shift.
# The thresholds are Evidently's own for large samples.
NUMERIC_METHOD, NUMERIC_THRESHOLD = "wasserstein", 0.1
CATEGORICAL_METHOD, CATEGORICAL_THRESHOLD = "jensenshannon", 0.1
# More rows on a side cost seconds and find the same columns.
_MOST_ROWS = 5_000
_SAMPLE_SEED = 0


class ColumnDrift(BaseModel):
    """How far one feature has moved: a distance without unit, and the threshold above which it counts."""

    model_config = ConfigDict(frozen=True)

    column: str
    method: str
    distance: float
    threshold: float

    @property
    def is_drifted(self) -> bool:
        """Whether the distance counts as drift."""
        return self.distance >= self.threshold


class DriftReport(BaseModel):
    """The drift of every feature that could be measured, and those that could not, with the reason."""

    model_config = ConfigDict(frozen=True)

    columns: tuple[ColumnDrift, ...]
    not_measured: dict[str, str]
    n_reference: int
    n_current: int

    @property
    def drifted(self) -> tuple[str, ...]:
        """The features that drifted, the farthest first."""
        moved = [column for column in self.columns if column.is_drifted]
        return tuple(column.column for column in sorted(moved, key=lambda column: -column.distance))

    @property
    def share(self) -> float:
        """The share of the measured features that drifted."""
        return len(self.drifted) / len(self.columns) if self.columns else 0.0


@dataclass(frozen=True)
class DriftPage:
    """A drift report with Evidently's page to look at."""

    report: DriftReport
    html: str | None


def measure_drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    with_page: bool = False,
) -> DriftPage:
    """Measure each feature's distance from the reference with Evidently.

    Quantities by the Wasserstein distance in units of the reference's standard deviation, categories by the
    Jensen-Shannon distance; both on at most 5,000 sampled rows a side. A feature without a single value on
    one side cannot be measured, and is named.

    Parameters
    ----------
    reference, current : DataFrame of shape (n_reference, n_features) and (n_current, n_features)
    with_page : bool
        Whether to render the page as well (3.7 MB, half a second).
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    sides = [_sampled(reference), _sampled(current)]
    sides = [_clean(side, numeric) for side in sides]
    empty = {
        name: f"no value in the {side}"
        for name in (*numeric, *categorical)
        for side, rows in zip(("reference", "window"), sides, strict=True)
        if not rows[name].notna().any()
    }
    numbers = [name for name in numeric if name not in empty]
    categories = [name for name in categorical if name not in empty]
    if not numbers and not categories:
        nothing = DriftReport(columns=(), not_measured=empty, n_reference=len(reference), n_current=len(current))
        return DriftPage(nothing, None)
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    data = [Dataset.from_pandas(rows[numbers + categories], data_definition=definition) for rows in sides]
    metrics = [ValueDrift(column=name, method=NUMERIC_METHOD, threshold=NUMERIC_THRESHOLD) for name in numbers]
    metrics += [
        ValueDrift(column=name, method=CATEGORICAL_METHOD, threshold=CATEGORICAL_THRESHOLD) for name in categories
    ]
    snapshot = Report(metrics).run(data[1], data[0])  # the window first, then the reference
    found = json.loads(snapshot.json())["metrics"]
    columns = tuple(
        ColumnDrift(
            column=metric["config"]["column"],
            method=metric["config"]["method"],
            distance=float(metric["value"]),
            threshold=float(metric["config"]["threshold"]),
        )
        for metric in found
    )
    report = DriftReport(columns=columns, not_measured=empty, n_reference=len(reference), n_current=len(current))
    return DriftPage(report, snapshot.get_html_str(as_iframe=False) if with_page else None)


def _sampled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sample(_MOST_ROWS, random_state=_SAMPLE_SEED) if len(frame) > _MOST_ROWS else frame


def _clean(frame: pd.DataFrame, numeric: Sequence[str]) -> pd.DataFrame:
    # Infinity makes Evidently's figures contradict each other.
    return frame.assign(**{name: frame[name].replace([np.inf, -np.inf], np.nan) for name in numeric})
