"""A loaded model version: JSON rows in, predictions out; the same code in the service, the CLI and the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from base.errors import EverfitError, Fault, UserCodeError
from base.rows.personal import has_personal, protect_rows
from base.user_code import UserCode
from registry.manifest import ModelManifest
from serving.scoring.matrices import MatrixMaker
from serving.scoring.onnx_model import OnnxModel
from serving.scoring.row_reader import RowReader, Values, values_of

# A service that answers by compiled models alone starts without pandas: it is imported where frames are made.
if TYPE_CHECKING:
    import pandas as pd

    from features.fitted import FittedFeature
    from serving.scoring.view_lookup import ViewLookup

ScoringPath = Literal["onnx", "scikit-learn"]

_ROWS_TRIED_ALONE = 3


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

    Parameters
    ----------
    model : fitted pipeline or OnnxModel
        What answers rows of features: scikit-learn's own, or the version's compiled form.
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
        self.reader = RowReader(manifest.contract, list(manifest.plan.inputs))
        self._inputs = list(manifest.plan.inputs)
        self._has_personal = has_personal(manifest.contract)
        self._names = [str(name) for name in manifest.classes or ()]
        self._model = model
        self._matrices = _matrix_maker(manifest, model)
        self._code = code
        self._fitted = tuple(fitted)

    @property
    def path(self) -> ScoringPath:
        """What answers: ``onnx``, the version's compiled form, or ``scikit-learn``."""
        return "onnx" if isinstance(self._model, OnnxModel) else "scikit-learn"

    @property
    def is_immediate(self) -> bool:
        """Whether a row costs so little that handing it to a thread would cost more."""
        return self._matrices is not None and not self.completes

    @property
    def completes(self) -> bool:
        """Whether rows are not scored as they were sent: personal values are hashed, views looked up."""
        return self._has_personal or self.lookup is not None

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
        if self._has_personal:
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
        return self.score_values(values_of(rows, self._inputs))

    def score_values(self, values: Sequence[Values]) -> npt.NDArray[np.float64]:
        """Predict rows that are given as the values of the inputs, in order."""
        if self._matrices is not None:
            model: OnnxModel = self._model
            return model.predict(*self._matrices.make(values))
        from features.plan import frame_from_values

        return self.predict_frame(frame_from_values(values, self.manifest.plan.inputs))

    def builds_rows_alone(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether a row's features are the same with other rows beside it as alone.

        A feature such as "distance over the mean distance" depends on which other rows happen to be there.
        """
        if MatrixMaker.can_make(self.manifest.plan):
            return True
        import pandas as pd

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
        from features.plan import build_features

        return self.predict_features(build_features(frame, self.manifest.plan, self._code, self._fitted))

    def predict_features(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Predict rows whose features are built already; the answer is as :meth:`predict_frame`'s."""
        if isinstance(self._model, OnnxModel):
            return self._model.predict_features(features)
        answer = self._model.predict(features) if self.manifest.classes is None else self._model.predict_proba(features)
        return np.asarray(answer, dtype=np.float64)

    def _build(self, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        from features.plan import build_features, frame_from_rows

        frame = frame_from_rows(rows, self.manifest.plan.inputs)
        return build_features(frame, self.manifest.plan, self._code, self._fitted)

    def describe(self, answers: npt.NDArray[np.float64]) -> list[Prediction]:
        """Give numbers their meaning: classes by name, the threshold applied."""
        if self.manifest.classes is None:
            return [Prediction(value) for value in answers.tolist()]
        return [
            Prediction(name, dict(zip(self._names, row, strict=True)))
            for name, row in zip(self.choose(answers), answers.tolist(), strict=True)
        ]

    def write(self, ids: Sequence[str], answers: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
        """Write answers as the service gives them: id, prediction and, for classes, their probabilities."""
        if self.manifest.classes is None:
            return [{"id": one, "prediction": value} for one, value in zip(ids, answers.tolist(), strict=True)]
        names = self._names
        return [
            {"id": one, "prediction": name, "probabilities": dict(zip(names, row, strict=True))}
            for one, name, row in zip(ids, self.choose(answers), answers.tolist(), strict=True)
        ]

    def choose(self, answers: npt.NDArray[np.float64]) -> list[Any]:
        """Choose a class for each row of probabilities: by the threshold where there are two, else the likeliest."""
        classes = self.manifest.classes
        assert classes is not None
        if len(classes) == 2:
            first, second = classes
            threshold = self.manifest.threshold
            return [second if share >= threshold else first for share in answers[:, 1].tolist()]
        return [classes[index] for index in answers.argmax(axis=1).tolist()]


def _matrix_maker(manifest: ModelManifest, model: Any) -> MatrixMaker | None:
    if not isinstance(model, OnnxModel) or not MatrixMaker.can_make(manifest.plan):
        return None
    return MatrixMaker(manifest.plan, missing=model.missing)
