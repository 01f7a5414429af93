"""Package a judged model: all that serving and monitoring need of it, proven by answering real rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from base.artifacts import Artifact
from base.candidates import WindowChoice
from base.contract import ColumnRule, ColumnType
from base.errors import DefinitionError, nearest
from base.fingerprint import digest_environment, installed_libraries
from base.judged import Judged
from base.model_files.stored import read_model
from base.pipeline import Pipeline
from base.references import TrainingData
from base.request_contract import RequestContract, restrict_to_inputs
from base.rows.personal import name_key
from base.rows.tables import table_types
from base.user_code import UserCode
from features.fitted import load_states
from features.plan import frame_from_table, rows_from_frame
from features.views import joined_types
from monitoring.drift import store_profile
from registry.manifest import ModelManifest, SiblingModel
from registry.store import Registry
from serving.loading.stored_rows import ANSWER, PREDICTION, probability_column
from serving.scoring.examples import Examples, write_examples
from serving.scoring.loaded import ModelDisagrees, load_scorer
from serving.scoring.scorer import Scorer
from tasks.frames import load_frame, store_frame
from tasks.joined_views import join_rows, read_joined
from tasks.prepared_rows import TARGET, load_part, load_prepared, make_plan

_N_EXAMPLES = 32
_MOST_REFERENCE_ROWS = 5_000
_LIBRARIES = ("scikit-learn", "skops", "numpy", "pandas")


def package_model(
    judged: Judged,
    pipeline: Pipeline,
    registry: Registry,
    *,
    code: UserCode,
    trusted: tuple[str, ...],
    key: bytes | None = None,
    sibling: ModelManifest | None = None,
    is_proven: bool = False,
) -> ModelManifest:
    """Put together what serving and monitoring need, and prove it by answering real rows as a client sends them.

    Parameters
    ----------
    key : bytes, optional
        Under which the rows' personal values were hashed, where the contract has any.
    sibling : ModelManifest, optional
        The judged model's, where *judged* holds another one, fitted on all rows: metrics and the reference's
        predictions stay those of the judged model.
    is_proven : bool, default=False
        Whether a package of the same recipe was proven before, and nobody will serve this one: it goes without the
        examples, the profile and the proof, as in a backtest.

    Raises
    ------
    ModelDisagrees, ModelFileRefused
        If the packaged model does not answer as the trained one did.
    """
    artifacts, spec, data = registry.artifacts, pipeline.spec, judged.data
    columns = _raw_columns(data, spec.time) | set(spec.serve.key)
    raw = load_part(data, judged.validated.good, data.test, artifacts, columns=columns)
    plan = make_plan(data, pipeline)
    candidate = judged.candidates.candidates[judged.candidates.chosen]
    manifest = ModelManifest(
        model=pipeline.name,
        task=spec.task,
        target=spec.target_column,
        time=spec.time,
        classes=data.classes,
        estimator=candidate.estimator,
        parameters=candidate.parameters,
        seed=judged.candidates.seed,
        window=judged.candidates.recipe.window,
        race=_find_race(judged),
        model_file=judged.candidates.model,
        plan=plan,
        contract=serving_contract(pipeline, data, types=table_types(raw)),
        code={name: artifacts.put_bytes(content, suffix=".py") for name, content in pipeline.code.items()},
        threshold=spec.serve.threshold,
        examples=judged.candidates.model,
        reference=judged.candidates.model,
        report=judged.evaluation.report,
        metrics=judged.evaluation.metrics,
        snapshot=judged.snapshot.digest,
        first=data.first,
        learnt_until=data.learnt_until,
        watermark=data.watermark,
        libraries=_libraries(),
        environment=digest_environment(),
        personal_key=None if key is None else name_key(key),
        key=spec.serve.key,
        label_delay=spec.extract.label_delay,
        log=spec.serve.log,
    )
    if sibling is not None:
        manifest = manifest.model_copy(update={"deployed": "full", "sibling": _describe_sibling(sibling)})
        if is_proven and (sibling.classes, sibling.plan) == (manifest.classes, plan):
            return manifest.model_copy(update={"reference": sibling.reference})
    model = read_model(manifest.model_file, artifacts, trusted=trusted)
    scorer = Scorer(manifest, model, code, fitted=load_states(artifacts, plan.states, code, trusted=trusted))
    manifest = manifest.model_copy(update={"reference": _store_reference(registry, scorer, raw, judged, sibling)})
    if is_proven:
        return manifest
    manifest = manifest.model_copy(update={"examples": _store_examples(registry, scorer, raw, data)})
    manifest = manifest.model_copy(update={"profile": store_profile(manifest, artifacts)})
    try:
        load_scorer(artifacts, manifest, trusted=trusted)
    except ModelDisagrees as error:
        if not plan.functions:
            raise
        raise ModelDisagrees(
            f"{error}\n  Or a feature function looks at other rows than its own (a mean, a rank, the row before): "
            "a request has other neighbours than the training data; let each row stand for itself"
        ) from error
    return manifest


def _find_race(judged: Judged) -> WindowChoice | None:
    choice = judged.candidates.window
    if choice is None or choice.until is None:
        return None
    # Equal versions have equal manifests, however long a probe took.
    raced = tuple(each.model_copy(update={"seconds": 0.0}) for each in choice.raced)
    return choice.model_copy(update={"raced": raced, "is_held": False})


def serving_contract(
    pipeline: Pipeline, data: TrainingData, *, types: Mapping[str, ColumnType] | None = None
) -> RequestContract:
    """Make the signature of requests: the inputs' rules; the time and the key may come along, whoever looks at them.

    Parameters
    ----------
    types : mapping of column to type, optional
        The types of the data's own columns, for a key that neither the contract nor the model knows.

    Raises
    ------
    DefinitionError
        If the key names a column that neither the contract nor the data has.
    """
    contract, spec = pipeline.contract, pipeline.spec
    joined = joined_types(read_joined(data))
    columns = {
        name: contract.columns[name] if contract and name in contract.columns else ColumnRule(type=kind)
        for name, kind in data.inputs.items()
        if name not in joined
    }
    if spec.time is not None:
        columns.setdefault(spec.time, ColumnRule(type="time", nullable=True))
    for name in spec.serve.key:
        columns.setdefault(name, _key_rule(name, pipeline, types or {}))
    not_inputs = {name: f"it {reason}" for name, reason in data.left_out.items()}
    for name, rule in contract.columns.items() if contract else ():
        if rule.sensitive:
            not_inputs[name] = "the contract marks it sensitive"
        elif rule.personal == "drop":
            not_inputs[name] = "the contract drops it as personal"
    not_inputs |= dict.fromkeys(spec.prepare.exclude, "the definition excludes it")
    not_inputs |= dict.fromkeys(joined, "a feature view gives it")
    return restrict_to_inputs(contract, columns, not_inputs | {spec.target_column: "it is what is predicted"})


def _key_rule(name: str, pipeline: Pipeline, types: Mapping[str, ColumnType]) -> ColumnRule:
    """Say what a key column must be that the model does not see: a request may do without it."""
    contract = pipeline.contract
    if contract is not None and name in contract.columns:
        return contract.columns[name].model_copy(update={"nullable": True})
    if name not in types:
        raise DefinitionError(
            f"key 'serve.key' names column {name!r}, which the data does not have{nearest(name, types)}",
            file=str(pipeline.file),
            key="serve.key",
        )
    return ColumnRule(type=types[name])


def _raw_columns(data: TrainingData, time: str | None) -> set[str]:
    keys = {key for view in read_joined(data) for key in view.keys.values()}
    return {*data.inputs, *keys} | ({time} if time is not None else set())


def _store_examples(registry: Registry, scorer: Scorer, raw: Any, data: TrainingData) -> Artifact:
    """Keep real rows as a client sends them, with the answers of the features as they were trained on."""
    chosen = np.linspace(0, raw.num_rows - 1, min(_N_EXAMPLES, raw.num_rows)).astype(int)
    sample = join_rows(raw.take(chosen), read_joined(data), scorer.manifest.time, registry.artifacts)
    rows = rows_from_frame(frame_from_table(sample, data.inputs), data.inputs)
    prepared = load_prepared(data, registry.artifacts, data.test).iloc[chosen]
    answers = scorer.predict_features(prepared[list(data.features)])
    return write_examples(registry.artifacts, Examples(rows=rows, answers=answers.tolist()))


def _describe_sibling(sibling: ModelManifest) -> SiblingModel:
    return SiblingModel(**{name: getattr(sibling, name) for name in SiblingModel.model_fields})


def _store_reference(
    registry: Registry, scorer: Scorer, raw: Any, judged: Judged, sibling: ModelManifest | None
) -> Artifact:
    """Keep a sample of the judged rows with features, target and prediction, to measure drift against.

    A model is surer of rows that it has learnt from: their predictions are the judged model's, its own stand beside.
    """
    data = judged.data
    chosen = np.linspace(0, raw.num_rows - 1, min(_MOST_REFERENCE_ROWS, raw.num_rows)).astype(int)
    prepared = load_prepared(data, registry.artifacts, data.test).iloc[np.unique(chosen)]
    answers = scorer.predict_features(prepared[list(data.features)])
    frame = prepared.drop(columns=TARGET).reset_index(drop=True)
    frame["__target__"] = prepared[TARGET].to_numpy()
    own = answers if answers.ndim == 1 else answers[:, -1]
    n_classes = 1 if answers.ndim == 1 else answers.shape[1]
    of_classes = [probability_column(code) for code in range(n_classes)] if n_classes > 2 else []
    if sibling is None:
        frame[PREDICTION] = own
        frame = frame.assign(**{name: answers[:, code] for code, name in enumerate(of_classes)})
    else:
        judged_by = load_frame(registry.artifacts, sibling.reference)
        frame[PREDICTION] = judged_by[PREDICTION].to_numpy()
        frame[ANSWER] = own
        # A sibling with other classes, or from before these columns were kept, has none to take over.
        frame = frame.assign(**{name: judged_by[name].to_numpy() for name in of_classes if name in judged_by})
    return store_frame(registry.artifacts, pd.DataFrame(frame))


def _libraries() -> dict[str, str]:
    versions = dict(name.rpartition("-")[::2] for name in installed_libraries())
    return {name: versions.get(name.replace("-", "_"), versions.get(name, "unknown")) for name in _LIBRARIES}
