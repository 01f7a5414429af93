"""A model version as monitoring needs it: its reference, its profile and what was learnt from them, each made once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from base.artifacts import ArtifactStore
from features.fitted import load_states
from features.plan import build_features
from monitoring.alarms.quiet_history import QuietHistory
from monitoring.alarms.rehearsal import rehearse
from monitoring.drift import DriftPage, ReferenceProfile, measure_drift, profile_reference
from monitoring.performance import (
    Estimate,
    EstimateScore,
    Expectation,
    ReferenceRows,
    estimate_performance,
    learn_expectation,
    read_reference,
)
from registry.manifest import ModelManifest
from serving.log.frames import shown_name


class MonitoredVersion:
    """A version in service, against which windows of its traffic are held.

    Parameters
    ----------
    number : int
        Of the version.
    trusted : sequence of str
        Types that a fitted feature's state may hold; see :attr:`base.settings.Settings.trusted_types`.
    """

    def __init__(
        self, number: int | None, manifest: ModelManifest, artifacts: ArtifactStore, *, trusted: Sequence[str] = ()
    ) -> None:
        self.number = number
        self.manifest = manifest
        self.artifacts = artifacts
        self._trusted = trusted

    @cached_property
    def reference(self) -> ReferenceRows | None:
        """The judged rows that it keeps; None where they do not tell what was answered."""
        return read_reference(self.manifest, self.artifacts)

    @cached_property
    def profile(self) -> ReferenceProfile:
        """What windows are compared with."""
        return profile_reference(self.manifest, self.artifacts)

    @cached_property
    def rehearsed(self) -> QuietHistory:
        """What is usual from window to window before any has been seen."""
        return rehearse(self.profile)

    @cached_property
    def expectation(self) -> Expectation | None:
        """What the reference says of the loss of rows without labels."""
        return None if self.reference is None else learn_expectation(self.manifest, self.reference)

    @cached_property
    def _code(self) -> tuple[Any, Any]:
        code = self.manifest.load_code(self.artifacts)
        return code, load_states(self.artifacts, self.manifest.plan.states, code, trusted=self._trusted)

    def build_features(self, traffic: pd.DataFrame) -> pd.DataFrame:
        """Make of logged rows what the estimator saw; an input that the rows did not have is missing."""
        if traffic.empty:
            # User's code need not know what to do with no rows.
            return pd.DataFrame(columns=list(self.manifest.plan.features), index=traffic.index)
        code, fitted = self._code
        inputs: dict[str, Any] = {}
        for name in self.manifest.plan.inputs:
            shown = shown_name(name)
            there = shown in traffic.columns
            inputs[name] = traffic[shown] if there else pd.Series([None] * len(traffic), dtype=object)
        frame = pd.DataFrame(inputs)
        frame.index = traffic.index
        return build_features(frame, self.manifest.plan, code, fitted)

    def measure_drift(
        self, features: pd.DataFrame, predictions: pd.Series[Any], *, with_page: bool = False
    ) -> DriftPage:
        """Compare a window's features and answers with the reference's; see :func:`monitoring.drift.measure_drift`."""
        return measure_drift(self.profile, features, predictions=predictions, with_page=with_page)

    def estimate(self, traffic: pd.DataFrame, features: pd.DataFrame, *, past: EstimateScore | None) -> Estimate:
        """Estimate what a window loses; see :func:`monitoring.performance.estimate_performance`."""
        return estimate_performance(
            traffic, self.manifest, self.reference, features=features, expectation=self.expectation, past=past
        )

    def take_answers(self, traffic: pd.DataFrame) -> pd.Series[Any]:
        """Take what was answered as the reference holds it: the value, or the probability of the last class."""
        n_classes = len(self.manifest.classes or ())
        if n_classes < 3:
            return traffic["prediction"]
        if "probabilities" not in traffic:
            return pd.Series(np.nan, index=traffic.index)
        # Another version may have known other classes.
        return traffic["probabilities"].map(
            lambda row: row[-1] if isinstance(row, list | np.ndarray) and len(row) == n_classes else np.nan
        )
