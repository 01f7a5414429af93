"""Answers by column, as protocols give them that know tables and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from registry.manifest import ModelManifest
from serving.answers import Answers, Part

PredictionType = Literal["text", "integer", "number", "boolean"]


class AnswerColumns(msgspec.Struct, frozen=True, gc=False):
    """The answers of a request; ``probabilities`` are of shape (n_rows, n_classes), None for a regression."""

    ids: Sequence[str]
    predictions: Sequence[Any]
    versions: Sequence[int]
    classes: Sequence[str] | None
    probabilities: npt.NDArray[np.float64] | None
    kind: PredictionType


def columns_of(answers: Answers) -> AnswerColumns:
    """Take answers apart into columns.

    Where several versions answered that know different classes, the probability of a class that a version does not
    know is NaN.
    """
    if len(answers.parts) == 1:
        return _columns_of(answers.parts[0])
    parts = [(_columns_of(part), part.places(answers.n_rows)) for part in answers.parts]
    ids, predictions, versions = [""] * answers.n_rows, [None] * answers.n_rows, [0] * answers.n_rows
    classes = list(dict.fromkeys(name for columns, _ in parts for name in columns.classes or ()))
    probabilities = np.full((answers.n_rows, len(classes)), np.nan) if classes else None
    for columns, places in parts:
        for place, one, prediction, version in zip(
            places, columns.ids, columns.predictions, columns.versions, strict=True
        ):
            ids[place], predictions[place], versions[place] = one, prediction, version
        if probabilities is not None and columns.probabilities is not None:
            where = [classes.index(name) for name in columns.classes or ()]
            probabilities[np.ix_(list(places), where)] = columns.probabilities
    kinds = {columns.kind for columns, _ in parts}
    kind: PredictionType = kinds.pop() if len(kinds) == 1 else "text"
    return AnswerColumns(
        ids, as_kind(predictions, kind), versions, classes if probabilities is not None else None, probabilities, kind
    )


def prediction_type(manifest: ModelManifest) -> PredictionType:
    """Name the type of a model's predictions; classes of several types are given as text."""
    classes = manifest.classes
    if classes is None:
        return "number"
    if all(isinstance(known, bool) for known in classes):
        return "boolean"
    if any(isinstance(known, str | bool) for known in classes):
        return "text"
    return "integer" if all(isinstance(known, int) for known in classes) else "number"


def as_kind(predictions: Sequence[Any], kind: PredictionType) -> Sequence[Any]:
    """Write predictions as texts where they are not all of one other type."""
    if kind != "text":
        return predictions
    return [one if isinstance(one, str) else str(one) for one in predictions]


def _columns_of(part: Part) -> AnswerColumns:
    answer, manifest = part.answer, part.served.manifest
    versions = [part.served.number] * len(answer.ids)
    if manifest.classes is None:
        return AnswerColumns(answer.ids, answer.values.tolist(), versions, None, None, "number")
    kind = prediction_type(manifest)
    predictions = as_kind(answer.scorer.choose(answer.values), kind)
    names = [str(name) for name in manifest.classes]
    return AnswerColumns(answer.ids, predictions, versions, names, answer.values, kind)
