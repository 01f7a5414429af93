"""Reproduction: a version is built again from its stored snapshot and code, and compared to the last bit."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from base.artifacts import Artifact, ArtifactCorrupt, ArtifactMissing, ArtifactStore
from base.candidates import Recipe
from base.contract import DataContract
from base.errors import EverfitError
from base.fingerprint import digest_bytes, digest_document
from base.model_digests import digest_model
from base.model_files import dump_model, load_model
from base.pipeline import Pipeline, PipelineSpec
from base.references import Part, Reference, Snapshot, TrainingData, ValidatedData
from base.settings import Settings
from base.train_spec import TrainingWindow
from base.user_code import UserCode
from tasks.joined_views import read_joined
from tasks.prepared_rows import load_moments, load_prepared

# "PK" and a small number, in base64.
_ZIP_IN_BASE64 = "UEsDB"

Floats = npt.NDArray[np.float64]


class ReproductionRequest(Reference):
    """All that a version was made of, by digest, as the registry recorded it; ``artifacts`` is the store to read.

    ``judged`` is the model that was judged, ``deployed`` the one that serves where that is another one, fitted by
    the same recipe on ``deployed_window`` of all rows. ``fit_threads`` is None where the version is older than its
    record.
    """

    artifacts: str
    home: Path
    spec: dict[str, Any]
    contract: dict[str, Any] | None
    code: dict[str, Artifact]
    snapshot: Snapshot
    validated: ValidatedData
    data: TrainingData
    recipe: Recipe
    judged: Artifact
    deployed: Artifact | None = None
    deployed_window: TrainingWindow = TrainingWindow()
    fit_threads: int | None = None


class Compared(Reference):
    """One thing that was built again: whether it is the same, and what is to be said about it."""

    what: Literal["validated rows", "prepared rows", "fitted features", "judged model", "deployed model", "predictions"]
    identical: bool
    before: str
    after: str
    told: str = ""


class ReproductionResult(Reference):
    """What the rebuilding gave, in the order of the steps; ``problem`` says what could not be read or built."""

    compared: tuple[Compared, ...] = ()
    problem: str | None = None
    missing: bool = False


def reproduce_version(request: ReproductionRequest, settings: Settings) -> ReproductionResult:
    """Build a version again in the home of *settings*, and compare each thing with what is stored.

    The steps' own functions do it, on the stored snapshot and the stored code; no result of a step is taken over.
    Each step goes on from what this building has made, so that the first difference is the one that counts. The
    predictions are those of the stored and the rebuilt model on the test rows as they were stored.
    """
    source = ArtifactStore(request.artifacts, cache=request.home / "cache")
    target = ArtifactStore.from_settings(settings)
    found: list[Compared] = []
    try:
        _fetch(_needed(request), source, target)
        for compared in _rebuild(request, source, target, settings):
            found.append(compared)
    except (ArtifactMissing, ArtifactCorrupt) as error:
        return ReproductionResult(compared=tuple(found), problem=str(error), missing=True)
    except EverfitError as error:
        return ReproductionResult(compared=tuple(found), problem=str(error))
    return ReproductionResult(compared=tuple(found))


def _rebuild(
    request: ReproductionRequest, source: ArtifactStore, target: ArtifactStore, settings: Settings
) -> Iterator[Compared]:
    from base.expectations.asking import ExpectationsProcess
    from tasks.data_validation import validate_data
    from tasks.fits import fit_recipe
    from tasks.full_model import prepare_all
    from tasks.preparation import prepare_data

    pipeline = _pipeline(request, target, settings.home)
    spec, trusted, recorded = pipeline.spec, settings.trusted_types, request.data
    code = UserCode(pipeline.code)
    views = read_joined(recorded)
    given = {column for view in views for column in view.columns.values()}
    validated = validate_data(request.snapshot, pipeline, target, ExpectationsProcess(), given=given)
    yield _compare("validated rows", request.validated.good.digest, validated.good.digest)
    data = prepare_data(
        validated, pipeline, target, code=code, views=views, trusted=trusted, seen_until=recorded.seen_until
    )
    told = "" if _parts(recorded) == _parts(data) else f"cut at {_parts(data)}, before at {_parts(recorded)}"
    before = f"{recorded.artifact.digest} {_parts(recorded)}"
    yield _compare("prepared rows", before, f"{data.artifact.digest} {_parts(data)}", told)
    if recorded.states is not None and data.states is not None:
        before, after = (_digest_states(store, each.states) for store, each in ((source, recorded), (target, data)))
        yield _compare("fitted features", before, after)

    def fit(recipe: Recipe, rows: TrainingData, stop: int) -> Any:
        part = Part(start=0, stop=stop)
        moments = None if spec.time is None else load_moments(rows, validated.good, part, target, time=spec.time)
        frame = load_prepared(rows, target).iloc[:stop]
        return fit_recipe(recipe, rows, frame, moments=moments, threads=settings.fit_threads)

    models = [("judged model", request.judged, data, fit(request.recipe, data, data.validation.stop))]
    if request.deployed is not None:
        whole = prepare_all(data, validated, pipeline, target, code=code, trusted=trusted)
        # After a change of the world it learns from another window than the judged one.
        recipe = request.recipe.model_copy(update={"window": request.deployed_window})
        models.append(("deployed model", request.deployed, whole, fit(recipe, whole, whole.test.stop)))
    for what, artifact, _, model in models:
        before, after = digest_model(source.read_bytes(artifact)), digest_model(dump_model(model))
        yield _compare(what, before, after)
    for what, artifact, _, model in models:
        stored = load_model(source.read_bytes(artifact), trusted=trusted)
        yield _compare_predictions(what, stored, model, recorded, source)


def _compare(what: Any, before: str, after: str, told: str = "") -> Compared:
    return Compared(what=what, identical=before == after, before=before, after=after, told=told)


def _compare_predictions(what: str, stored: Any, model: Any, recorded: TrainingData, source: ArtifactStore) -> Compared:
    """Let both models answer the test rows as they were stored."""
    rows = load_prepared(recorded, source).iloc[recorded.test.start : recorded.test.stop]
    if missing := [name for name in getattr(model, "feature_names_in_", ()) if name not in rows]:
        told = f"of the {what}: it needs {', '.join(missing)}, which the stored rows do not have"
        return Compared(what="predictions", identical=False, before="", after="", told=told)
    before, after = (_answer(each, rows, recorded) for each in (stored, model))
    if before.shape != after.shape:
        told = f"of the {what}: answers of shape {after.shape}, before {before.shape}"
    else:
        far = np.abs(before - after).reshape(len(rows), -1).max(axis=1, initial=0.0)
        told = f"of the {what}: {int((far > 0).sum()):,} of {len(rows):,} rows differ, by at most {far.max():.3g}"
    return _compare("predictions", digest_bytes(before.tobytes()), digest_bytes(after.tobytes()), told)


def _answer(model: Any, rows: Any, data: TrainingData) -> Floats:
    answer = model.predict if data.classes is None else model.predict_proba
    return np.ascontiguousarray(answer(rows[list(data.features)]), dtype=np.float64)


def _pipeline(request: ReproductionRequest, target: ArtifactStore, home: Path) -> Pipeline:
    code = {name: target.read_bytes(artifact) for name, artifact in request.code.items()}
    contract = None if request.contract is None else DataContract.model_validate(request.contract)
    spec = PipelineSpec.model_validate(request.spec)
    return Pipeline(spec=spec, contract=contract, file=home / "pipeline.yaml", code=code)


def _parts(data: TrainingData) -> str:
    return " ".join(f"{part.start}-{part.stop}" for part in (data.train, data.validation, data.test))


def _digest_states(store: ArtifactStore, artifact: Artifact | None) -> str:
    assert artifact is not None
    return digest_document(_without_files(json.loads(store.read_bytes(artifact))))


def _without_files(node: Any) -> Any:
    """Replace estimators within a state, which are model files in base64, by what they hold."""
    if isinstance(node, dict):
        return {name: _without_files(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_without_files(value) for value in node]
    if isinstance(node, str) and node.startswith(_ZIP_IN_BASE64):
        with suppress(ValueError):
            return digest_model(base64.b64decode(node))
    return node


def _needed(request: ReproductionRequest) -> list[Artifact]:
    rows = [request.snapshot.rows, *(view.rows for view in read_joined(request.data))]
    segments = [segment for each in rows for segment in each.segments]
    return [*request.code.values(), *(file for each in segments for file in (each.artifact, *each.dropped))]


def _fetch(artifacts: list[Artifact], source: ArtifactStore, target: ArtifactStore) -> None:
    for artifact in artifacts:
        target.put_file(source.local_path(artifact), suffix=artifact.suffix)


def main(arguments: list[str]) -> None:
    """Reproduce in this process, which has a home of its own: a request's file in, a result's file out."""
    asked, answered = map(Path, arguments)
    request = ReproductionRequest.model_validate_json(asked.read_text(encoding="utf-8"))
    result = reproduce_version(request, Settings())
    answered.write_text(result.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
