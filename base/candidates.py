"""What training tries and chooses: recipes, candidates, training windows and the race between them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from base.artifacts import Artifact
from base.references import Metric, Reference
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
    """The training window, why it is that one, and what each window of the race reached.

    ``since`` and ``until`` are when the oldest and the newest row happened that judged the race; None where there was
    none. ``is_held`` says that the race was an earlier training's.
    """

    window: TrainingWindow
    reason: str
    n_rows: int | None = None
    raced: tuple[RacedWindow, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    is_held: bool = False


class PastRace(Reference):
    """The race by which the champion's window was chosen, the recipe that ran it, and the features that it saw."""

    recipe: Recipe
    choice: WindowChoice
    features: tuple[str, ...] = ()

    def is_of(self, estimator: str, parameters: dict[str, Any], features: tuple[str, ...]) -> bool:
        """Tell whether a fit of these would have run the same race."""
        return (self.recipe.estimator, self.recipe.parameters, self.features) == (estimator, parameters, features)


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
