"""Evaluation: what it costs to judge 100,000 rows by two models, with intervals, slices, explanations and the page."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from base.definition import read_pipeline
from base.expectations.asking import ExpectationsProcess
from base.judged import Evaluation, Judged
from base.settings import Settings
from base.user_code import UserCode
from benchmarks.figures import Figure
from registry.store import open_registry
from tasks.data_validation import validate_data
from tasks.evaluation import evaluate_model
from tasks.extraction import extract_data
from tasks.model_validation import validate_model
from tasks.packaging import package_model
from tasks.preparation import prepare_data
from tasks.scored_rows import Champion
from tasks.training import train_candidates

N_JUDGED = 100_000
_N_LEARNT = 60_000
_N_QUANTITIES, _N_CATEGORIES = 14, 4
_TARGET_SECONDS = 5

_DEFINITION = """
name: judged
task: classification
target: happened
time: at
extract: {source: data.parquet}
prepare: {split: {validation: 0.1, test: 0.625}}
train:
  estimators:
    - estimator: sklearn.ensemble.HistGradientBoostingClassifier
      parameters: {max_iter: 100, early_stopping: false}
evaluate: {slices: [category_0], draws: 1000}
"""


def measure(rounds: int) -> list[Figure]:
    """Measure the evaluation, each figure *rounds* times."""
    return evaluate_seconds(rounds)


def evaluate_seconds(rounds: int) -> list[Figure]:
    """Measure :func:`tasks.evaluation.evaluate_model` on 100,000 rows with a champion, 1,000 resamples and defaults.

    Returns
    -------
    list of Figure
        ``evaluate_seconds_100k`` (median, reading the rows and writing the page included), and
        ``evaluate_seconds_100k_first``: without a champion.
    """
    with tempfile.TemporaryDirectory(prefix="everfit-benchmark-") as name:
        evaluate = _prepare(Path(name))
        _say("warming up")
        evaluate(True)
        both: list[float] = []
        first: list[float] = []
        for number in range(rounds):
            _say(f"round {number + 1} of {rounds}")
            for seconds, has_champion in ((both, True), (first, False)):
                started = time.perf_counter()
                judged = evaluate(has_champion)
                seconds.append(time.perf_counter() - started)
                if judged.n_rows != N_JUDGED or not judged.intervals:
                    raise RuntimeError(f"{judged.n_rows:,} rows were judged, with {len(judged.intervals)} intervals")
    about = f"{N_JUDGED:,} rows, {_N_QUANTITIES + _N_CATEGORIES} features, 1,000 resamples; target {_TARGET_SECONDS}"
    return [
        Figure("evaluate_seconds_100k", statistics.median(both), "s", f"two models, {about}"),
        Figure("evaluate_seconds_100k_first", statistics.median(first), "s", "one model"),
    ]


def _prepare(folder: Path) -> Callable[[bool], Evaluation]:
    """Train a model, make it the champion too, and return how to judge the newest rows."""
    _write_rows(folder / "data.parquet")
    (folder / "pipeline.yaml").write_text(_DEFINITION, encoding="utf-8")
    pipeline = read_pipeline(folder / "pipeline.yaml")
    settings = Settings(home=folder / "home", database_url=None, artifacts_url=None)
    registry = open_registry(settings)
    artifacts = registry.artifacts
    code = UserCode(pipeline.code)
    snapshot = extract_data(pipeline, artifacts, code=code, as_of=None, settings=settings)
    validated = validate_data(snapshot, pipeline, artifacts, ExpectationsProcess())
    data = prepare_data(validated, pipeline, artifacts, code=code)
    candidates = train_candidates(data, pipeline.spec.train, artifacts, task=pipeline.spec.task, threads=2)
    first = evaluate_model(candidates, data, validated, pipeline, artifacts, champion=None)
    verdict = validate_model(first, pipeline.spec, artifacts, trigger="person", champion_revision=0)
    judged = Judged(
        snapshot=snapshot,
        validated=validated,
        data=data,
        candidates=candidates,
        evaluation=first,
        verdict=verdict,
    )
    # The champion is packaged as a version is, and asked as one is: its features are built from the raw rows.
    champion = Champion(1, package_model(judged, pipeline, registry, code=code, trusted=()))

    def evaluate(has_champion: bool) -> Evaluation:
        return evaluate_model(
            candidates, data, validated, pipeline, artifacts, champion=champion if has_champion else None
        )

    return evaluate


def _write_rows(file: Path) -> None:
    draw = np.random.default_rng(0)
    n_rows = _N_LEARNT + N_JUDGED
    columns = {f"quantity_{index}": draw.normal(size=n_rows) for index in range(_N_QUANTITIES)}
    frame = pd.DataFrame(columns)
    for index in range(_N_CATEGORIES):
        frame[f"category_{index}"] = draw.choice([f"kind {kind}" for kind in range(8)], n_rows)
    score = frame["quantity_0"] + frame["quantity_1"] * (frame["category_0"] == "kind 1") + draw.normal(size=n_rows)
    frame["happened"] = score > 0.5
    frame["at"] = pd.date_range("2013-01-01", periods=n_rows, freq="min", tz="UTC")
    frame.to_parquet(file)


def _say(text: str) -> None:
    print(f"evaluation: {text}", file=sys.stderr, flush=True)
