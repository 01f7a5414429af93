"""The luck of the seed: a recipe fitted again with other seeds, on the same rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from base.candidates import Recipe
from base.metrics import Task, row_losses
from base.references import TrainingData
from base.train_spec import EstimatorSpec
from tasks.fits import Moments, check_answers, fit_rows, predict, select_window
from tasks.kept_fits import ask_fit, name_question
from tasks.prepared_rows import TARGET

_log = logging.getLogger(__name__)
_LARGEST_SEED = 2**32


def refit_with_other_seeds(
    recipe: Recipe,
    data: TrainingData,
    learnt: pd.DataFrame,
    judged: pd.DataFrame,
    *,
    n_fits: int,
    task: Task,
    moments: Moments | None = None,
    threads: int = 1,
) -> Iterator[float]:
    """Fit a recipe with other seeds, and yield each fit's mean loss on the judged rows.

    One that fails is left out: the recipe itself has not.

    Parameters
    ----------
    learnt, judged : DataFrame of shape (…, n_features + 1)
        Prepared rows with the target.
    moments : array of shape (n_learnt,), optional
        As :func:`tasks.fits.fit_recipe` takes them.
    """
    from threadpoolctl import threadpool_limits

    n_classes = None if data.classes is None else len(data.classes)
    spec = EstimatorSpec(estimator=recipe.estimator, parameters=recipe.parameters)
    kept = learnt.iloc[select_window(recipe.window, len(learnt), moments)]

    def lose(seed: int) -> list[float]:
        with threadpool_limits(threads):
            model = fit_rows(spec, data, kept, seed=seed)
        answers = predict(model, judged[list(data.features)], n_classes=n_classes)
        check_answers(answers, n_rows=len(judged), n_classes=n_classes)
        return [float(row_losses(task, judged[TARGET].to_numpy(), answers).mean())]

    question = name_question("mean loss", judged)
    for seed in other_seeds(recipe, n_fits):
        try:
            (loss,) = ask_fit(spec, data, kept, seed=seed, question=question, ask=partial(lose, seed))
        except Exception:
            _log.warning("the recipe could not be fitted with seed %s, by which its luck is told", seed, exc_info=True)
            continue
        yield loss


def tell_luck(own: float, losses: Iterator[float]) -> tuple[float, ...]:
    """Collect the losses of fits with other seeds after the recipe's own; empty where the seed changes nothing.

    Examples
    --------
    >>> tell_luck(0.5, iter([0.4, 0.6])), tell_luck(0.5, iter([0.5, 0.4])), tell_luck(0.5, iter([]))
    ((0.5, 0.4, 0.6), (), (0.5,))
    """
    found = [own]
    for loss in losses:
        if loss == own:
            return ()
        found.append(loss)
    return tuple(found)


def other_seeds(recipe: Recipe, n_seeds: int) -> list[int]:
    """Draw seeds beside a recipe's own; the same ones each time.

    Examples
    --------
    >>> seeds = other_seeds(Recipe(estimator="x.Y", parameters={}, seed=7), 3)
    >>> len({7, *seeds})
    4
    """
    draw = np.random.default_rng(recipe.seed)
    found: list[int] = []
    while len(found) < n_seeds:
        seed = int(draw.integers(_LARGEST_SEED))
        if seed not in (recipe.seed, *found):
            found.append(seed)
    return found
