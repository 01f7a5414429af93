"""The definition of the train step: what is fitted, what is tried, and on how much of the past."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from base.documents import as_document
from base.section import NOTHING, Fraction, Section, Whole
from base.times import Duration, describe_duration, parse_duration

RACED_PARTS = (2, 4)
"""Where the window is ``auto``, all history races its newest half and its newest quarter."""

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_ROWS = re.compile(r"(\d[\d,_]*)\s*rows?")


def _import_path(value: str) -> str:
    if _IMPORT_PATH.fullmatch(value) is None:
        raise ValueError("expected an import path, such as 'sklearn.ensemble.HistGradientBoostingClassifier'")
    return value


def _plain_parameters(value: dict[str, Any]) -> dict[str, Any]:
    # What YAML can hold and JSON cannot (a date, .inf) would come back from the registry as something else.
    if as_document(value) != value:
        raise ValueError("expected text, finite numbers, true, false, null, lists and objects")
    return value


class TrainingWindow(Section):
    """How much of the past is learnt from: the newest *rows*, those of the newest *span* of time, or all of it.

    Examples
    --------
    >>> [str(TrainingWindow.read(text)) for text in ("expanding", "5,000 rows", "90 days")]
    ['expanding', '5000 rows', '90 days']
    """

    rows: Whole | None = Field(None, ge=1)
    span: Duration | None = Field(None, gt=NOTHING)

    @model_validator(mode="after")
    def _one_measure(self) -> TrainingWindow:
        if self.rows is not None and self.span is not None:
            raise ValueError("a window has rows or a span, not both")
        return self

    @classmethod
    def read(cls, text: str) -> TrainingWindow:
        """Read a window as people write it.

        Raises
        ------
        ValueError
            If it is neither ``expanding``, nor a number of rows, nor a duration.
        """
        if text == "expanding":
            return cls()
        if match := _ROWS.fullmatch(text.strip()):
            return cls(rows=int(match[1].replace(",", "").replace("_", "")))
        try:
            span = parse_duration(text)
        except ValueError as error:
            message = (
                f"expected auto, expanding, a number of rows ('50,000 rows') or a duration ('90 days'), got {text!r}"
            )
            raise ValueError(message) from error
        assert isinstance(span, timedelta)
        return cls(span=span)

    def __str__(self) -> str:
        """Write the window as :meth:`read` takes it."""
        if self.rows is not None:
            return f"{self.rows} rows"
        return "expanding" if self.span is None else describe_duration(self.span)


def _read_window(value: object) -> object:
    if value == "auto":
        return None
    return TrainingWindow.read(value) if isinstance(value, str) else value


WindowKey = Annotated[
    TrainingWindow | None,
    BeforeValidator(_read_window),
    PlainSerializer(lambda window: "auto" if window is None else str(window), when_used="json"),
]
"""A training window, or None for auto."""


class Range(Section):
    """Values of one parameter between two bounds, both included; evenly, or evenly in the logarithm."""

    low: Fraction
    high: Fraction
    log: bool = Field(False, description="Draw evenly in the logarithm: for what is multiplied, not added.")
    int: bool = Field(False, description="Whole numbers only.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} has no logarithm; expected more than 0 where log is true")
        if self.int and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("low and high are whole numbers where int is true")
        return self


def _values(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if not value:
        raise ValueError("expected at least one value")
    return tuple(_plain_parameters({"values": list(value)})["values"])


SearchSpace = dict[str, Range | Annotated[tuple[Any, ...], AfterValidator(_values)]]
"""What may be drawn for each parameter: a list of values, or a range."""


class EstimatorSpec(Section):
    """One estimator to try; *search* says which of its parameters are drawn, and from what."""

    estimator: Annotated[str, AfterValidator(_import_path)]
    parameters: Annotated[dict[str, Any], AfterValidator(_plain_parameters)] = Field({})
    search: SearchSpace = Field({}, description="Lists of values, or ranges: {low: 0.01, high: 0.3, log: true}.")

    @model_validator(mode="after")
    def _a_parameter_is_fixed_or_drawn(self) -> EstimatorSpec:
        if both := sorted(set(self.parameters) & set(self.search)):
            raise ValueError(
                f"{', '.join(map(repr, both))} stands in parameters and in search; a parameter has one place"
            )
        return self


class SearchSpec(Section):
    """How candidates are drawn and compared, and what that may cost."""

    method: Literal["random", "halving"] = "random"
    fits: Whole = Field(60, ge=1, description="Most fits of the comparison; one for each candidate and fold.")
    seconds: Fraction | None = Field(
        None, gt=0, description="Most seconds of the comparison; it keeps the best so far."
    )
    folds: Whole = Field(3, ge=1, le=20, description="Stretches of time that a candidate is judged on.")
    resource: Literal["rows", "iterations"] = Field("rows", description="What halving begins with little of.")


class TrainSpec(Section):
    """What is fitted; without estimators, gradient boosting with its usual parameters."""

    estimators: tuple[EstimatorSpec, ...] = ()
    search: SearchSpec | None = Field(None, description="Compare over folds in time, within a budget.")
    window: WindowKey = Field(None, description="expanding, '50,000 rows', '90 days', or auto: a race of windows.")
    fit_seconds: Fraction | None = Field(None, gt=0, description="A fit that takes longer is ended, and has failed.")
    seed: Whole = Field(0, ge=0, lt=2**32)

    @property
    def is_search(self) -> bool:
        """Tell whether parameters are drawn, or candidates compared over folds."""
        return self.search is not None or any(estimator.search for estimator in self.estimators)
