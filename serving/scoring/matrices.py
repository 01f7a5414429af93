"""From a row's values to a compiled model's inputs, without a frame between, where the features are the columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from base.json_values import ColumnType
from features.categories import name_category
from features.feature_plan import FeaturePlan
from serving.scoring.row_reader import Values

_NUMBERS: frozenset[ColumnType] = frozenset({"number", "integer", "boolean"})

Numeric = npt.NDArray[np.float32]
Categorical = npt.NDArray[np.object_]


class MatrixMaker:
    """Makes the matrices that :class:`serving.scoring.onnx_model.OnnxModel` takes.

    The numbers are those of :func:`features.plan.build_features`, to the bit: one law holds the two together.

    Parameters
    ----------
    plan : FeaturePlan
        For which :meth:`can_make` is true.
    missing : str
        What stands for a missing category.
    """

    def __init__(self, plan: FeaturePlan, *, missing: str) -> None:
        places = {name: at for at, name in enumerate(plan.inputs)}
        self._numeric = [places[name] for name in plan.numeric]
        self._first_numeric = _as_slice(self._numeric)
        self._ranks = [
            (column, places[name], {value: float(rank) for rank, value in enumerate(plan.ordinal[name])})
            for column, name in enumerate(plan.numeric)
            if name in plan.ordinal
        ]
        self._categorical = [(places[name], _namer(plan.inputs[name], missing)) for name in plan.categorical]

    @staticmethod
    def can_make(plan: FeaturePlan) -> bool:
        """Tell whether each feature is a column of the request as it stands, a moment not among them."""
        if plan.functions or plan.states is not None:
            return False
        kinds: Mapping[str, ColumnType] = plan.inputs
        return all(
            kinds.get(name) in _NUMBERS or (name in plan.ordinal and kinds.get(name) == "text") for name in plan.numeric
        ) and all(kinds.get(name) in (*_NUMBERS, "text") for name in plan.categorical)

    def make(self, rows: Sequence[Values]) -> tuple[Numeric, Categorical]:
        """Make the matrices of some rows.

        Returns
        -------
        numeric : array of shape (n_rows, n_numeric)
            float32, NaN where missing.
        categorical : array of shape (n_rows, n_categorical)
            Texts.
        """
        return self._make_numeric(rows), self._make_categorical(rows)

    def _make_numeric(self, rows: Sequence[Values]) -> Numeric:
        taken: list[Any]
        if self._ranks:
            taken = [self._rank([row[at] for at in self._numeric]) for row in rows]
        elif self._first_numeric is not None:
            taken = [row[self._first_numeric] for row in rows]
        else:
            taken = [[row[at] for at in self._numeric] for row in rows]
        wide = np.array(taken, dtype=np.float64).reshape(len(rows), len(self._numeric))
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = wide.astype(np.float32)
            has_gaps = not np.isfinite(narrow.sum())
        if has_gaps:
            # As in training: a number beyond float32 counts as missing.
            narrow[~np.isfinite(narrow)] = np.nan
        return narrow

    def _rank(self, values: list[Any]) -> list[Any]:
        for column, _, ranks in self._ranks:
            name = None if values[column] is None else name_category(values[column])
            values[column] = None if name is None else ranks.get(str(name))
        return values

    def _make_categorical(self, rows: Sequence[Values]) -> Categorical:
        texts = np.empty((len(rows), len(self._categorical)), dtype=object)
        for column, (at, name) in enumerate(self._categorical):
            texts[:, column] = [name(row[at]) for row in rows]
        return texts


def _as_slice(places: Sequence[int]) -> slice | None:
    if not places or list(places) != list(range(places[0], places[0] + len(places))):
        return None
    return slice(places[0], places[0] + len(places))


def _namer(kind: ColumnType, missing: str) -> Callable[[Any], str]:
    if kind == "text":
        return lambda value: missing if value is None else value
    return lambda value: missing if value is None else str(name_category(value))
