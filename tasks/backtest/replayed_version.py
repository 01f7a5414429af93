"""A version as the monitors of several policies look at it: what one of them has measured, the others need not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from base.artifacts import ArtifactStore
from base.fingerprint import digest_document
from monitoring.drift import DriftPage
from monitoring.monitored_version import MonitoredVersion
from monitoring.performance import Estimate, EstimateScore
from registry.manifest import ModelManifest
from tasks.backtest.latest import Latest
from tasks.kept_fits import digest_rows

_MOST_WINDOWS = 24


class ReplayedVersion(MonitoredVersion):
    """Measures a window once, however many policies have this version serve it."""

    def __init__(
        self, number: int | None, manifest: ModelManifest, artifacts: ArtifactStore, *, trusted: Sequence[str] = ()
    ) -> None:
        super().__init__(number, manifest, artifacts, trusted=trusted)
        self._drifts = Latest[DriftPage](_MOST_WINDOWS)
        self._estimates = Latest[Estimate](_MOST_WINDOWS)

    def measure_drift(
        self, features: pd.DataFrame, predictions: pd.Series[Any], *, with_page: bool = False
    ) -> DriftPage:
        """Compare a window with the reference, or return what came of the same rows and answers before."""
        key = f"{digest_rows(features.assign(__answer__=predictions))} {with_page}"
        measure = super().measure_drift
        return self._drifts.take(key, lambda: measure(features, predictions, with_page=with_page))

    def estimate(self, traffic: pd.DataFrame, features: pd.DataFrame, *, past: EstimateScore | None) -> Estimate:
        """Estimate what a window loses, or return what came of the same rows, answers and past before."""
        told = None if past is None else past.model_dump(mode="json")
        answers = self.take_answers(traffic)
        key = digest_document([digest_rows(features.assign(__answer__=answers)), list(traffic["id"]), told])
        estimate = super().estimate
        return self._estimates.take(key, lambda: estimate(traffic, features, past=past))
