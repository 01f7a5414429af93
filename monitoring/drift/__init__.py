"""Drift: what is measured between a version's reference and a window of its traffic."""

from monitoring.drift.findings import ColumnFinding, DriftPage, DriftReport, Multivariate, Skew
from monitoring.drift.measurement import compare_labels, measure_drift
from monitoring.drift.profile import ReferenceProfile, make_profile, profile_reference, store_profile

__all__ = [
    "ColumnFinding",
    "DriftPage",
    "DriftReport",
    "Multivariate",
    "ReferenceProfile",
    "Skew",
    "compare_labels",
    "make_profile",
    "measure_drift",
    "profile_reference",
    "store_profile",
]
