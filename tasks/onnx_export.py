"""The compiled form of a version: made where there is one, and kept only if it answers as scikit-learn does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.artifacts import ArtifactStore
from base.compiled.graph import NotCompiled
from base.compiled.models import compile_model
from base.errors import EverfitError
from base.model_files import load_model
from base.references import TrainingData
from registry.manifest import ModelManifest
from serving.scoring.onnx_model import OnnxModel
from tasks.prepared_rows import load_prepared

PROBABILITY_TOLERANCE = 1e-4
"""How far a probability may be from scikit-learn's."""

VALUE_TOLERANCE = 1e-4
"""How far a value may be from scikit-learn's, as a share of the values' standard deviation (of 1 where that is 0)."""

_MOST_ROWS = 20_000
# Compiling a forest of this size takes seconds, which a training need not wait for.
_LARGEST_BYTES = 16 << 20


class NoCompiledForm(EverfitError):
    """A version has no ONNX form that agrees with it."""


@dataclass(frozen=True)
class Agreement:
    """How a compiled model's answers compare with those of the model that it was made of."""

    n_rows: int
    max_difference: float
    tolerance: float
    n_other_classes: int

    @property
    def holds(self) -> bool:
        """Whether it may be kept."""
        return self.max_difference <= self.tolerance and self.n_other_classes == 0

    def describe(self) -> str:
        """Say it in words, as what follows "it"."""
        classes = f", and gives {self.n_other_classes:,} of them another class" if self.n_other_classes else ""
        word = "differs" if self.max_difference > self.tolerance else "differs only"
        return (
            f"{word} by up to {self.max_difference:.2g} over {self.n_rows:,} rows, at most {self.tolerance:.2g} is "
            f"allowed{classes}"
        )


def compile_deployed(
    manifest: ModelManifest, data: TrainingData, artifacts: ArtifactStore, *, trusted: Sequence[str]
) -> ModelManifest:
    """Give the manifest of what is to serve its compiled form, held against the judged rows of the prepared data."""
    model = load_model(artifacts.read_bytes(manifest.model_file), trusted=trusted)
    return add_onnx(manifest, model, load_prepared(data, artifacts, data.test), artifacts)


def add_onnx(
    manifest: ModelManifest,
    model: Any,
    features: pd.DataFrame,
    artifacts: ArtifactStore,
    *,
    largest_bytes: int | None = _LARGEST_BYTES,
) -> ModelManifest:
    """Give a manifest its compiled form, or the reason why it has none.

    Parameters
    ----------
    model : fitted pipeline
    features : DataFrame of shape (n_rows, n_features)
        Judged rows; evenly spaced ones of them are answered by both.
    largest_bytes : int, optional
        The size of a model file above which nothing is tried; None tries always.
    """
    size = manifest.model_file.size_bytes
    if largest_bytes is not None and size > largest_bytes:
        reason = f"its model file has {size / 2**20:,.0f} MB; `everfit export {manifest.model}` compiles it when asked"
        return manifest.model_copy(update={"onnx": None, "onnx_reason": reason})
    try:
        data = compile_version(manifest, model, features)
    except NoCompiledForm as error:
        return manifest.model_copy(update={"onnx": None, "onnx_reason": str(error)})
    return manifest.model_copy(update={"onnx": artifacts.put_bytes(data, suffix=".onnx"), "onnx_reason": None})


def compile_version(manifest: ModelManifest, model: Any, features: pd.DataFrame) -> bytes:
    """Compile a version's model, and compare the two on rows of features.

    Raises
    ------
    NoCompiledForm
        Saying what has no compiled form, or by how much its answers differ.
    """
    plan = manifest.plan
    rows = features.iloc[np.unique(np.linspace(0, len(features) - 1, min(len(features), _MOST_ROWS)).astype(int))]
    try:
        data = compile_model(
            model,
            numeric=plan.numeric,
            categorical=plan.categorical,
            n_classes=None if manifest.classes is None else len(manifest.classes),
            notes=_notes(manifest),
        )
        compiled = OnnxModel(data, numeric=plan.numeric, categorical=plan.categorical).predict_features(rows)
    except NotCompiled as error:
        raise NoCompiledForm(str(error)) from error
    except Exception as error:
        # Converters and runtime raise what they like; without a compiled form, the version serves all the same.
        raise NoCompiledForm(f"{type(error).__name__}: {str(error).strip()[:300]}") from error
    agreement = compare(manifest, compiled, _ask(manifest, model, rows))
    if not agreement.holds:
        raise NoCompiledForm(f"the compiled form {agreement.describe()}")
    return data


def compare(manifest: ModelManifest, compiled: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> Agreement:
    """Compare the answers of a compiled model with those of the model that it was made of."""
    if compiled.shape != expected.shape or not len(expected):
        return Agreement(len(expected), float("inf"), 0.0, 0)
    difference = float(np.max(np.abs(compiled - expected)))
    difference = difference if np.isfinite(difference) else float("inf")
    if manifest.classes is None:
        spread = float(np.std(expected)) or 1.0
        return Agreement(len(expected), difference, VALUE_TOLERANCE * spread, 0)
    classes = [_choose(manifest, answers) for answers in (compiled, expected)]
    return Agreement(len(expected), difference, PROBABILITY_TOLERANCE, int((classes[0] != classes[1]).sum()))


def _choose(manifest: ModelManifest, answers: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    if answers.shape[1] == 2:
        return (answers[:, 1] >= manifest.threshold).astype(np.int64)
    return np.asarray(answers.argmax(axis=1), dtype=np.int64)


def _ask(manifest: ModelManifest, model: Any, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    features = rows[list(manifest.plan.features)]
    answers = model.predict(features) if manifest.classes is None else model.predict_proba(features)
    return np.asarray(answers, dtype=np.float64)


def _notes(manifest: ModelManifest) -> dict[str, str]:
    notes: dict[str, object] = {
        "model": manifest.model,
        "target": manifest.target,
        "task": manifest.task,
        "model_file": manifest.model_file.digest,
        "numeric": list(manifest.plan.numeric),
        "categorical": list(manifest.plan.categorical),
        "classes": None if manifest.classes is None else list(manifest.classes),
        "threshold": manifest.threshold,
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in notes.items()}
