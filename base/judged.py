"""What is found out about models on their way to serving: candidates, evaluation, verdict, promotion."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from base.artifacts import Artifact
from base.references import Metric, Reference, Snapshot, TrainingData, Trigger, ValidatedData
from base.train_spec import TrainingWindow


class Recipe(Reference):
    """All that a fit depends on beside the rows: the same recipe on the same rows gives the same model."""

    estimator: str
    parameters: dict[str, Any]
    window: TrainingWindow = TrainingWindow()
    seed: int = 0


class Curve(Reference):
    """How the validation loss went while more was given: iterations of one fit, or shares of rows, rung by rung."""

    over: Literal["iterations", "shares"]
    steps: tuple[float, ...]
    losses: tuple[Metric, ...]


class Candidate(Reference):
    """One estimator with its parameters, and what it reached on rows that it had not learnt from.

    ``fold_losses`` are in the order of time, the newest last; ``validation_loss`` is their mean. ``n_rows`` is how
    many rows its last fit learnt from, ``share`` how much of the rows or iterations that was (less than 1: it was
    outdone on the way), ``origin`` where its parameters came from.
    """

    estimator: str
    parameters: dict[str, Any]
    validation_loss: float | None = None
    fit_seconds: float = 0.0
    error: str | None = None
    fold_losses: tuple[float, ...] = ()
    metrics: dict[str, Metric] = Field({})
    curves: tuple[Curve, ...] = ()
    n_fits: int = 0
    n_rows: int | None = None
    share: float = 1.0
    origin: Literal["declared", "drawn", "champion"] = "declared"


class RacedWindow(Reference):
    """What a window reached in the race: the mean loss on each held-out block, the newest last."""

    window: TrainingWindow
    n_rows: int
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str | None = None

    @property
    def loss(self) -> float | None:
        """The mean over the blocks."""
        return sum(self.losses) / len(self.losses) if self.losses else None


class WindowChoice(Reference):
    """The training window, why it is that one, and what each window of the race reached."""

    window: TrainingWindow
    reason: str
    n_rows: int | None = None
    raced: tuple[RacedWindow, ...] = ()


class Candidates(Reference):
    """All fits of a run, and the model of the best, fitted on its window of the train and validation rows."""

    candidates: tuple[Candidate, ...]
    chosen: int
    model: Artifact
    seed: int
    window: WindowChoice | None = None
    folds: str = ""

    @property
    def recipe(self) -> Recipe:
        """What the model was made by."""
        candidate = self.candidates[self.chosen]
        return Recipe(
            estimator=candidate.estimator,
            parameters=candidate.parameters,
            window=TrainingWindow() if self.window is None else self.window.window,
            seed=self.seed,
        )


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


class Verdict(Reference):
    """Whether the challenger may serve, and why, as data.

    ``effect`` is a share of the champion's mean loss. ``rows_to_tell`` is how many rows in all would show, at
    ``power``, a difference of the size seen, and ``rows_for_effect`` one of the declared effect; None where no number
    of rows would. ``refits`` are the mean losses of the recipe's fits with several seeds, the challenger's own first,
    and ``luck`` is the standard deviation of the difference that follows from them.
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
