"""Performance: what served predictions were worth on matured labels, and what they may be worth before those come."""

from __future__ import annotations

from base.class_codes import encode_labels
from monitoring.performance.estimates import Estimate, estimate_performance, explain_trust
from monitoring.performance.expectation import Expectation, learn_expectation
from monitoring.performance.measured import PerformanceReport, SlicePerformance, is_comparable, measure_performance
from monitoring.performance.reference import ReferenceRows, read_answers, read_reference
from monitoring.performance.scores import EstimateScore, ScoredEstimate, pair_with_truth, score_estimates

__all__ = [
    "Estimate",
    "EstimateScore",
    "Expectation",
    "PerformanceReport",
    "ReferenceRows",
    "ScoredEstimate",
    "SlicePerformance",
    "encode_labels",
    "estimate_performance",
    "explain_trust",
    "is_comparable",
    "learn_expectation",
    "measure_performance",
    "pair_with_truth",
    "read_answers",
    "read_reference",
    "score_estimates",
]
