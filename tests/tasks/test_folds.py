"""Folds in time: nothing is judged by what was learnt from, or learnt before it was known."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from base.artifacts import Artifact
from base.references import Part, TrainingData
from base.train_spec import TrainingWindow
from registry.store import Registry
from tasks.folds import Fold, Timeline, load_folds, make_folds, store_folds


def make_data(n_rows: int, *, has_trial: bool = False) -> TrainingData:
    """Describe rows of which the last fifth is validated on."""
    artifact = Artifact(digest="ab12", size_bytes=1)
    start = n_rows * 4 // 5
    return TrainingData(
        artifact=artifact,
        train=Part(start=0, stop=start),
        validation=Part(start=start, stop=n_rows),
        test=Part(start=n_rows, stop=n_rows + 10),
        trial=artifact if has_trial else None,
        inputs={},
        numeric=("x",),
        categorical=(),
        left_out={},
        classes=None,
        first=None,
        learnt_until=None,
        watermark=None,
    )


@given(
    n_rows=st.integers(100, 400),
    n_folds=st.integers(1, 6),
    gap=st.integers(0, 20),
    n_groups=st.integers(0, 60),
    seed=st.integers(0, 99),
)
def test_a_fold_learns_from_the_known_past_of_other_groups(
    n_rows: int, n_folds: int, gap: int, n_groups: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    moments = np.sort(draw.integers(0, n_rows, n_rows))
    groups = draw.integers(0, n_groups, n_rows) if n_groups else None

    folds = make_folds(make_data(n_rows), Timeline(moments, groups, gap), n_folds)

    assert 1 <= len(folds) <= n_folds
    for older, newer in pairwise(folds):
        assert older.judged.max() < newer.judged.min()
    for fold in folds[:-1]:
        begins = moments[fold.judged].min()
        assert np.all(moments[fold.learnt] <= begins - gap)
        assert np.all(moments[fold.learnt] < begins)
        if groups is not None:
            assert not set(groups[fold.learnt]) & set(groups[fold.judged])


def test_the_last_fold_is_the_split_itself() -> None:
    (fold,) = make_folds(make_data(100), Timeline(), 1)

    assert (fold.learnt.tolist(), fold.judged.tolist()) == (list(range(80)), list(range(80, 100)))


def test_fitted_features_leave_one_fold() -> None:
    assert len(make_folds(make_data(1_000), Timeline(), 3)) == 3
    assert len(make_folds(make_data(1_000, has_trial=True), Timeline(), 3)) == 1


def test_a_window_keeps_the_newest_rows_of_each_fold() -> None:
    folds = make_folds(make_data(1_000), Timeline(np.arange(1_000)), 3, window=TrainingWindow(rows=100))

    assert [len(fold.learnt) for fold in folds] == [100, 100, 100]
    assert [int(fold.learnt[-1]) for fold in folds] == [399, 599, 799]


def test_folds_are_read_as_they_were_stored(registry: Registry, tmp_path: Path) -> None:
    folds = [Fold(np.arange(5), np.arange(5, 8)), Fold(np.arange(8), np.arange(8, 9))]

    read = load_folds(store_folds(folds, registry.artifacts), registry.artifacts)

    assert [(each.learnt.tolist(), each.judged.tolist()) for each in read] == [
        (each.learnt.tolist(), each.judged.tolist()) for each in folds
    ]
