"""What the newest rows say of a recipe that has not learnt from them: one half teaches, the newer half judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.candidates import Candidates, Recipe, WindowChoice
from base.errors import DefinitionError
from base.gate.paired_comparison import compare_pairs
from base.judged import Trial
from base.metrics import row_losses
from base.pipeline import PipelineSpec
from base.references import TrainingData
from base.train_spec import EstimatorSpec
from tasks.fit_jobs import Ground
from tasks.fits import Moments, check_answers, fit_recipe, predict, select_window
from tasks.folds import Fold, Timeline
from tasks.luck import refit_with_other_seeds, tell_luck
from tasks.prepared_rows import TARGET
from tasks.splits import measure_gap
from tasks.windows import Race, race_windows

# How far the loss on the newest rows may lie above the usual before the training window is asked for again.
_RISE = 1.1
# Fewer rows tell nothing about a model that answers otherwise.
_FEWEST_TRIED = 30

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NewestRows:
    """All rows that are there, the newest of which the judged model has not seen.

    Attributes
    ----------
    baseline : float
        Mean loss on the newest rows of who knows no features.
    data : TrainingData
        The rows as they are to be learnt from.
    same_classes : bool
        Whether its classes are those of the judged model.
    frame : DataFrame of shape (n_rows, n_features + 1)
        Prepared rows in the order of time, with the target.
    moments : array of shape (n_rows,), optional
        In microseconds.
    own, rival : array of shape (n_newest,)
        The judged model's losses on the last of the rows, and those of the model that is to be beaten.
    """

    candidates: Candidates
    baseline: float
    spec: PipelineSpec
    data: TrainingData
    frame: pd.DataFrame
    moments: Moments | None
    own: Floats
    rival: Floats
    threads: int
    same_classes: bool = True

    @property
    def n_newer(self) -> int:
        """How many rows judge: the newer half of those that the judged model has not seen."""
        return len(self.own) // 2

    @property
    def n_learnt(self) -> int:
        """How many of the oldest rows teach: those whose target was known when the newer half began."""
        middle = len(self.frame) - self.n_newer
        if self.moments is None:
            return middle
        gap = measure_gap(self.spec)
        # A row one gap before is known just as the newer half begins; rows of its own moment are not.
        side: Literal["left", "right"] = "right" if gap else "left"
        return int(np.searchsorted(self.moments, self.moments[middle] - gap, side=side))

    @property
    def can_be_tried(self) -> bool:
        """Whether a part of them can be kept apart and learnt from.

        Fitted features have learnt from all, groups span both halves, and where labels come late no target of the
        older half may have been known when the newer one began.
        """
        is_apart = not self.spec.prepare.fitted and not self.spec.prepare.split.groups
        has_enough = self.n_newer >= _FEWEST_TRIED and self.n_learnt > len(self.frame) - len(self.own)
        return has_enough and self.same_classes and is_apart

    def has_changed(self) -> bool:
        """Tell whether the judged model loses more on the newest rows than it does usually, and not by their chance.

        Where nothing tells what is usual, it has to lose more than who knows no features.
        """
        usual = _usual_loss(self.candidates)
        if usual is None:
            return float(self.own.mean()) > self.baseline
        above = compare_pairs(self.own - usual, confidence=self.spec.validate_model.confidence)
        return above.low > 0 and above.difference > (_RISE - 1) * usual

    def is_same_model(self) -> bool:
        """Tell whether the judged model gives the rival's answers: the same recipe has learnt from the same rows."""
        return bool(np.array_equal(self.own, self.rival))

    def choose_window(self) -> WindowChoice:
        """Race training windows, one of them as long as the newest rows: learning from all but the newer half."""
        recipe, n_rows = self.candidates.recipe, len(self.frame)
        if self.spec.train.window is not None:
            return WindowChoice(window=recipe.window, reason="the definition's")
        race = Race(
            spec=EstimatorSpec(estimator=recipe.estimator, parameters=recipe.parameters),
            ground=Ground(
                data=self.data, task=self.spec.task, seed=recipe.seed, threads=self.threads, folds=self.data.artifact
            ),
            frame=self.frame,
            fold=Fold(np.arange(self.n_learnt), np.arange(n_rows - self.n_newer, n_rows)),
            timeline=Timeline(moments=self.moments),
        )
        found = race_windows(race, champion=recipe.window, has_few=True, n_newest=len(self.own))
        return found.model_copy(update={"n_rows": len(select_window(found.window, n_rows, self.moments))})

    def try_window(self, choice: WindowChoice) -> Trial | None:
        """Fit the recipe on a window that ends with the older half, and compare it on the newer half.

        The confidence that is asked for grows with the number of windows that the choice was made among (Bonferroni),
        and a recipe that wins has to win beyond the luck of its seed.

        Returns
        -------
        Trial, or None where the fit fails
        """
        recipe = self.candidates.recipe.model_copy(update={"window": choice.window})
        newer, n_learnt = self.frame.iloc[-self.n_newer :].reset_index(drop=True), self.n_learnt
        learnt, known = self.frame.iloc[:n_learnt], None if self.moments is None else self.moments[:n_learnt]
        own = self._lose(recipe, learnt, known, newer)
        if own is None:
            return None
        rival = self.rival[-self.n_newer :]
        gate = self.spec.validate_model
        confidence = 1 - (1 - gate.confidence) / max(1, len(choice.raced))
        found = compare_pairs(own - rival, confidence=confidence)
        refits: tuple[float, ...] = ()
        if found.high < 0 and gate.refits:
            others = refit_with_other_seeds(
                recipe,
                self.data,
                learnt,
                newer,
                n_fits=gate.refits,
                task=self.spec.task,
                moments=known,
                threads=self.threads,
            )
            refits = tell_luck(float(own.mean()), others)
            found = compare_pairs(own - rival, confidence=confidence, refits=refits)
        return Trial(
            window=choice,
            n_rows=self.n_newer,
            loss=float(own.mean()),
            rival=float(rival.mean()),
            interval=found.interval,
            confidence=confidence,
            refits=refits,
        )

    def _lose(self, recipe: Recipe, learnt: pd.DataFrame, known: Moments | None, judged: pd.DataFrame) -> Floats | None:
        """Return a fit's row losses; None where it fails."""
        n_classes = None if self.data.classes is None else len(self.data.classes)
        try:
            model = fit_recipe(recipe, self.data, learnt, moments=known, threads=self.threads)
            answers = predict(model, judged[list(self.data.features)], n_classes=n_classes)
            check_answers(answers, n_rows=len(judged), n_classes=n_classes)
        except DefinitionError:
            raise
        except Exception:
            return None
        return row_losses(self.spec.task, judged[TARGET].to_numpy(), answers)


def _usual_loss(candidates: Candidates) -> float | None:
    """What the recipe loses on rows that it has not learnt from, as its window's race or its comparison has found."""
    choice = candidates.window
    raced = {} if choice is None else {str(each.window): each.loss for each in choice.raced}
    won = None if choice is None else raced.get(str(choice.window))
    return candidates.candidates[candidates.chosen].validation_loss if won is None else won
