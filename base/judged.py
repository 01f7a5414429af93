"""What is found out about models on their way to serving: candidates, evaluation, verdict, promotion."""

from __future__ import annotations

import math
from typing import Literal

from base.artifacts import Artifact
from base.candidates import Candidates, WindowChoice
from base.references import Metric, Reference, Snapshot, TrainingData, Trigger, ValidatedData


class SliceMetrics(Reference):
    """The mean losses over the judged rows where *column* has *value*.

    A slice that was searched for (``found``) has a condition such as ``carrier = 'EV' and dep_hour > 17`` as its
    ``value`` and the columns that it looks at as its ``column``; half of the judged rows served to find it, and only
    the other half is measured.
    """

    column: str
    value: str
    n_rows: int
    metrics: dict[str, Metric]
    found: bool = False

    @property
    def name(self) -> str:
        """The slice in words.

        Examples
        --------
        >>> SliceMetrics(column="origin", value="JFK", n_rows=40, metrics={}).name
        'origin = JFK'
        """
        return self.value if self.found else f"{self.column} = {self.value}"


class FairnessMetrics(Reference):
    """One metric in each group of a column: ``value`` is the largest gap between two groups."""

    column: str
    metric: str
    value: Metric
    groups: dict[str, Metric]
    n_rows: dict[str, int] = {}
    champion_value: float | None = None
    champion_groups: dict[str, Metric] = {}


class Evaluation(Reference):
    """What a model, and beside it the champion and a trivial baseline, reached on the same unseen rows.

    ``losses`` is a Parquet file with one line for each judged row, in time order: the row losses ``challenger``,
    ``baseline`` and (beside a champion) ``champion``; ``target``, ``challenger_answer`` and ``champion_answer``, all
    three class codes of the challenger's classes (-1: a class that it does not know) or values; and a boolean column
    ``slice_<i>`` for each entry of ``slices``, true for the rows that were measured in it.

    ``intervals`` are bounds of the challenger's metrics, ``differences`` the challenger's metrics minus the champion's
    with bounds, both from the same resamples. Where the champion has learnt from all the rows, its own sibling, which
    has not, is scored in its place (``champion_stand_in``). ``baselines`` are further answers that need no model.

    ``importance`` holds by how much the loss rises when a feature is shuffled, and the standard deviation of that.
    ``missing`` names what was declared and could not be measured, with the reason.
    """

    n_rows: int
    metrics: dict[str, Metric]
    baseline: dict[str, Metric]
    champion: dict[str, Metric] | None
    champion_version: int | None
    n_seen_by_champion: int = 0
    slices: tuple[SliceMetrics, ...]
    losses: Artifact
    report: Artifact
    intervals: dict[str, tuple[Metric, Metric]] = {}
    differences: dict[str, tuple[Metric, Metric, Metric]] = {}
    fairness: tuple[FairnessMetrics, ...] = ()
    importance: dict[str, tuple[Metric, Metric]] = {}
    curves: Artifact | None = None
    missing: dict[str, str] = {}
    lower_is_better: dict[str, bool] = {}
    confidence: float = 0.95
    n_blocks: int = 0
    champion_stand_in: bool = False
    baselines: dict[str, dict[str, Metric]] = {}


class Check(Reference):
    """One question of the gate, with its answer and the figures behind it."""

    name: str
    passed: bool
    evidence: str
    figures: dict[str, Metric] = {}


class Servability(Reference):
    """What a packaged model did in a clean process: whether it answered its stored rows, how fast, and its size.

    ``p95_ms`` is the 95th percentile of the time that one row takes, in milliseconds, over ``n_timed_rows`` rows and of
    each its best of ``n_timed_passes``, since a busy machine only ever adds; ``size_mb`` is the sum of its files as
    they are stored, ``memory_mb`` the process's peak. ``error`` says why it does not serve.
    """

    error: str | None = None
    n_rows: int = 0
    p95_ms: Metric = math.nan
    size_mb: Metric = math.nan
    memory_mb: Metric = math.nan
    load_seconds: Metric = math.nan
    n_timed_rows: int = 0
    n_timed_passes: int = 0


class Trial(Reference):
    """What the recipe does once it knows some of the newest rows, beside the model that it is to beat.

    It was fitted with the older half of the newest rows too, on the ``window`` that was chosen for that, and judged on
    the newer half, ``n_rows`` that neither knows. ``loss`` and ``rival`` are the two mean losses; ``refits`` those of
    fits with other seeds, the recipe's own first. ``occasion`` is why it was made: the world has changed, or challenger
    and champion were one model, of which no row could tell anything.
    """

    window: WindowChoice
    n_rows: int
    loss: Metric
    rival: Metric
    interval: tuple[float, float] | None
    confidence: float
    refits: tuple[Metric, ...] = ()
    occasion: Literal["a changed world", "one model"] = "a changed world"

    @property
    def is_better(self) -> bool:
        """Whether the interval of the difference lies below zero."""
        return self.interval is not None and self.interval[1] < 0

    def __str__(self) -> str:
        bounds = "too few rows for an interval"
        if self.interval is not None:
            bounds = f"interval {self.interval[0]:+.4g} to {self.interval[1]:+.4g}"
        return (
            f"fitted with the older half of the newest rows, it loses {self.loss - self.rival:+.4g} on the "
            f"{self.n_rows:,} newer ones ({bounds})"
        )


class Verdict(Reference):
    """Whether the challenger may serve, and why, as data.

    ``effect`` is a share of the champion's mean loss. ``rows_to_tell`` is how many rows in all would show, at
    ``power``, a difference of the size seen, and ``rows_for_effect`` one of the declared effect; None where no number
    of rows would. ``refits`` are the mean losses of the recipe's fits with several seeds, the challenger's own first,
    and ``luck`` is the standard deviation of the difference that follows from them. ``trial`` was made where the rows
    could not tell and the world had changed; where it is better, so is the challenger.
    """

    outcome: Literal["first", "better", "worse", "cannot tell", "refused"]
    promote: bool
    reason: str
    loss: str
    difference: float | None
    interval: tuple[float, float] | None
    confidence: float
    n_rows: int
    n_blocks: int
    checks: tuple[Check, ...]
    champion_version: int | None
    champion_revision: int
    method: str = ""
    effect: float | None = None
    power: float | None = None
    luck: float | None = None
    refits: tuple[Metric, ...] = ()
    rows_to_tell: int | None = None
    rows_for_effect: int | None = None
    servability: Servability | None = None
    trial: Trial | None = None


class Refit(Reference):
    """What is to serve: its packaged manifest, whether it is the model that was judged, and the gate's last word.

    ``verdict`` is the gate's with what the packaged model did in a clean process. ``churn`` is the share of rows that
    the model fitted on all rows answers otherwise than the judged one (of values, their relative change).
    """

    manifest: Artifact
    deployed: Literal["full", "sibling"]
    reason: str
    verdict: Verdict
    churn: float | None = None


class Promotion(Reference):
    """The registered model version, whether the champion alias moved to it, or waits for people to agree."""

    model: str
    version: int
    promoted: bool
    environment: str
    revision: int
    manifest: Artifact
    waiting: bool = False


class Judged(Reference):
    """All that the steps before have found out about one model."""

    snapshot: Snapshot
    validated: ValidatedData
    data: TrainingData
    candidates: Candidates
    evaluation: Evaluation
    verdict: Verdict
    trigger: Trigger | None = None
