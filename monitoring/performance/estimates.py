"""Estimates of performance while labels are still to come: a value, an interval, and whether to trust them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from base.metrics import LOSS_NAMES
from base.references import Metric
from monitoring.performance.expectation import Expectation, learn_expectation
from monitoring.performance.reference import ReferenceRows, is_answer_of, read_answers
from monitoring.performance.scores import EstimateScore
from monitoring.performance.support import Support, measure_support
from registry.manifest import ModelManifest

Floats = npt.NDArray[np.float64]

FEWEST_REFERENCE_ROWS = 300
FEWEST_ROWS = 30
MOST_OUTSIDE = 0.1
"""Of the window's rows, outside the reference."""
MOST_SEPARABLE = 0.9
"""Area under the ROC curve of a classifier that tells window and reference apart."""
WIDEST = 0.5
"""Half of the interval, as a share of the estimate: beyond it nothing is said."""


class Estimate(BaseModel):
    """What a window's predictions are expected to be worth, without a label of it.

    ``value`` is the metric *metric* (the gate's loss), ``interval`` bounds what it will turn out to be on these rows;
    ``values`` and ``intervals`` hold the other metrics too. ``reference`` is the metric, measured on the reference.
    ``why_not`` says, for each reason, why it is not trusted. ``widened`` is by what factor the interval was stretched
    because past ones were too narrow.
    """

    model_config = ConfigDict(frozen=True)

    metric: str
    value: Metric = math.nan
    interval: tuple[Metric, Metric] | None = None
    is_trusted: bool = False
    why_not: tuple[str, ...] = ()
    n_rows: int = 0
    n_reference: int = 0
    reference: Metric = math.nan
    values: dict[str, Metric] = {}
    intervals: dict[str, tuple[Metric, Metric]] = {}
    outside: Metric = math.nan
    separability: Metric = math.nan
    widened: float = 1.0
    confidence: float = 0.95

    @property
    def increase(self) -> float | None:
        """By how much the loss is expected to be above the reference's, relative to it; None where it is unknown."""
        if math.isnan(self.value) or math.isnan(self.reference) or self.reference <= 0:
            return None
        return self.value / self.reference - 1


