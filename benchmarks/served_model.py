"""The model that the benchmark of serving asks: 19 columns, gradient boosting of 200 trees, trained by Everfit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from base.settings import Settings
from base.signatures import signing_keys
from benchmarks.measuring import clean_environment, everfit, run_timed
from registry.manifest import ModelManifest
from registry.models import NewVersion, find_version, register_version
from registry.signed_versions import sign_manifest
from registry.store import Registry
from registry.tables import Run

NAME = "served"
N_NUMERIC, N_CATEGORICAL = 13, 6
_DEFINITION = """
name: served
task: classification
target: y
time: moment
extract: {source: rows.parquet}
train:
  window: expanding
  estimators:
    - estimator: sklearn.ensemble.HistGradientBoostingClassifier
      parameters: {max_iter: 200, early_stopping: false}
"""


def write_pipeline(folder: Path, *, n_rows: int = 20_000, seed: int = 0) -> Path:
    """Write a pipeline and its rows, and return its definition."""
    draw = np.random.default_rng(seed)
    columns: dict[str, object] = {"moment": pd.date_range("2024-01-01", periods=n_rows, freq="min", tz="UTC")}
    for place in range(N_NUMERIC):
        columns[f"n{place}"] = draw.normal(size=n_rows).astype(np.float32).astype(float)
    for place in range(N_CATEGORICAL):
        columns[f"c{place}"] = draw.choice([f"level_{level}" for level in range(3 + 3 * place)], n_rows)
    frame = pd.DataFrame(columns)
    score = frame["n0"] + 0.5 * frame["n1"] * frame["n2"] + 1.2 * (frame["c0"] == "level_1")
    frame["y"] = draw.random(n_rows) < 1 / (1 + np.exp(-score))
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "rows.parquet")
    definition = folder / "pipeline.yaml"
    definition.write_text(_DEFINITION, encoding="utf-8")
    return definition


def write_bodies(folder: Path) -> tuple[Path, Path]:
    """Write the bodies of requests with one row and with a thousand."""
    rows = pd.read_parquet(folder / "rows.parquet").drop(columns=["moment", "y"]).head(1000).to_dict("records")
    one, thousand = folder / "one.json", folder / "thousand.json"
    one.write_text(json.dumps({"rows": rows[:1]}), encoding="utf-8")
    thousand.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    return one, thousand


def train(definition: Path, settings: Settings) -> None:
    """Train the pipeline as a user would; its version 1 is the champion then."""
    run_timed(
        everfit("train", str(definition)),
        clean_environment(EVERFIT_HOME=str(settings.home), EVERFIT_PREFECT_PORT=str(settings.prefect_port)),
    )


def register_twin(registry: Registry, settings: Settings) -> int:
    """Register version 1 once more, so that there is something to swap for it, and return its number."""
    with registry.database.write() as session:
        first = find_version(session, NAME, 1)
        assert first is not None
        # A run has one version, so the twin has a run of its own.
        run = Run(**session.get_one(Run, first.run_id).model_dump() | {"id": f"{first.run_id}-twin"})
        session.add(run)
        session.flush()
        manifest = ModelManifest.model_validate(first.manifest).model_copy(update={"run": run.id})
        twin = NewVersion(
            model=NAME,
            run_id=run.id,
            pipeline_version=first.pipeline_version,
            manifest=sign_manifest(manifest, signing_keys(settings)).model_dump(mode="json"),
            metrics=first.metrics,
            verdict=first.verdict,
        )
        return register_version(session, twin).number


def write_model_file(registry: Registry, folder: Path) -> Path:
    """Write the model file of version 1 where the plain service reads it."""
    with registry.database.read() as session:
        first = find_version(session, NAME, 1)
        assert first is not None
        manifest = ModelManifest.model_validate(first.manifest)
    file = folder / "model.skops"
    file.write_bytes(registry.artifacts.read_bytes(manifest.model_file))
    return file
