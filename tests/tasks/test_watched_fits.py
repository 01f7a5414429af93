"""Fits in processes of their own: the same result, an end when they take too long, an answer when they die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from registry.store import Registry
from tasks.fit_jobs import FitJob, Ground, run_stored_job
from tasks.folds import Fold, store_folds
from tasks.frames import store_table
from tasks.prepared_rows import TARGET
from tasks.watched_fits import FitProcess
from tests.tasks.test_folds import make_data

_ENDLESS = """
import os, time
from sklearn.linear_model import LinearRegression


class Endless(LinearRegression):
    def fit(self, rows, target):
        print("what an estimator prints is no answer")
        time.sleep(60)


class Dying(LinearRegression):
    def fit(self, rows, target):
        os._exit(7)
"""


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FitProcess]:
    """A child that knows the estimators above."""
    (tmp_path / "own_fits.py").write_text(_ENDLESS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(tmp_path)
    started = FitProcess()
    started.wait()
    yield started
    started.close()


def test_a_child_fits_as_this_process_does_and_is_ended_when_it_takes_too_long(
    process: FitProcess, registry: Registry, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=110)
    stored = store_table(registry.artifacts, pa.table({"x": x.astype(np.float32), TARGET: 2 * x}))
    folds = store_folds([Fold(np.arange(80), np.arange(80, 100))], registry.artifacts)
    data = make_data(100).model_copy(update={"artifact": stored})
    ground = Ground(data=data, task="regression", seed=0, folds=folds)
    job = FitJob(estimator="sklearn.linear_model.Ridge", parameters={}, fold=0)
    home = tmp_path / "home"

    here = run_stored_job(job, ground, registry.artifacts)
    there = process.run(job, ground, home)
    late = process.run(job.model_copy(update={"estimator": "own_fits.Endless", "seconds": 0.3}), ground, home)

    assert here.error is None
    assert there.model_dump(exclude={"seconds"}) == here.model_dump(exclude={"seconds"})
    assert (late.error, late.ran_out) == ("it took longer than 0.3 s and was ended", False)
    assert not process.is_alive


def test_a_child_that_dies_is_a_failed_fit(process: FitProcess, registry: Registry, tmp_path: Path) -> None:
    stored = store_table(
        registry.artifacts, pa.table({"x": np.arange(100, dtype=np.float32), TARGET: np.arange(100.0)})
    )
    folds = store_folds([Fold(np.arange(80), np.arange(80, 100))], registry.artifacts)
    ground = Ground(data=make_data(100).model_copy(update={"artifact": stored}), task="regression", seed=0, folds=folds)

    result = process.run(FitJob(estimator="own_fits.Dying", parameters={}, fold=0), ground, tmp_path / "home")

    assert result.error == "the process of the fit ended with code 7"
