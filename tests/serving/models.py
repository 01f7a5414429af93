"""Small models that are really fitted, registered and promoted, for the service to serve."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from base.contract import ColumnRule, RowRule
from base.model_files import dump_model
from base.pipeline import Pipeline, PipelineSpec
from base.request_contract import RequestContract
from base.settings import Settings
from base.signatures import signing_keys
from base.user_code import UserCode
from features.feature_plan import FeaturePlan
from features.plan import build_features, frame_from_rows
from registry.manifest import ModelManifest
from registry.models import NewVersion, find_alias, promote_version, register_version
from registry.pipelines import register_pipeline
from registry.proofs import record_proof
from registry.runs import begin_run, finish_run, this_process
from registry.signed_versions import sign_manifest
from registry.store import Registry
from registry.tables import ModelVersion
from serving.loading.proof import Proof
from serving.scoring.examples import Examples, write_examples
from serving.scoring.loaded import load_scorer
from serving.scoring.scorer import Scorer
from tasks.frames import store_frame

CONTRACT = RequestContract(
    columns={
        "distance": ColumnRule(type="number", nullable=False, minimum=0),
        "passengers": ColumnRule(type="integer", maximum=90, severity="warn"),
        "company": ColumnRule(type="text"),
        "is_shared": ColumnRule(type="boolean"),
        "at": ColumnRule(type="time"),
    },
    rules=(RowRule(name="seats", expression="passengers <= 8 or not is_shared"),),
    not_inputs={"fare": "the definition excludes it"},
)
CODE = b"""
import time


def add_hour(frame):
    return frame.assign(hour=frame["at"].dt.hour)


def take_a_while(frame):
    time.sleep(0.3)
    return add_hour(frame)


def compare(frame):
    return frame.assign(hour=frame["distance"] - frame["distance"].mean())


def refuse_sharing(frame):
    if (frame["is_shared"] == True).any():
        raise ValueError("nobody shares")
    return frame.assign(hour=0)
"""

Kind = Literal["two classes", "three classes", "regression"]


def make_rows(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Draw rows as a client would send them, some with a column left out or null."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        row: dict[str, Any] = {
            "distance": round(float(draw.uniform(0, 20)), 3),
            "passengers": int(draw.integers(1, 6)),
            "company": str(draw.choice(["red", "blue", "green"])),
            "is_shared": bool(draw.random() < 0.3),
            "at": f"2013-04-{1 + number % 28:02}T{number % 24:02}:15:00Z",
        }
        if draw.random() < 0.1:
            row["passengers"] = None
        if draw.random() < 0.1:
            del row["company"]
        rows.append(row)
    return rows


def register_model(
    registry: Registry,
    *,
    name: str = "trips",
    kind: Kind = "two classes",
    inverted: bool = False,
    function: str = "features:add_hour",
    wrong_examples: bool = False,
) -> ModelVersion:
    """Fit and register a model; *inverted* learns the opposite, so that two versions never agree."""
    manifest = _fit(registry, name, kind, inverted, function, wrong_examples)
    pipeline = Pipeline(spec=_spec(name, kind), contract=CONTRACT, file=Path("pipeline.yaml"), code={})
    package = register_pipeline(registry, pipeline)
    keys = signing_keys(Settings(home=Path(registry.artifacts.url).parent))
    with registry.database.write() as session:
        # As the promote step leaves it, which spares each test the process of a first load.
        record_proof(session, manifest, Proof(agrees=True).model_dump(mode="json"))
        run, _ = begin_run(
            session, package, parameters={}, trigger="person", owner=this_process(), lease=timedelta(minutes=1)
        )
        finish_run(session, run, status="promoted", reason="a test wants it")
        return register_version(
            session,
            NewVersion(
                model=name,
                run_id=run.id,
                pipeline_version=package.digest,
                manifest=sign_manifest(manifest.model_copy(update={"run": run.id}), keys).model_dump(mode="json"),
                metrics={},
                verdict={},
            ),
        )


def promote(registry: Registry, version: ModelVersion) -> None:
    """Make a version the champion."""
    with registry.database.write() as session:
        alias = find_alias(session, registry.environment, version.model)
        promote_version(
            session,
            registry.environment,
            version,
            expected_revision=0 if alias is None else alias.revision,
            actor="test",
            reason="a test wants it",
        )


def load_version(registry: Registry, version: ModelVersion) -> Scorer:
    """Load a version apart from any service, to know what it must answer."""
    return load_scorer(registry.artifacts, ModelManifest.model_validate(version.manifest))


def _fit(
    registry: Registry, name: str, kind: Kind, inverted: bool, function: str, wrong_examples: bool
) -> ModelManifest:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    plan = FeaturePlan(
        inputs={column: rule.type for column, rule in CONTRACT.columns.items()},
        functions=(function,),
        numeric=("distance", "passengers", "hour"),
        categorical=("company",),
    )
    code = {"features.py": CODE}
    rows = [row | {"is_shared": False} for row in make_rows(300)]
    features = build_features(frame_from_rows(rows, plan.inputs), plan, UserCode(code))
    target = _target(features["distance"], kind, inverted)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    tree = DecisionTreeRegressor if kind == "regression" else DecisionTreeClassifier
    model = make_pipeline(
        ColumnTransformer(
            [
                ("numeric", SimpleImputer(keep_empty_features=True), list(plan.numeric)),
                ("categorical", encoder, list(plan.categorical)),
            ]
        ),
        tree(max_depth=4, min_samples_leaf=5, random_state=0),
    )
    model.fit(features, target)
    examples = features.head(5)
    answers = model.predict(examples) if kind == "regression" else model.predict_proba(examples)
    if wrong_examples:
        answers = answers[::-1] + 1
    judged = features.head(50)
    known = model.predict(judged) if kind == "regression" else model.predict_proba(judged)
    artifacts = registry.artifacts
    classes: dict[Kind, tuple[str, ...] | tuple[int, ...] | None] = {
        "two classes": ("near", "far"),
        "three classes": (0, 1, 2),
        "regression": None,
    }
    return ModelManifest(
        model=name,
        task="regression" if kind == "regression" else "classification",
        target="tip",
        time="at",
        classes=classes[kind],
        estimator=type(tree()).__name__,
        parameters={},
        seed=0,
        model_file=artifacts.put_bytes(dump_model(model), suffix=".skops"),
        plan=plan,
        contract=CONTRACT,
        code={"features.py": artifacts.put_bytes(CODE, suffix=".py")},
        threshold=0.5,
        examples=write_examples(artifacts, Examples(rows[:5], answers.tolist())),
        reference=store_frame(artifacts, judged.assign(__prediction__=known if known.ndim == 1 else known[:, -1])),
        metrics={"log_loss": 0.1},
        snapshot="none",
        first=None,
        watermark=None,
        libraries={},
        environment="none",
    )


def _target(distance: pd.Series[Any], kind: Kind, inverted: bool) -> Any:
    sign = -1 if inverted else 1
    if kind == "regression":
        return sign * distance.to_numpy(dtype=np.float64)
    bounds = [10.0] if kind == "two classes" else [6.0, 13.0]
    return np.digitize(sign * distance, sorted(sign * bound for bound in bounds))


def _spec(name: str, kind: Kind) -> PipelineSpec:
    document = {
        "name": name,
        "task": "regression" if kind == "regression" else "classification",
        "target": "tip",
        "extract": {"source": "features:load"},
    }
    return PipelineSpec.model_validate(document)
