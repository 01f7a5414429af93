"""Any other model explained by sampled permutations (Štrumbelj & Kononenko, 2014)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from serving.explanations.trees import Floats

MOST_SAMPLES = 400
"""Permutations of a row beyond which the errors shrink too slowly to be worth the time."""

FEWEST_SAMPLES = 10
"""Permutations below which a standard error says nothing."""

# Rows of one question to the model: fewer would pay its fixed costs too often, more would overrun the time.
_MOST_ASKED = 4096


@dataclass(frozen=True)
class Sampled:
    """Contributions of one row, with the standard error of each and how many permutations gave them.

    ``contributions`` and ``errors`` have the shape (n_players, n_outputs), ``base`` (n_outputs,).
    """

    contributions: Floats
    errors: Floats
    base: Floats
    n_samples: int


def explain_by_sampling(
    row: pd.DataFrame,
    reference: pd.DataFrame,
    ask: Callable[[pd.DataFrame], Floats],
    *,
    draw: np.random.Generator,
    is_over: Callable[[], bool],
    most_samples: int = MOST_SAMPLES,
) -> Sampled | None:
    """Estimate the Shapley values of one row's features.

    In each sample a row of the reference turns into the explained one, feature after feature in a drawn order; what a
    feature changes in the margin is its contribution. Each order is used forwards and backwards with the same row,
    which takes most of the variance out. A pair is one observation for the standard error.

    Parameters
    ----------
    row : DataFrame of shape (1, n_features)
    reference : DataFrame of shape (n_reference, n_features)
        What is not known of a row is drawn from here.
    ask : callable
        Gives the margins of rows, of shape (n_rows, n_outputs).
    is_over : callable
        Tells, between two questions to the model, whether there is time for no more.

    Returns
    -------
    Sampled or None
        None where time was over before :data:`FEWEST_SAMPLES` were drawn. The contributions and ``base``, the mean
        margin of the drawn reference rows, add up to the row's margin exactly.
    """
    n_features = row.shape[1]
    pairs_at_once = max(1, _MOST_ASKED // (2 * (n_features + 1)))
    found: list[Floats] = []
    bases: list[Floats] = []
    n_pairs, most_pairs = 0, max(1, most_samples // 2)
    while n_pairs < most_pairs:
        if n_pairs and is_over():
            break
        count = min(pairs_at_once, most_pairs - n_pairs)
        changes, base = _sample(row, reference, ask, count, draw)
        found.append(changes)
        bases.append(base)
        n_pairs += count
    if 2 * n_pairs < min(FEWEST_SAMPLES, most_samples):
        return None
    each = np.concatenate(found)
    errors = each.std(axis=0, ddof=1) / np.sqrt(n_pairs) if n_pairs > 1 else np.full(each.shape[1:], np.nan)
    return Sampled(each.mean(axis=0), errors, np.concatenate(bases).mean(axis=0), 2 * n_pairs)


def _sample(
    row: pd.DataFrame,
    reference: pd.DataFrame,
    ask: Callable[[pd.DataFrame], Floats],
    n_pairs: int,
    draw: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Return what each feature changed in each pair, (n_pairs, n_features, n_outputs), and the bases of the pairs."""
    n_features = row.shape[1]
    forward = np.array([draw.permutation(n_features) for _ in range(n_pairs)])
    orders = np.concatenate([forward, forward[:, ::-1]])
    drawn = np.tile(draw.integers(len(reference), size=n_pairs), 2)
    ranks = np.argsort(orders, axis=1)
    # Row s of a walk has the features whose rank is below s from the explained row.
    is_own = ranks[:, np.newaxis, :] < np.arange(n_features + 1)[np.newaxis, :, np.newaxis]
    flat = is_own.reshape(-1, n_features)
    walked = reference.iloc[np.repeat(drawn, n_features + 1)].reset_index(drop=True)
    columns = {
        name: walked[name].mask(flat[:, at], row[name].iloc[0]).astype(walked[name].dtype)
        for at, name in enumerate(walked.columns)
    }
    margins = ask(pd.DataFrame(columns))
    walks = margins.reshape(2 * n_pairs, n_features + 1, -1)
    steps = np.diff(walks, axis=1)
    by_feature = np.take_along_axis(steps, ranks[:, :, np.newaxis], axis=1)
    return (by_feature[:n_pairs] + by_feature[n_pairs:]) / 2, walks[:n_pairs, 0]
