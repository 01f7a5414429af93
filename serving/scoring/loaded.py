"""Load a version's model, compiled or not, and let it prove that it answers as it did when it was trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from base.artifacts import ArtifactStore
from base.contract import DataContract
from base.errors import EverfitError, Fault
from base.model_files.stored import read_model
from base.rows.personal import name_key, protected_contract
from features.views import joined_types
from registry.manifest import ModelManifest
from serving.scoring.examples import AGREEMENT, read_examples
from serving.scoring.onnx_model import OnnxModel
from serving.scoring.scorer import Scorer

_log = logging.getLogger(__name__)

COMPILED_AGREEMENT = 1e-4
"""How far a compiled model's answers may be from the recorded ones: of a probability, or of the values' spread."""


class ModelDisagrees(EverfitError):
    """A loaded model does not give the answers that it gave when it was trained."""


def load_scorer(
    artifacts: ArtifactStore,
    manifest: ModelManifest,
    *,
    trusted: Sequence[str] = (),
    personal_key: bytes | None = None,
    compiled: bool = False,
) -> Scorer:
    """Load a version under the allow-list, and let it answer the rows whose answers are known.

    That warms it (a first call is ten times slower) and proves it: a model that does not agree with itself
    must not serve.

    Parameters
    ----------
    personal_key : bytes, optional
        By which requests' personal values are hashed; without it, only rows that are hashed already are answered.
    compiled : bool, default=False
        Load the compiled form where the version has one; where that does not agree here, scikit-learn's is loaded.

    Raises
    ------
    ModelFileRefused, ArtifactMissing, ArtifactCorrupt, UserCodeError
    ModelDisagrees
    """
    if compiled and manifest.onnx is not None:
        try:
            return load_compiled(artifacts, manifest, trusted=trusted, personal_key=personal_key)
        except Exception as error:
            # Whatever keeps the compiled form from answering, the model that it was made of may answer all the same.
            _log.warning("model %r: its compiled form is not used: %s", manifest.model, error)
    scorer = load_unproven(artifacts, manifest, trusted=trusted)
    return _prove(scorer, artifacts, personal_key=personal_key, is_compiled=False)


def load_unproven(artifacts: ArtifactStore, manifest: ModelManifest, *, trusted: Sequence[str] = ()) -> Scorer:
    """Load a version under the allow-list, without letting it answer the rows whose answers are known.

    Raises
    ------
    ModelFileRefused, ArtifactMissing, ArtifactCorrupt, UserCodeError
    """
    model = read_model(manifest.model_file, artifacts, trusted=trusted)
    return _make_scorer(artifacts, manifest, model, trusted=trusted)


def load_compiled(
    artifacts: ArtifactStore,
    manifest: ModelManifest,
    *,
    trusted: Sequence[str] = (),
    personal_key: bytes | None = None,
) -> Scorer:
    """Load a version's compiled form, which it must have, and let it answer the rows whose answers are known.

    Raises
    ------
    ArtifactMissing, ArtifactCorrupt, UserCodeError
    ModelDisagrees
    """
    if manifest.onnx is None:
        raise ModelDisagrees(f"model {manifest.model!r} has no compiled form: {manifest.onnx_reason}")
    plan = manifest.plan
    model = OnnxModel(artifacts.read_bytes(manifest.onnx), numeric=plan.numeric, categorical=plan.categorical)
    scorer = _make_scorer(artifacts, manifest, model, trusted=trusted)
    return _prove(scorer, artifacts, personal_key=personal_key, is_compiled=True)


def _make_scorer(artifacts: ArtifactStore, manifest: ModelManifest, model: Any, *, trusted: Sequence[str]) -> Scorer:
    code = manifest.load_code(artifacts)
    states = manifest.plan.states
    if states is None:
        return Scorer(manifest, model, code)
    from features.fitted import load_states

    return Scorer(manifest, model, code, fitted=load_states(artifacts, states, code, trusted=trusted))


def _prove(scorer: Scorer, artifacts: ArtifactStore, *, personal_key: bytes | None, is_compiled: bool) -> Scorer:
    manifest = scorer.manifest
    examples = read_examples(artifacts, manifest.examples)
    # The examples hold what the views gave in training; a request must not.
    joined = joined_types(manifest.plan.views)
    sent = [{name: value for name, value in row.items() if name not in joined} for row in examples.rows]
    if faults := _find_faults_of_examples(manifest.contract, sent):
        raise ModelDisagrees(f"model {manifest.model!r} refuses rows that it was trained with: {faults[0]}")
    expected = np.asarray(examples.answers, dtype=np.float64)
    allowed = _allowed_difference(expected, manifest) if is_compiled else AGREEMENT
    answers = scorer.score_rows(examples.rows)
    if answers.shape != expected.shape or not np.allclose(answers, expected, rtol=AGREEMENT, atol=allowed):
        raise ModelDisagrees(
            f"model {manifest.model!r} does not give the answers that it gave in training "
            f"({_difference(answers, expected)}); train it again with these libraries"
        )
    scorer.is_row_wise = scorer.builds_rows_alone(examples.rows)
    if personal_key is not None and manifest.personal_key not in (None, name_key(personal_key)):
        raise ModelDisagrees(
            f"model {manifest.model!r} was trained with personal values hashed under another key than this machine's; "
            "give both the same EVERFIT_PERSONAL_KEY (or home's personal.key), or train it again here"
        )
    scorer.personal_key = personal_key
    return scorer


def _allowed_difference(expected: npt.NDArray[np.float64], manifest: ModelManifest) -> float:
    if manifest.classes is not None or not len(expected):
        return COMPILED_AGREEMENT
    return COMPILED_AGREEMENT * (float(np.std(expected)) or 1.0)


def _find_faults_of_examples(contract: DataContract, rows: Sequence[Mapping[str, Any]]) -> list[Fault]:
    # Examples hold personal values as they are stored: hashed.
    stored = protected_contract(contract)
    return [] if stored is None else stored.find_faults(rows)


def _difference(answers: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> str:
    if answers.shape != expected.shape:
        return f"answers of shape {answers.shape} instead of {expected.shape}"
    return f"largest difference {np.abs(answers - expected).max():.3g}"
