"""Small pipelines on small tables, and the loop's pure functions called one after the other, without Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from base.definition import read_pipeline
from base.expectations.asking import ExpectationsProcess
from base.judged import Judged, Promotion
from base.pipeline import Pipeline
from base.references import Trigger
from base.rows.personal import has_personal, personal_key
from base.settings import Settings
from base.signatures import signing_keys
from base.user_code import UserCode
from registry.feature_views import given_columns, resolve_views
from registry.manifest import ModelManifest
from registry.store import open_registry
from serving.loading.proof import Proof
from serving.loading.servability import remember_proof
from tasks.data_validation import validate_data
from tasks.evaluation import Champion, evaluate_model
from tasks.extraction import extract_data
from tasks.model_validation import validate_model
from tasks.packaging import package_model
from tasks.preparation import prepare_data
from tasks.promotion import promote_model
from tasks.run_record import close_run, find_champion, keep_run
from tasks.training import train_candidates

CONTRACT: dict[str, Any] = {
    "columns": {
        "at": {"type": "time", "nullable": False},
        "distance": {"type": "number", "minimum": 0},
        "passengers": {"type": "integer"},
        "company": {"type": "text", "categories": ["red", "blue", "green"]},
        "is_shared": {"type": "boolean"},
        "late": {"type": "boolean"},
    }
}
FEATURES = """
def add_hour(frame):
    return frame.assign(hour=frame["at"].dt.hour)
"""
TREE = {"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 2, "min_samples_leaf": 20}}


def make_trips(n_rows: int = 400, *, seed: int = 0, noise: float = 0.1, start: str = "2013-01-01") -> pd.DataFrame:
    """Draw trips, one an hour; a long one is late, but for a share of *noise* of them."""
    draw = np.random.default_rng(seed)
    distance = draw.uniform(0, 20, n_rows).round(3)
    late = (distance > 10) ^ (draw.random(n_rows) < noise)
    trips = pd.DataFrame(
        {
            "at": pd.date_range(start, periods=n_rows, freq="h", tz="UTC"),
            "distance": distance,
            "passengers": pd.array(draw.integers(1, 6, n_rows), dtype="Int64"),
            "company": draw.choice(["red", "blue", "green"], n_rows).astype(object),
            "is_shared": pd.array(draw.random(n_rows) < 0.3, dtype="boolean"),
            "late": pd.array(late, dtype="boolean"),
        }
    )
    trips.loc[draw.random(n_rows) < 0.05, "passengers"] = pd.NA
    trips.loc[draw.random(n_rows) < 0.05, "company"] = None
    return trips


def define(**changes: Any) -> dict[str, Any]:
    """Write the definition of the trips' pipeline, with other sections where *changes* say so."""
    document: dict[str, Any] = {
        "name": "trips",
        "task": "classification",
        "target": "late",
        "time": "at",
        "extract": {"source": "data.parquet"},
        "validate_data": {"contract": "contract.yaml"},
        "prepare": {"features": ["features:add_hour"]},
        "train": {"estimators": [TREE]},
    }
    return {name: section for name, section in (document | changes).items() if section is not None}


def write_pipeline(
    folder: Path,
    data: pd.DataFrame | None,
    definition: Mapping[str, Any] | None = None,
    *,
    contract: Mapping[str, Any] | None = CONTRACT,
    features: str = FEATURES,
) -> Path:
    """Write a pipeline's folder with its data, and return its definition's file."""
    folder.mkdir(parents=True, exist_ok=True)
    if data is not None:
        data.to_parquet(folder / "data.parquet")
    document = dict(define() if definition is None else definition)
    if contract is None:
        document.pop("validate_data", None)
    else:
        _write_yaml(contract, folder / "contract.yaml")
    (folder / "features.py").write_text(features)
    _write_yaml(document, folder / "pipeline.yaml")
    return folder / "pipeline.yaml"


def make_pipeline(
    folder: Path, data: pd.DataFrame | None, definition: Mapping[str, Any] | None = None, **more: Any
) -> Pipeline:
    """Write a pipeline as :func:`write_pipeline` does, and read it."""
    return read_pipeline(write_pipeline(folder, data, definition, **more))


@dataclass(frozen=True)
class Trained:
    """What came out of one way through the loop."""

    judged: Judged
    promotion: Promotion
    manifest: ModelManifest
    run_id: str


def train(
    pipeline: Pipeline,
    settings: Settings,
    *,
    as_of: datetime | None = None,
    trigger: Trigger = "person",
    launch: str | None = None,
) -> Trained:
    """Go through the whole loop once, by its pure functions; the run is recorded as the flow would do it."""
    registry = open_registry(settings)
    artifacts, spec, code = registry.artifacts, pipeline.spec, UserCode(pipeline.code)
    with keep_run(pipeline, settings, as_of=as_of, trigger=trigger, reason="", prefect_run=None, launch=launch) as run:
        snapshot = extract_data(pipeline, artifacts, code=code, as_of=as_of, settings=settings)
        given = given_columns(registry, pipeline)
        validated = validate_data(snapshot, pipeline, artifacts, ExpectationsProcess(), given=given)
        views = resolve_views(registry, pipeline)
        data = prepare_data(validated, pipeline, artifacts, code=code, views=views)
        candidates = train_candidates(data, spec.train, artifacts, task=spec.task, threads=1)
        current = find_champion(registry, run, pipeline.name)
        serving = current.load()
        champion = None if serving is None or current.number is None else Champion(current.number, serving)
        evaluation = evaluate_model(candidates, data, validated, pipeline, artifacts, champion=champion)
        verdict = validate_model(evaluation, spec, artifacts, trigger=trigger, champion_revision=current.revision)
        judged = Judged(
            snapshot=snapshot,
            validated=validated,
            data=data,
            candidates=candidates,
            evaluation=evaluation,
            verdict=verdict,
        )
        key = personal_key(settings) if has_personal(pipeline.contract) else None
        manifest = package_model(judged, pipeline, registry, code=code, trusted=(), key=key)
        promotion = promote_model(
            manifest,
            judged,
            registry,
            run_id=run.id,
            pipeline_version=run.pipeline_version,
            actor="test",
            keys=signing_keys(settings),
        )
        # As the promote step leaves it, which spares each test the process of a first load.
        remember_proof(registry, manifest, Proof(agrees=True))
        close_run(registry, run, promotion, verdict.reason)
    registry.database.close()
    return Trained(judged, promotion, manifest, run.id)


def _write_yaml(document: Mapping[str, Any], file: Path) -> None:
    with file.open("w") as stream:
        YAML(typ="safe").dump(dict(document), stream)
