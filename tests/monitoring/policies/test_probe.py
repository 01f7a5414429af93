"""The probe learns what is there to learn, is the same for the same rows, and its price stays within bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import ArgumentError
from base.metrics import Task
from monitoring.policies.loss_units import full_loss, unit_losses
from monitoring.policies.prices import CHEAPEST, DEAREST, estimate_price
from monitoring.policies.probe import Probe, compare_probes, fit_probe, probe_key
from tests.monitoring.performance.rows import Kind, draw_rows


def _fit(kind: Kind, n_rows: int, *, seed: int = 0) -> Probe:
    rows = draw_rows(kind, n_rows, seed=1)
    classes: dict[Kind, int | None] = {"two classes": 2, "three classes": 3, "regression": None}
    return fit_probe(
        rows.features,
        rows.target,
        n_classes=classes[kind],
        numeric=("size", "age"),
        categorical=("city",),
        seed=seed,
    )


@pytest.mark.parametrize("kind", ["two classes", "regression"])
def test_a_probe_is_better_than_no_model_and_the_same_for_the_same_rows(kind: Kind) -> None:
    new = draw_rows(kind, 800, seed=2)
    task: Task = "regression" if kind == "regression" else "classification"
    full = full_loss(task, new.target)

    answers = _fit(kind, 2_000).predict(new.features)

    loss = unit_losses(task, new.target, answers, full=full).mean()
    assert loss < (0.9 if kind == "regression" else 0.45)
    assert (answers == _fit(kind, 2_000).predict(new.features)).all()


def test_rows_of_unknown_classes_are_left_out_and_every_class_has_a_probability() -> None:
    rows = draw_rows("three classes", 600, seed=1)
    target = np.where(rows.target == 2, -1, rows.target)

    probe = fit_probe(rows.features, target, n_classes=3, numeric=("size",), categorical=("city",), seed=0)

    answers = probe.predict(rows.features)
    assert answers.shape == (600, 3)
    assert answers[:, 2].max() == 0
    assert answers.sum(axis=1) == pytest.approx(1)


def test_too_few_labelled_rows_are_refused() -> None:
    with pytest.raises(ArgumentError, match="was given 20 labelled rows"):
        _fit("regression", 20)


def test_a_key_changes_with_all_that_the_probe_depends_on() -> None:
    tasks: tuple[Task, ...] = ("regression", "classification")

    keys = {probe_key(rows, task=task, seed=seed) for rows in ("a", "b") for task in tasks for seed in (0, 1)}

    assert len(keys) == 8


def test_equal_probes_differ_by_nothing() -> None:
    losses = np.array([0.0, 1.0, 1.0])

    assert compare_probes(losses, losses)[2] == 0.0


@given(seconds=st.lists(st.floats(0, 1e6), max_size=8), factor=st.floats(1, 100))
def test_a_longer_training_is_never_cheaper(seconds: list[float], factor: float) -> None:
    price = estimate_price(seconds, seconds_of_batch=86_400)
    longer = estimate_price([each * factor for each in seconds], seconds_of_batch=86_400)

    assert CHEAPEST <= price <= longer <= DEAREST


def test_a_batch_of_no_length_has_no_price() -> None:
    with pytest.raises(ArgumentError, match="expected more than 0"):
        estimate_price([1.0], seconds_of_batch=0)
