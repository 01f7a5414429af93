"""Claims about churn: two versions are asked the same rows, and who differs is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from base.settings import Settings
from registry.models import find_version
from registry.store import Registry
from registry.tables import ModelVersion
from tasks.churn import measure_churn
from tests.pipelines import TREE, Trained, define, make_pipeline, make_trips, train

STUMP = {"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 1}}
VALUES: dict[str, Any] = {
    "task": "regression",
    "target": "distance",
    "train": {"estimators": [{"estimator": "sklearn.tree.DecisionTreeRegressor", "parameters": {"max_depth": 3}}]},
}


def _prepared(trained: Trained) -> dict[str, Any]:
    judged = trained.judged
    return {"data": judged.data.model_dump(mode="json"), "validated": judged.validated.model_dump(mode="json")}


def _versions(registry: Registry) -> tuple[ModelVersion, ModelVersion]:
    def find(session: Session, number: int) -> ModelVersion:
        found = find_version(session, "trips", number)
        assert found is not None
        return found

    with registry.database.read() as session:
        return find(session, 1), find(session, 2)


def _train(tmp_path: Path, settings: Settings, **changes: Any) -> Trained:
    return train(make_pipeline(tmp_path / "trips", make_trips(600, noise=0.3), define(**changes)), settings)


def test_a_version_does_not_differ_from_its_twin(tmp_path: Path, settings: Settings, registry: Registry) -> None:
    _train(tmp_path, settings)
    twin = _train(tmp_path, settings)

    found = measure_churn(*_versions(registry), _prepared(twin), registry, settings, n_rows=50)

    assert found == {"n_rows": 50, "churn": 0.0, "mean_difference": 0.0, "meaning": "another class"}


def test_versions_that_answer_otherwise_are_counted_on_the_rows_there_are(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    deep = {**TREE, "parameters": {"max_depth": 12}}
    _train(tmp_path, settings, train={"estimators": [deep]})
    newer = _train(tmp_path, settings, train={"estimators": [STUMP]})

    found = measure_churn(*_versions(registry), _prepared(newer), registry, settings, n_rows=10_000)

    assert found["n_rows"] == newer.judged.data.test.n_rows
    assert 0 < found["churn"] < 1


def test_values_count_from_a_hundredth_of_their_spread_on(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    _train(tmp_path, settings, **VALUES)
    newer = _train(
        tmp_path,
        settings,
        **(VALUES | {"train": {"estimators": [{**VALUES["train"]["estimators"][0], "parameters": {"max_depth": 1}}]}}),
    )

    found = measure_churn(*_versions(registry), _prepared(newer), registry, settings, n_rows=50)

    assert found["churn"] > 0
    assert found["meaning"].startswith("values that moved by more than")


@pytest.mark.parametrize("is_recorded", [False, True])
def test_rows_that_are_gone_are_a_finding_and_no_error(
    tmp_path: Path, settings: Settings, registry: Registry, is_recorded: bool
) -> None:
    _train(tmp_path, settings)
    newer = _train(tmp_path, settings)
    prepared = _prepared(newer) if is_recorded else None
    for segment in newer.judged.validated.good.segments:
        Path(registry.artifacts.local_path(segment.artifact)).unlink()

    found = measure_churn(*_versions(registry), prepared, registry, settings, n_rows=50)

    assert ("is not in the store" if is_recorded else "has no recorded rows") in found["problem"]
