"""A loaded model version: JSON rows in, predictions out; the same code in the service, the CLI and the gate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.artifacts import Artifact, ArtifactStore
from base.errors import EverfitError, Fault, UserCodeError
from base.model_files import load_model
from base.user_code import UserCode
from features.plan import build_features, frame_from_rows
from registry.manifest import ModelManifest

_AGREEMENT = 1e-9
_ROWS_TRIED_ALONE = 3


class ModelDisagrees(EverfitError):
    """A loaded model does not give the answers that it gave when it was trained."""


@dataclass(frozen=True)
class Prediction:
    """What one row gets: the predicted class or value, and for classes their probabilities."""

    prediction: Any
    probabilities: dict[str, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """The prediction as the service answers it."""
        answer = {"prediction": self.prediction}
        return answer if self.probabilities is None else answer | {"probabilities": self.probabilities}


class Scorer:
    """A model version that is loaded and ready to answer.

    ``is_row_wise`` tells whether a row gets the same answer in whatever company it comes; only then may the
    rows of several requests be scored together.
    """

    def __init__(self, manifest: ModelManifest, model: Any, code: UserCode, *, is_row_wise: bool = True) -> None:
        self.manifest = manifest
        self.is_row_wise = is_row_wise
        self._model = model
        self._code = code

    def find_faults(self, rows: Sequence[Mapping[str, Any]], *, most: int = 100) -> list[Fault]:
        """Judge a request's rows against the signature, up to *most* faults."""
        return self.manifest.contract.find_faults(rows, most=most)

    def predict_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """Predict JSON rows that have passed :meth:`find_faults`.

        Raises
        ------
        UserCodeError
            If a feature function of the user's code fails on these rows.
        """
        return self.describe(self.score_rows(rows))

    def score_rows(self, rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
        """Predict JSON rows as :meth:`predict_rows` does; the answer is as :meth:`predict_frame`'s."""
        return self.predict_frame(frame_from_rows(rows, self.manifest.plan.inputs))

    def builds_rows_alone(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether a row's features are the same with other rows beside it as alone.

        A feature such as "distance over the mean distance" depends on which other rows happen to be there.
        """
        try:
            together = self._build(rows)
            alone = pd.concat([self._build([row]) for row in rows[:_ROWS_TRIED_ALONE]], ignore_index=True)
        except UserCodeError:
            return False
        together = together.head(len(alone))
        numeric, categorical = list(self.manifest.plan.numeric), list(self.manifest.plan.categorical)
        return np.allclose(alone[numeric], together[numeric], equal_nan=True) and alone[categorical].equals(
            together[categorical]
        )

    def predict_frame(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Predict raw rows.

        Returns
        -------
        array of shape (n_rows, n_classes) or (n_rows,)
            Probabilities of the classes, or values.
        """
        return self.predict_features(build_features(frame, self.manifest.plan, self._code))

    def predict_features(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Predict rows whose features are built already; the answer is as :meth:`predict_frame`'s."""
        answer = self._model.predict(features) if self.manifest.classes is None else self._model.predict_proba(features)
        return np.asarray(answer, dtype=np.float64)

    def _build(self, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        return build_features(frame_from_rows(rows, self.manifest.plan.inputs), self.manifest.plan, self._code)

    def describe(self, answers: npt.NDArray[np.float64]) -> list[Prediction]:
        """Give numbers their meaning: classes by name, the threshold applied."""
        classes = self.manifest.classes
        if classes is None:
            return [Prediction(value) for value in answers.tolist()]
        names = [str(name) for name in classes]
        if len(classes) == 2:
            chosen = (answers[:, 1] >= self.manifest.threshold).astype(int)
        else:
            chosen = answers.argmax(axis=1)
        return [
            Prediction(classes[index], dict(zip(names, row, strict=True)))
            for index, row in zip(chosen.tolist(), answers.tolist(), strict=True)
        ]


def load_scorer(artifacts: ArtifactStore, manifest: ModelManifest, *, trusted: Sequence[str] = ()) -> Scorer:
    """Load a version under the allow-list, and let it answer the rows whose answers are known.

    That warms it (a first call is ten times slower) and proves it: a model that does not agree with itself
    must not serve.

    Raises
    ------
    ModelFileRefused, ArtifactMissing, ArtifactCorrupt, UserCodeError
    ModelDisagrees
    """
    model = load_model(artifacts.read_bytes(manifest.model_file), trusted=trusted)
    scorer = Scorer(manifest, model, manifest.load_code(artifacts))
    examples = read_examples(artifacts, manifest.examples)
    if faults := scorer.find_faults(examples.rows):
        raise ModelDisagrees(f"model {manifest.model!r} refuses rows that it was trained with: {faults[0]}")
    answers = scorer.predict_frame(frame_from_rows(examples.rows, manifest.plan.inputs))
    expected = np.asarray(examples.answers, dtype=np.float64)
    if answers.shape != expected.shape or not np.allclose(answers, expected, rtol=_AGREEMENT, atol=_AGREEMENT):
        raise ModelDisagrees(
            f"model {manifest.model!r} does not give the answers that it gave in training "
            f"({_difference(answers, expected)}); train it again with these libraries"
        )
    scorer.is_row_wise = scorer.builds_rows_alone(examples.rows)
    return scorer


@dataclass(frozen=True)
class Examples:
    """A few real rows as JSON, with the raw answers that training gave them."""

    rows: list[dict[str, Any]]
    answers: list[Any]


def write_examples(artifacts: ArtifactStore, examples: Examples) -> Artifact:
    """Store examples beside the model."""
    document = {"rows": examples.rows, "answers": examples.answers}
    return artifacts.put_bytes(json.dumps(document, allow_nan=False).encode(), suffix=".json")


def read_examples(artifacts: ArtifactStore, artifact: Artifact) -> Examples:
    """Read examples, verified."""
    document = json.loads(artifacts.read_bytes(artifact))
    return Examples(rows=document["rows"], answers=document["answers"])


def _difference(answers: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> str:
    if answers.shape != expected.shape:
        return f"answers of shape {answers.shape} instead of {expected.shape}"
    return f"largest difference {np.abs(answers - expected).max():.3g}"
