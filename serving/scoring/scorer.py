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
from base.contract import DataContract
from base.errors import EverfitError, Fault, UserCodeError
from base.model_files import load_model
from base.rows.personal import has_personal, name_key, protect_rows, protected_contract
from base.user_code import UserCode
from features.fitted import FittedFeature, load_states
from features.plan import build_features, frame_from_rows
from features.views import joined_types
from registry.manifest import ModelManifest
from serving.scoring.view_lookup import ViewLookup

AGREEMENT = 1e-9
"""How far answers may be from the recorded ones, absolutely and relatively: the last bits of a sum."""

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

    def __init__(
        self,
        manifest: ModelManifest,
        model: Any,
        code: UserCode,
        *,
        fitted: Sequence[FittedFeature] = (),
        is_row_wise: bool = True,
    ) -> None:
        self.manifest = manifest
        self.lookup: ViewLookup | None = None
        self.personal_key: bytes | None = None
        self.is_row_wise = is_row_wise
        self._model = model
        self._code = code
        self._fitted = tuple(fitted)

    def find_faults(self, rows: Sequence[Mapping[str, Any]], *, most: int = 100) -> list[Fault]:
        """Judge a request's rows against the signature, up to *most* faults."""
        return self.manifest.contract.find_faults(rows, most=most)

    def find_warnings(self, rows: Sequence[Mapping[str, Any]], *, most: int = 100) -> list[Fault]:
        """Find where rows that have passed break rules that only warn, up to *most*."""
        return self.manifest.contract.find_warnings(rows, most=most)

    def complete_rows(self, rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Hash a request's personal values, and add what the model's feature views know now.

        Raises
        ------
        EverfitError
            If the rows hold personal values and the scorer was loaded without the installation's key.
        """
        if has_personal(self.manifest.contract):
            if self.personal_key is None:
                raise EverfitError(f"model {self.manifest.model!r} was loaded without the key of its personal columns")
            rows = protect_rows(rows, self.manifest.contract, self.personal_key)
        return rows if self.lookup is None else self.lookup.complete(rows)

    def predict_rows(self, rows: Sequence[dict[str, Any]]) -> list[Prediction]:
        """Predict JSON rows that have passed :meth:`find_faults`.

        Raises
        ------
        UserCodeError
            If a feature function of the user's code fails on these rows.
        """
        return self.describe(self.score_rows(self.complete_rows(rows)))

    def score_rows(self, rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
        """Predict completed JSON rows as :meth:`predict_rows` does; the answer is as :meth:`predict_frame`'s."""
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
        return self.predict_features(build_features(frame, self.manifest.plan, self._code, self._fitted))

    def predict_features(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Predict rows whose features are built already; the answer is as :meth:`predict_frame`'s."""
        answer = self._model.predict(features) if self.manifest.classes is None else self._model.predict_proba(features)
        return np.asarray(answer, dtype=np.float64)

    def _build(self, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        frame = frame_from_rows(rows, self.manifest.plan.inputs)
        return build_features(frame, self.manifest.plan, self._code, self._fitted)

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


def load_scorer(
    artifacts: ArtifactStore,
    manifest: ModelManifest,
    *,
    trusted: Sequence[str] = (),
    personal_key: bytes | None = None,
) -> Scorer:
    """Load a version under the allow-list, and let it answer the rows whose answers are known.

    That warms it (a first call is ten times slower) and proves it: a model that does not agree with itself
    must not serve.

    Parameters
    ----------
    personal_key : bytes, optional
        By which requests' personal values are hashed; without it, only rows that are hashed already are answered.

    Raises
    ------
    ModelFileRefused, ArtifactMissing, ArtifactCorrupt, UserCodeError
    ModelDisagrees
    """
    scorer = load_unproven(artifacts, manifest, trusted=trusted)
    examples = read_examples(artifacts, manifest.examples)
    # The examples hold what the views gave in training; a request must not.
    joined = joined_types(manifest.plan.views)
    sent = [{name: value for name, value in row.items() if name not in joined} for row in examples.rows]
    if faults := _find_faults_of_examples(manifest.contract, sent):
        raise ModelDisagrees(f"model {manifest.model!r} refuses rows that it was trained with: {faults[0]}")
    answers = scorer.predict_frame(frame_from_rows(examples.rows, manifest.plan.inputs))
    expected = np.asarray(examples.answers, dtype=np.float64)
    if answers.shape != expected.shape or not np.allclose(answers, expected, rtol=AGREEMENT, atol=AGREEMENT):
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


def load_unproven(artifacts: ArtifactStore, manifest: ModelManifest, *, trusted: Sequence[str] = ()) -> Scorer:
    """Load a version under the allow-list, without letting it answer the rows whose answers are known.

    Raises
    ------
    ModelFileRefused, ArtifactMissing, ArtifactCorrupt, UserCodeError
    """
    model = load_model(artifacts.read_bytes(manifest.model_file), trusted=trusted)
    code = manifest.load_code(artifacts)
    fitted = load_states(artifacts, manifest.plan.states, code, trusted=trusted)
    return Scorer(manifest, model, code, fitted=fitted)


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


def _find_faults_of_examples(contract: DataContract, rows: Sequence[Mapping[str, Any]]) -> list[Fault]:
    # Examples hold personal values as they are stored: hashed.
    stored = protected_contract(contract)
    return [] if stored is None else stored.find_faults(rows)


def _difference(answers: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> str:
    if answers.shape != expected.shape:
        return f"answers of shape {answers.shape} instead of {expected.shape}"
    return f"largest difference {np.abs(answers - expected).max():.3g}"
