"""The definition of a pipeline: one section for each step, in the order and words of the loop."""

from __future__ import annotations

from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from base.contract import DataContract
from base.evaluate_spec import EvaluateSpec
from base.extract_spec import ExtractSpec
from base.gate_spec import ValidateModelSpec
from base.monitor_spec import MonitorSpec
from base.section import Fraction, Section, Whole, is_function, one_or_more
from base.serve_spec import ServeSpec
from base.times import describe_duration, parse_duration
from base.train_spec import TrainSpec
from base.triggers_spec import TriggersSpec
from base.view_spec import ViewSpec


def _function(value: str) -> str:
    if not is_function(value):
        raise ValueError("expected module:function, such as 'features:add_calendar'")
    return value


def _ranks(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) < 2 or len(set(value)) < len(value):
        raise ValueError("expected two values or more, each once, from the lowest to the highest")
    return value


Gap = Annotated[
    timedelta | None,
    BeforeValidator(lambda value: None if value == "auto" else parse_duration(value)),
    PlainSerializer(lambda gap: "auto" if gap is None else describe_duration(gap), when_used="json"),
]
"""A duration, or None for auto."""


class Target(Section):
    """A target that is computed from columns, such as ``tips > 0.2 * fare``."""

    name: str
    expression: str


class ValidateDataSpec(Section):
    """What the rows must be."""

    contract: str | None = Field(None, description="The contract's file, beside the definition.")
    min_rows: Whole = Field(100, ge=1)
    max_quarantined_share: Fraction = Field(0.05, ge=0, le=1)


class SplitSpec(Section):
    """How much of the newest data judges the model, and what keeps the parts apart."""

    validation: Fraction = Field(0.15, gt=0, lt=1)
    test: Fraction = Field(0.15, gt=0, lt=1)
    gap: Gap = Field(None, description="Before a part begins, rows so new are left out; auto: extract.label_delay.")
    groups: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = Field(
        (), description="Columns that name a group together, such as a customer; no group lies in two parts."
    )

    @model_validator(mode="after")
    def _something_is_left(self) -> SplitSpec:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test = {self.validation + self.test:g} leaves no rows to train on")
        return self


class PrepareSpec(Section):
    """What the estimator sees of a row."""

    views: tuple[ViewSpec, ...] = Field((), description="Feature views to join before the functions are called.")
    features: tuple[Annotated[str, AfterValidator(_function)], ...] = ()
    fitted: tuple[Annotated[str, AfterValidator(_function)], ...] = Field(
        (), description="Classes with fit(frame, target) and transform(frame), fitted on the rows to learn from."
    )
    exclude: tuple[str, ...] = Field((), description="Columns that never reach an estimator: leaks, identifiers.")
    numeric: tuple[str, ...] = Field((), description="Columns to take as quantities, whatever their type.")
    categorical: tuple[str, ...] = Field((), description="Columns to take as categories, whatever their type.")
    ordinal: dict[str, Annotated[tuple[str, ...], AfterValidator(_ranks)]] = Field(
        {}, description="Columns of ranked categories, each with its values from the lowest to the highest."
    )
    one_hot: tuple[str, ...] = Field((), description="Categories of which each gets a column, whatever the estimator.")
    split: SplitSpec = SplitSpec()

    @model_validator(mode="after")
    def _a_column_has_one_kind(self) -> PrepareSpec:
        for one, other in combinations(("numeric", "categorical", "ordinal", "one_hot", "exclude"), 2):
            if both := sorted(set(getattr(self, one)) & set(getattr(self, other))):
                raise ValueError(f"{', '.join(map(repr, both))} stands in {one} and in {other}")
        return self


class PipelineSpec(Section):
    """A pipeline, declared once."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    description: str = ""
    owner: str = ""
    task: Literal["classification", "regression"]
    target: str | Target
    time: str | None = None
    extract: ExtractSpec
    validate_data: ValidateDataSpec = ValidateDataSpec()
    prepare: PrepareSpec = PrepareSpec()
    train: TrainSpec = TrainSpec()
    evaluate: EvaluateSpec = EvaluateSpec()
    validate_model: ValidateModelSpec = ValidateModelSpec()
    serve: ServeSpec = ServeSpec()
    monitor: MonitorSpec = MonitorSpec()
    triggers: TriggersSpec = TriggersSpec()

    @property
    def target_column(self) -> str:
        """The column that is predicted."""
        return self.target if isinstance(self.target, str) else self.target.name

    @model_validator(mode="after")
    def _target_is_no_feature(self) -> PipelineSpec:
        if self.time is None and self.prepare.split.gap:
            raise ValueError("prepare.split.gap needs key 'time', which says when a row happened")
        for kind in ("numeric", "categorical", "ordinal", "one_hot"):
            if self.target_column in getattr(self.prepare, kind):
                raise ValueError(f"the target {self.target_column!r} stands in prepare.{kind}")
        if misfit := self.evaluate.find_misfit(self.task):
            raise ValueError(misfit)
        return self


class Pipeline(BaseModel):
    """A definition with all that belongs to it: its contract, the user's code and ``card.md`` beside it."""

    model_config = ConfigDict(frozen=True)

    spec: PipelineSpec
    contract: DataContract | None
    file: Path
    code: dict[str, bytes]
    card: str | None = None

    @property
    def name(self) -> str:
        """The pipeline's name, which is its model's name too."""
        return self.spec.name

    @property
    def folder(self) -> Path:
        """Where relative paths of the definition start."""
        return self.file.parent
