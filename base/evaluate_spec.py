"""The definition of the evaluate step: what is measured, and on which slices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from base.section import Fraction, Section, Whole, is_function

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_METRIC_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

MEASURED = frozenset(
    {
        *("log_loss", "accuracy", "brier", "calibration_error", "roc_auc", "average_precision", "f1", "positive_share"),
        *("macro_f1", "macro_roc_auc", "mae", "rmse", "r2", "mape", "mean_error", "cost"),
    }
)
"""The names of Everfit's own metrics; ``pinball_<q>`` is another."""


def _metric_function(value: str) -> str:
    if not is_function(value) and _IMPORT_PATH.fullmatch(value) is None:
        raise ValueError("expected module:function of your own code, or an import path of a library's function")
    return value


def _metric_name(value: str) -> str:
    if _METRIC_NAME.fullmatch(value) is None:
        raise ValueError("expected a name in lower case, such as 'weighted_error'")
    return value


def _class_names(value: object) -> object:
    """Write the classes of a matrix as text: YAML reads true, 1 and 'late' as three types."""
    if not isinstance(value, Mapping):
        return value
    return {
        name_class(actual): {name_class(predicted): cost for predicted, cost in row.items()}
        if isinstance(row, Mapping)
        else row
        for actual, row in value.items()
    }


def _each_once(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(value)) < len(value):
        raise ValueError("expected each once")
    return value


def name_class(value: object) -> str:
    """Name a class as a definition does; a key true of YAML may come as the text True.

    Examples
    --------
    >>> name_class(True), name_class("True"), name_class(1.0), name_class(2.5), name_class("late")
    ('true', 'true', '1', '2.5', 'late')
    """
    if isinstance(value, bool) or value in ("True", "False"):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


class MetricSpec(Section):
    """A metric of the user's own: a function ``(target, prediction) -> float``."""

    function: Annotated[str, AfterValidator(_metric_function)]
    name: Annotated[str, AfterValidator(_metric_name)] | None = None
    lower_is_better: bool
    takes: Literal["answers", "probabilities"] = Field(
        "answers", description="Of classes: the predicted class, or the probability (of the second class, or of each)."
    )
    draws: Whole = Field(50, ge=0, le=10_000, description="Resamples for its interval; 0: none.")

    @model_validator(mode="before")
    @classmethod
    def _better_is_told_once(cls, document: Any) -> Any:
        if isinstance(document, str):
            raise ValueError(
                f"say which way is better: {{function: {document}, lower_is_better: true}}, or higher_is_better: true"
            )
        if isinstance(document, Mapping) and "higher_is_better" in document:
            if "lower_is_better" in document:
                raise ValueError("give higher_is_better or lower_is_better, not both")
            rest = {name: value for name, value in document.items() if name != "higher_is_better"}
            higher = document["higher_is_better"]
            return rest | {"lower_is_better": not higher if isinstance(higher, bool) else higher}
        return document

    @property
    def metric(self) -> str:
        """The metric's name: as declared, else the function's.

        Examples
        --------
        >>> MetricSpec(function="sklearn.metrics.matthews_corrcoef", lower_is_better=False).metric
        'matthews_corrcoef'
        """
        return self.name or re.split(r"[.:]", self.function)[-1].lower()


class CostSpec(Section):
    """What wrong answers cost: by class, or for each unit too much and too little."""

    matrix: Annotated[dict[str, dict[str, Fraction]], BeforeValidator(_class_names)] | None = Field(
        None, description="The cost of an answer, by actual and predicted class; a right answer costs 0 unless given."
    )
    over: Fraction | None = Field(None, ge=0, description="For each unit that the prediction is above the target.")
    under: Fraction | None = Field(None, ge=0, description="For each unit that it is below.")

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> CostSpec:
        if (self.matrix is None) == (self.over is None and self.under is None):
            raise ValueError("expected either matrix (classes), or over and under (values)")
        if self.matrix is None and (self.over is None or self.under is None):
            raise ValueError("expected both over and under; one that costs nothing is 0")
        return self


class EvaluateSpec(Section):
    """What is measured."""

    slices: tuple[str, ...] = Field((), description="Columns whose values cut the test rows into slices.")
    find_slices: bool = Field(True, description="Look for the slices where the model is worst.")
    fairness: Annotated[tuple[str, ...], AfterValidator(_each_once)] = Field(
        (), description="Columns whose groups are compared, beside those that the contract marks sensitive."
    )
    metrics: tuple[MetricSpec, ...] = Field((), description="Functions (target, prediction) -> float.")
    costs: CostSpec | None = Field(None, description="Gives the metric cost: the mean cost of a row.")
    quantiles: Annotated[tuple[Annotated[Fraction, Field(gt=0, lt=1)], ...], AfterValidator(_each_once)] = Field(
        (), description="Gives pinball_<q>: the loss of the prediction as that quantile of the target."
    )
    draws: Whole = Field(1_000, ge=0, le=100_000, description="Resamples for intervals; 0: no intervals.")
    confidence: Fraction = Field(0.95, gt=0.5, lt=1)
    importance: bool = Field(True, description="Permutation importance of each feature.")
    partial_dependence: Whole = Field(6, ge=0, le=50, description="Of how many features, the most important first.")
    explained_rows: Whole | None = Field(
        None, ge=10, description="Rows on which features are explained; default: about 40,000 predictions in all."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> EvaluateSpec:
        names = [metric.metric for metric in self.metrics]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"metrics has {twice[0]!r} twice; give one of them another name")
        if taken := sorted(name for name in names if name in MEASURED or name.startswith("pinball_")):
            raise ValueError(f"metrics has {taken[0]!r}, which Everfit measures itself; give it another name")
        if 0 < self.draws < 100:
            raise ValueError(f"draws is {self.draws}, expected at least 100, or 0 for no intervals")
        return self

    def find_misfit(self, task: str) -> str | None:
        """Say what of it means nothing for a task, if anything does."""
        if task == "regression":
            if self.costs is not None and self.costs.matrix is not None:
                return "evaluate.costs.matrix is for classes; for values give evaluate.costs.over and under"
            if any(metric.takes == "probabilities" for metric in self.metrics):
                return "evaluate.metrics takes probabilities, which values do not have; leave takes out"
            return None
        if self.quantiles:
            return "evaluate.quantiles is for values, but task is 'classification'"
        if self.costs is not None and self.costs.matrix is None:
            return "evaluate.costs.over and under are for values; for classes give evaluate.costs.matrix"
        return None
