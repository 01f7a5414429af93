"""What Evidently's preset says of a window with its defaults, as a policy to compare with."""

from __future__ import annotations

import json
import warnings

import pandas as pd

from monitoring.monitored_version import MonitoredVersion

DRIFTED_SHARE = 0.5
"""Evidently's default: a data set has drifted when half of its columns have."""


def ask_evidently(version: MonitoredVersion, features: pd.DataFrame) -> float | None:
    """Return the share of columns that ``DataDriftPreset`` calls drifted; None where there is nothing to compare with.

    Asked is the preset's own measure of dataset drift, ``DriftedColumnsCount``: the preset adds charts to it, which
    take ten times as long and are looked at by nobody here.

    Parameters
    ----------
    features : DataFrame of shape (n_rows, n_features)
        Of the window, as the estimator sees them; compared with the version's reference rows.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import DriftedColumnsCount

    reference, plan = version.reference, version.manifest.plan
    if reference is None or features.empty:
        return None
    numeric = [name for name in plan.numeric if _has_values(name, features, reference.features)]
    categorical = [name for name in plan.categorical if _has_values(name, features, reference.features)]
    if not numeric and not categorical:
        return None
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    sides = [
        Dataset.from_pandas(
            rows[[*numeric, *categorical]].assign(**{name: rows[name].astype(str) for name in categorical}), definition
        )
        for rows in (features, reference.features)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = json.loads(Report([DriftedColumnsCount()]).run(sides[0], sides[1]).json())
    return float(found["metrics"][0]["value"]["share"])


def _has_values(name: str, *frames: pd.DataFrame) -> bool:
    return all(name in frame and frame[name].notna().any() for frame in frames)