def estimate_performance(
    window: pd.DataFrame,
    manifest: ModelManifest,
    reference: ReferenceRows | None,
    *,
    features: pd.DataFrame,
    expectation: Expectation | None = None,
    past: EstimateScore | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the metrics of served rows before their labels come.

    Classes: by the model's own probabilities, calibrated on the reference. Values: by a model of the reference's
    errors. On the reference itself both are fitted without a fifth of the rows at a time and held against the truth
    there; what they were off by, over blocks of time, is what makes the interval. Neither can see that the same rows
    have come to mean something else (concept drift): an early warning, and never a reason to train by itself.

    Parameters
    ----------
    window : DataFrame
        Served rows, as :func:`serving.log.traffic.read_traffic` gives them.
    reference : ReferenceRows or None
        The version's own, by :func:`monitoring.performance.reference.read_reference`.
    features : DataFrame of shape (n_rows, n_features)
        The same rows as the estimator sees them.
    expectation : Expectation, optional
        What :func:`learn_expectation` made of this reference, where many windows are estimated; default: made now.
    past : EstimateScore, optional
        How earlier estimates turned out: it widens the interval, or ends the trust.
    """
    metric = LOSS_NAMES[manifest.task]
    is_comparable = is_answer_of(window, manifest.classes).to_numpy(dtype=bool)
    window = window[is_comparable]
    features = features[is_comparable]
    n_rows = len(window)
    if reference is None:
        return Estimate(metric=metric, n_rows=n_rows, why_not=("the reference does not tell target and answers",))
    n_reference = len(reference.features)
    few = _too_few(n_rows, n_reference)
    if few:
        return Estimate(metric=metric, n_rows=n_rows, n_reference=n_reference, why_not=few)
    answers = read_answers(window, manifest.classes)
    known = learn_expectation(manifest, reference) if expectation is None else expectation
    widened = 1.0 if past is None else past.widening
    values, intervals = {}, {}
    for name, rows in known.expect(features, answers).items():
        value = float(rows.mean())
        half = widened * known.half_width(name, n_rows, confidence=confidence)
        shown, told, bounds = _in_its_unit(name, value, value - half, value + half)
        values[shown], intervals[shown] = told, bounds
    support = measure_support(known.codes, reference.features, _points(reference.answers), features, _points(answers))
    value, interval = values[metric], intervals[metric]
    why_not = _reasons_against(value, interval, support, past)
    return Estimate(
        metric=metric,
        value=value,
        interval=interval,
        is_trusted=not why_not,
        why_not=why_not,
        n_rows=n_rows,
        n_reference=n_reference,
        reference=float(reference.losses.mean()),
        values=values,
        intervals=intervals,
        outside=support.outside,
        separability=support.separability,
        widened=widened,
        confidence=confidence,
    )


def _too_few(n_rows: int, n_reference: int) -> tuple[str, ...]:
    found = []
    if n_reference < FEWEST_REFERENCE_ROWS:
        found.append(f"the reference has {n_reference:,} rows, expected at least {FEWEST_REFERENCE_ROWS:,}")
    if n_rows < FEWEST_ROWS:
        found.append(f"the window has {n_rows:,} rows, expected at least {FEWEST_ROWS:,}")
    return tuple(found)


def _reasons_against(
    value: float, interval: tuple[float, float], support: Support, past: EstimateScore | None
) -> tuple[str, ...]:
    found = []
    # A year or a running number sets every window apart, and harms no estimate: where enough of them have turned out
    # right, that tells more than how the rows look.
    is_proven = past is not None and past.is_proven
    if support.outside > MOST_OUTSIDE and not is_proven:
        found.append(f"{support.outside:.0%} of the rows lie outside the reference, at most {MOST_OUTSIDE:.0%} may")
    if support.separability > MOST_SEPARABLE and not is_proven:
        found.append(
            f"a classifier tells the window from the reference with an AUC of {support.separability:.2f}, "
            f"at most {MOST_SEPARABLE:g} may"
        )
    if interval[1] - interval[0] > 2 * WIDEST * abs(value):
        found.append(f"the interval is {interval[0]:.4g} to {interval[1]:.4g}, too wide to say anything")
    if past is not None and past.reason is not None:
        found.append(past.reason)
    return tuple(found)


def _in_its_unit(name: str, value: float, low: float, high: float) -> tuple[str, float, tuple[float, float]]:
    """Cut the interval to what the metric can be; the mean squared error becomes its root."""
    if name == "mse":
        return "rmse", math.sqrt(value), (math.sqrt(max(low, 0.0)), math.sqrt(high))
    highest = 1.0 if name == "accuracy" else math.inf
    return name, value, (max(low, 0.0), min(high, highest))


def _points(answers: Floats) -> Floats:
    return answers if answers.ndim == 1 else answers[:, -1]


def explain_trust(estimate: Estimate) -> str:
    """Say the estimate in one line, with the reasons against it.

    Examples
    --------
    >>> explain_trust(Estimate(metric="mae", value=12.0, interval=(10.0, 14.0), is_trusted=True))
    'mae 12.0000 expected (10.0000 to 14.0000), before labels'
    >>> explain_trust(Estimate(metric="mae", why_not=("the window has 3 rows, expected at least 30",)))
    'mae cannot be told before labels: the window has 3 rows, expected at least 30'
    """
    if estimate.interval is None:
        return f"{estimate.metric} cannot be told before labels: {'; '.join(estimate.why_not)}"
    low, high = estimate.interval
    told = f"{estimate.metric} {estimate.value:.4f} expected ({low:.4f} to {high:.4f}), before labels"
    return told if estimate.is_trusted else f"{told}; not trusted: {'; '.join(estimate.why_not)}"
