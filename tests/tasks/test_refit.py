"""The refit: all rows are learnt from, the judged model stands in where that goes wrong, and the package is proven."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.model_files import load_model
from base.settings import Settings
from base.user_code import UserCode
from registry.manifest import ModelManifest
from registry.store import Registry
from serving.scoring.loaded import load_scorer
from tasks import full_model
from tasks.evaluation import Champion, evaluate_model
from tasks.fits import fit_recipe
from tasks.frames import load_frame
from tasks.full_model import fit_on_all
from tasks.preparation import find_seen_until, prepare_data
from tasks.prepared_rows import load_prepared
from tasks.refit import refit_model
from tests.pipelines import TREE, Trained, define, make_pipeline, make_trips, train

_FITTED = """
def add_hour(frame):
    return frame.assign(hour=frame["at"].dt.hour)


class MeanDistance:
    def fit(self, frame, target):
        self.mean = float(frame["distance"].mean())
        self.n_rows = len(frame)

    def transform(self, frame):
        return frame.assign(over_mean=frame["distance"] - self.mean)
"""
_WITH_FITTED = define(prepare={"features": ["features:add_hour"], "fitted": ["features:MeanDistance"]})


def _train(folder: Path, settings: Settings, data: pd.DataFrame, definition: dict[str, Any]) -> tuple[Any, Trained]:
    pipeline = make_pipeline(folder, data, definition, features=_FITTED)
    return pipeline, train(pipeline, settings)


def test_the_full_model_learns_from_every_row_its_fitted_features_too(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    pipeline, trained = _train(tmp_path / "trips", settings, make_trips(300), _WITH_FITTED)
    judged = trained.judged

    full = fit_on_all(judged, pipeline, registry.artifacts, code=UserCode(pipeline.code), settings=settings)

    assert full.problem is None
    assert full.churn is not None
    assert full.data.learnt_until == judged.data.watermark != judged.data.learnt_until
    assert full.data.states != judged.data.states
    rows, before = (load_prepared(data, registry.artifacts) for data in (full.data, judged.data))
    assert len(rows) == len(before) == 300
    distance = rows["distance"]
    np.testing.assert_allclose(rows["over_mean"], distance - distance.mean(), atol=1e-4)
    np.testing.assert_allclose(
        before["over_mean"], distance - distance[: judged.data.validation.stop].mean(), atol=1e-4
    )


def test_without_fitted_features_the_prepared_rows_are_the_same_file(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    pipeline, trained = _train(tmp_path / "trips", settings, make_trips(300), define())

    full = fit_on_all(trained.judged, pipeline, registry.artifacts, code=UserCode(pipeline.code), settings=settings)

    assert full.data.artifact == trained.judged.data.artifact
    assert full.model != trained.judged.candidates.model


def test_a_class_that_only_the_newest_rows_hold_is_learnt(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    trips = make_trips(300)
    trips["company"] = trips["company"].fillna("red")
    trips.loc[trips.index < 290, "company"] = trips["company"].where(trips["company"] != "blue", "green")
    trips.loc[trips.index >= 290, "company"] = "blue"
    pipeline, trained = _train(tmp_path / "trips", settings, trips, define(target="company"))

    full = fit_on_all(trained.judged, pipeline, registry.artifacts, code=UserCode(pipeline.code), settings=settings)

    assert trained.judged.data.classes == ("green", "red")
    assert full.data.classes == ("blue", "green", "red")
    assert full.problem is None
    assert full.model is not None
    model = load_model(registry.artifacts.read_bytes(full.model))
    assert list(model.classes_) == [0, 1, 2]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("raises", "ValueError: no more memory"),
        ("mirrored", "it loses more on the newest 45 rows, which it has learnt from"),
    ],
)
def test_the_judged_model_serves_where_the_full_one_may_not(
    broken: str, words: str, settings: Settings, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, trained = _train(tmp_path / "trips", settings, make_trips(300, noise=0.02), define())
    fit = fit_recipe

    def break_fit(recipe: Any, data: Any, rows: pd.DataFrame, **options: Any) -> Any:
        if broken == "raises":
            raise ValueError("no more memory")
        # As if every label had come back as late.
        return fit(recipe, data, rows.assign(__target__=np.where(rows.index < 3, rows["__target__"], 1)), **options)

    monkeypatch.setattr(full_model, "fit_recipe", break_fit)

    full = fit_on_all(trained.judged, pipeline, registry.artifacts, code=UserCode(pipeline.code), settings=settings)

    assert full.problem is not None
    assert words in full.problem


@pytest.mark.parametrize(
    ("n_late", "prepare", "words"),
    [
        (180, {}, "so it is the world that has moved"),
        (180, _WITH_FITTED["prepare"], "no part of the newest rows can be tried apart"),
        (20, {}, "None"),
    ],
    ids=["nearly all are late now", "nearly all, and features that learn", "the last few"],
)
def test_answers_that_lie_elsewhere_serve_where_newer_rows_speak_for_them(
    n_late: int, prepare: dict[str, Any], words: str, settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    trips = make_trips(900, noise=0.02)
    trips.loc[trips.index >= 900 - n_late, "late"] = True
    definition = define(prepare=prepare, train={"estimators": [TREE], "window": "200 rows"})
    pipeline, trained = _train(tmp_path / "trips", settings, trips, definition)

    full = fit_on_all(trained.judged, pipeline, registry.artifacts, code=UserCode(pipeline.code), settings=settings)

    assert (full.problem is None) == (prepare == {})
    assert words in f"{full.problem or full.note}"


def test_where_the_world_has_just_changed_the_full_model_learns_from_what_came_since(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    trips = make_trips(4_000, noise=0.05)
    turned = trips.index >= 3_300
    trips.loc[turned, "late"] = ~trips.loc[turned, "late"]
    forest = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 30}}
    pipeline, trained = _train(tmp_path / "trips", settings, trips, define(train={"estimators": [forest]}))
    judged = trained.judged

    full = fit_on_all(judged, pipeline, registry.artifacts, code=UserCode(pipeline.code), settings=settings)

    assert judged.candidates.recipe.window.rows is None
    assert full.problem is None
    assert full.window is not None
    assert full.window.window.rows is not None
    assert full.window.window.rows < 1_000
    assert full.note is not None
    assert "the world has changed, so it learns from the newest" in full.note


def test_what_is_packaged_is_the_full_model_with_its_siblings_metrics(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    deep = TREE | {"parameters": {"max_depth": 4, "min_samples_leaf": 10}}
    definition = define(train={"estimators": [deep]}, validate_model={"max_size_mb": 5.0, "max_latency_ms": 60_000.0})
    pipeline, trained = _train(tmp_path / "trips", settings, make_trips(300), definition)
    judged, artifacts = trained.judged, registry.artifacts
    code = UserCode(pipeline.code)

    refit = refit_model(judged, pipeline, registry, code=code, settings=settings, trigger="person")

    manifest = ModelManifest.model_validate_json(artifacts.read_bytes(refit.manifest))
    sibling = manifest.as_sibling()
    assert sibling is not None, refit.reason
    assert (refit.deployed, manifest.deployed, sibling.deployed) == ("full", "full", "sibling")
    assert refit.verdict.promote
    assert [check.name for check in refit.verdict.checks] == ["beats the baseline", "servable", "latency", "size"]
    assert all(check.passed for check in refit.verdict.checks)
    assert manifest.metrics == judged.evaluation.metrics
    assert manifest.learnt_until == judged.data.watermark
    assert sibling.model_file == judged.candidates.model != manifest.model_file
    load_scorer(artifacts, manifest)
    load_scorer(artifacts, sibling)
    reference, own = (load_frame(artifacts, each.reference) for each in (manifest, trained.manifest))
    np.testing.assert_array_equal(reference["__prediction__"], own["__prediction__"])
    assert (reference["__answer__"] != reference["__prediction__"]).any()
    # The next challenger on the same rows meets the sibling, which has not learnt from them.
    again = evaluate_model(
        judged.candidates, judged.data, judged.validated, pipeline, artifacts, champion=Champion(1, manifest)
    )
    assert (again.champion_stand_in, again.n_seen_by_champion, again.n_rows) == (True, 0, judged.evaluation.n_rows)
    assert again.champion == again.metrics


def test_the_next_challenger_is_tested_on_rows_that_this_champion_has_not_seen(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    pipeline, trained = _train(tmp_path / "trips", settings, make_trips(800), define())
    data, moments = trained.judged.data, pd.date_range("2013-01-01", periods=800, freq="h", tz="UTC")
    champion = trained.manifest.model_copy(update={"deployed": "full", "learnt_until": moments[689].to_pydatetime()})
    seen = find_seen_until(champion, trained.judged.validated)

    again = prepare_data(
        trained.judged.validated, pipeline, registry.artifacts, code=UserCode(pipeline.code), seen_until=seen
    )

    assert data.test.start == 680
    assert (again.test.start, again.validation.stop, again.test.stop) == (690, 690, 800)
    assert again.learnt_until == champion.learnt_until
    up_to_date = champion.model_copy(update={"learnt_until": data.watermark})
    assert find_seen_until(up_to_date, trained.judged.validated) is None
    assert find_seen_until(trained.manifest, trained.judged.validated) is None
