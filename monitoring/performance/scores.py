"""How earlier estimates turned out once the labels came: what the next one may claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from monitoring.performance.estimates import Estimate

_FEWEST_TO_WIDEN = 5
# A chance of one in twenty to distrust estimates whose intervals do cover as often as they claim.
_DOUBT = 0.05
_MOST_WIDENED = 4.0


class ScoredEstimate(BaseModel):
    """An estimate beside what was measured on the same window once its labels had matured."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    truth: float
    widened: float = 1.0

    @property
    def is_covered(self) -> bool:
        """Whether the truth lies within the interval."""
        return self.low <= self.truth <= self.high


class EstimateScore(BaseModel):
    """How past estimates turned out.

    ``coverage`` is the share of windows whose truth lay within the interval, ``bias`` the mean of estimate minus truth
    and ``mean_error`` that of its size, both in the metric's unit. ``widening`` is the factor by which the next
    interval is stretched. ``reason`` says why estimates are not trusted any more; None while they are.
    """

    model_config = ConfigDict(frozen=True)

    n_windows: int
    coverage: float | None = None
    bias: float | None = None
    mean_error: float | None = None
    widening: float = 1.0
    reason: str | None = None

    @property
    def is_proven(self) -> bool:
        """Whether estimates have turned out right often enough to be trusted whatever the rows look like."""
        return self.n_windows >= _FEWEST_TO_WIDEN and self.reason is None


def pair_with_truth(estimate: Estimate, truth: float) -> ScoredEstimate | None:
    """Put an estimate beside the truth; None where one of the two is not known."""
    if estimate.interval is None or math.isnan(estimate.value) or math.isnan(truth):
        return None
    low, high = estimate.interval
    return ScoredEstimate(value=estimate.value, low=low, high=high, truth=truth, widened=estimate.widened)


def score_estimates(past: Sequence[ScoredEstimate], *, confidence: float = 0.95) -> EstimateScore:
    """Score past estimates of one version by what turned out.

    With five windows or more, the next interval is stretched so far that it would have covered as many of them as it
    claims (split conformal prediction; Vovk, Gammerman & Shafer 2005), though never more than fourfold: an estimate
    that would need more is wrong. It is not trusted either where so few windows were covered that an honest interval
    would do so badly less than once in twenty histories.

    Examples
    --------
    >>> good = ScoredEstimate(value=0.5, low=0.4, high=0.6, truth=0.55)
    >>> score_estimates([good] * 6).reason is None
    True
    >>> score_estimates([good.model_copy(update={"truth": 0.9})] * 3).reason
    '3 of 3 past windows turned out outside their interval (mean error 0.4)'
    """
    from scipy.stats import binom

    if not past:
        return EstimateScore(n_windows=0)
    errors = np.array([one.value - one.truth for one in past])
    n_covered = sum(one.is_covered for one in past)
    n_windows = len(past)
    mean_error = float(np.abs(errors).mean())
    ratios = sorted(_needed_stretch(one) for one in past)
    place = min(math.ceil((n_windows + 1) * confidence), n_windows) - 1
    needed = ratios[place] if n_windows >= _FEWEST_TO_WIDEN else 1.0
    reason = None
    if n_covered < n_windows and (
        float(binom.cdf(n_covered, n_windows, confidence)) < _DOUBT or needed > _MOST_WIDENED
    ):
        reason = (
            f"{n_windows - n_covered} of {n_windows} past windows turned out outside their interval "
            f"(mean error {mean_error:.4g})"
        )
    return EstimateScore(
        n_windows=n_windows,
        coverage=n_covered / n_windows,
        bias=float(errors.mean()),
        mean_error=mean_error,
        widening=min(max(needed, 1.0), _MOST_WIDENED),
        reason=reason,
    )


def _needed_stretch(one: ScoredEstimate) -> float:
    """Return by what factor the interval, before it was widened, would have had to be wider to reach the truth."""
    half = (one.high - one.value if one.truth > one.value else one.value - one.low) / one.widened
    gap = abs(one.truth - one.value)
    if gap == 0:
        return 0.0
    return gap / half if half > 0 else math.inf
