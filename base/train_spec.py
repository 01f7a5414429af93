"""The definition of the train step: what is fitted, and what is tried."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from base.documents import as_document
from base.section import Section, Whole

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def _import_path(value: str) -> str:
    if _IMPORT_PATH.fullmatch(value) is None:
        raise ValueError("expected an import path, such as 'sklearn.ensemble.HistGradientBoostingClassifier'")
    return value


def _plain_parameters(value: dict[str, Any]) -> dict[str, Any]:
    # What YAML can hold and JSON cannot (a date, .inf) would come back from the registry as something else.
    if as_document(value) != value:
        raise ValueError("expected text, finite numbers, true, false, null, lists and objects")
    return value


class EstimatorSpec(Section):
    """One estimator to try."""

    estimator: Annotated[str, AfterValidator(_import_path)]
    parameters: Annotated[dict[str, Any], AfterValidator(_plain_parameters)] = Field({})


class TrainSpec(Section):
    """What is fitted; without estimators, gradient boosting with its usual parameters."""

    estimators: tuple[EstimatorSpec, ...] = ()
    seed: Whole = Field(0, ge=0, lt=2**32)
