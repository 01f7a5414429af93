"""What the newest rows say of a recipe that has not learnt from them: one half teaches, the newer half judges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.errors import DefinitionError
from base.gate.paired_comparison import PairedComparison, compare_pairs
from base.judged import Candidates, Judged, Recipe, WindowChoice
from base.metrics import LOSS_NAMES, row_losses
from base.pipeline import PipelineSpec
from base.references import TrainingData
from base.train_spec import EstimatorSpec
from tasks.fit_jobs import Ground
from tasks.fits import Moments, check_answers, fit_recipe, predict, select_window
from tasks.folds import Fold, Timeline, measure_gap
from tasks.prepared_rows import TARGET
from tasks.windows import Race, race_windows

# How far the loss on the newest rows may lie above the usual before the training window is asked for again.
_RISE = 1.1
# Fewer rows tell nothing about a model that answers otherwise.
_FEWEST_TRIED = 30

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NewestRows:
    """All rows as the full model learns from them, the newest of which the judged model has not seen.

    Attributes
    ----------
    frame : DataFrame of shape (n_rows, n_features + 1)
        Prepared rows in the order of time, with the target.
    moments : array of shape (n_rows,), optional
        In microseconds.
    before : array of shape (n_newest,) or (n_newest, n_classes)
        The judged model's answers to the last of them.
    """

    judged: Judged
    spec: PipelineSpec
    data: TrainingData
    frame: pd.DataFrame
    moments: Moments | None
    before: Floats
    threads: int

    @property
    def n_newer(self) -> int:
        """How many rows judge: the newer half of those that the judged model has not seen."""
        return len(self.before) // 2

    @property
    def n_learnt(self) -> int:
        """How many of the oldest rows teach: those whose target was known when the newer half began."""
        middle = len(self.frame) - self.n_newer
        if self.moments is None:
            return middle
        return int(np.searchsorted(self.moments, self.moments[middle] - measure_gap(self.spec), side="left"))

    @property
    def can_be_tried(self) -> bool:
        """Whether a part of them can be kept apart: fitted features have learnt from all, groups span both halves."""
        same_classes = self.data.classes == self.judged.data.classes
        is_apart = not self.spec.prepare.fitted and not self.spec.prepare.split.groups
        return self.n_newer >= _FEWEST_TRIED and same_classes and is_apart

    def has_changed(self) -> bool:
        """Tell whether the judged model loses more on the newest rows than it does usually, or than no model would."""
        evaluation, name = self.judged.evaluation, LOSS_NAMES[self.spec.task]
        usual = _usual_loss(self.judged.candidates)
        limit = evaluation.baseline[name] if usual is None else _RISE * usual
        return evaluation.metrics[name] > limit

    def choose_window(self) -> WindowChoice:
        """Race training windows: learning from all rows but the newer half, judged on that."""
        recipe, n_rows = self.judged.candidates.recipe, len(self.frame)
        race = Race(
            spec=EstimatorSpec(estimator=recipe.estimator, parameters=recipe.parameters),
            ground=Ground(
                data=self.data, task=self.spec.task, seed=recipe.seed, threads=self.threads, folds=self.data.artifact
            ),
            frame=self.frame,
            fold=Fold(np.arange(self.n_learnt), np.arange(n_rows - self.n_newer, n_rows)),
            timeline=Timeline(moments=self.moments),
        )
        found = race_windows(race, champion=recipe.window)
        return found.model_copy(update={"n_rows": len(select_window(found.window, n_rows, self.moments))})

    def try_recipe(self, recipe: Recipe) -> PairedComparison | None:
        """Fit with the older half, and compare with the judged model on the newer half; None where that fails."""
        newer, n_learnt = self.frame.iloc[-self.n_newer :].reset_index(drop=True), self.n_learnt
        known = None if self.moments is None else self.moments[:n_learnt]
        n_classes = None if self.data.classes is None else len(self.data.classes)
        try:
            model = fit_recipe(recipe, self.data, self.frame.iloc[:n_learnt], moments=known, threads=self.threads)
            answers = predict(model, newer[list(self.data.features)], n_classes=n_classes)
            check_answers(answers, n_rows=len(newer), n_classes=n_classes)
        except DefinitionError:
            raise
        except Exception:
            return None
        target = newer[TARGET].to_numpy()
        gap = row_losses(self.spec.task, target, answers) - row_losses(
            self.spec.task, target, self.before[-self.n_newer :]
        )
        return compare_pairs(gap, confidence=self.spec.validate_model.confidence)

    def describe(self, found: PairedComparison) -> str:
        """Say what came of a trial."""
        return (
            f"fitted with the older half of the newest rows, it loses {found.difference:+.4g} on the {self.n_newer:,} "
            f"newer ones (interval {found.low:+.4g} to {found.high:+.4g})"
        )


def _usual_loss(candidates: Candidates) -> float | None:
    """What the recipe loses on rows that it has not learnt from, as its window's race or its comparison has found."""
    choice = candidates.window
    raced = {} if choice is None else {str(each.window): each.loss for each in choice.raced}
    won = None if choice is None else raced.get(str(choice.window))
    return candidates.candidates[candidates.chosen].validation_loss if won is None else won
