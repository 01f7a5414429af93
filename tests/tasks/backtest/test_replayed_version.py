"""Claims about versions that several policies look at: measured once, and nothing else taken for equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.artifacts import ArtifactStore
from monitoring.monitored_version import MonitoredVersion
from tasks.backtest.replayed_version import ReplayedVersion

FEATURES = pd.DataFrame({"age": [30.0, 40.0], "town": ["Aix", "Ulm"]})
ANSWERS = pd.Series([0.2, 0.7])


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Says what was measured, and measures nothing."""
    told: list[str] = []

    def measure(self: MonitoredVersion, *args: Any, **options: Any) -> str:
        told.append(f"{len(told)}")
        return told[-1]

    monkeypatch.setattr(MonitoredVersion, "measure_drift", measure)
    monkeypatch.setattr(MonitoredVersion, "estimate", measure)
    return told


@pytest.fixture
def version(tmp_path: Path) -> ReplayedVersion:
    from types import SimpleNamespace

    manifest: Any = SimpleNamespace(classes=("no", "yes"))
    return ReplayedVersion(1, manifest, ArtifactStore(str(tmp_path)))


def _traffic(first: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"id": [str(first), str(first + 1)], "prediction": ANSWERS})


def test_the_same_window_is_measured_once(version: ReplayedVersion, measured: list[str]) -> None:
    first = version.measure_drift(FEATURES, ANSWERS), version.estimate(_traffic(), FEATURES, past=None)
    again = version.measure_drift(FEATURES.copy(), ANSWERS), version.estimate(_traffic(), FEATURES, past=None)

    assert first == again
    assert len(measured) == 2


@pytest.mark.parametrize(
    ("features", "answers"),
    [(FEATURES.assign(age=[30.0, 41.0]), ANSWERS), (FEATURES, ANSWERS + np.array([0.0, 1e-9]))],
    ids=["a value", "an answer"],
)
def test_other_rows_or_answers_are_measured_anew(
    version: ReplayedVersion, measured: list[str], features: pd.DataFrame, answers: pd.Series[float]
) -> None:
    version.measure_drift(FEATURES, ANSWERS)
    version.measure_drift(features, answers)

    assert len(measured) == 2


def test_an_estimate_is_of_these_rows(version: ReplayedVersion, measured: list[str]) -> None:
    version.estimate(_traffic(), FEATURES, past=None)
    version.estimate(_traffic(5), FEATURES, past=None)

    assert len(measured) == 2
