"""The definition of the gate: when a challenger may replace the champion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from base.approval_spec import ApprovalSpec
from base.section import Fraction, Section, Whole


class Limit(Section):
    """Bounds of a figure; at least one of the two."""

    at_least: Fraction | None = None
    at_most: Fraction | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Limit:
        if self.at_least is None and self.at_most is None:
            raise ValueError("expected at_least, at_most or both")
        return self


class ChangeLimit(Limit):
    """Bounds of challenger minus champion, with ``relative`` as a share of the champion's figure."""

    relative: bool = False


class FairnessLimit(Section):
    """How far apart the groups of a column may lie in one metric."""

    column: str
    metric: str
    at_most: Fraction = Field(ge=0, description="Largest gap between two groups.")
    max_rise: Fraction | None = Field(None, ge=0, description="Largest rise of the gap over the champion's.")


class ValidateModelSpec(Section):
    """When a challenger may replace the champion."""

    confidence: Fraction = Field(0.95, gt=0.5, lt=1)
    effect: Fraction = Field(
        0.01, gt=0, lt=1, description="Fall of the champion's loss, as a share of it, that is worth a promotion."
    )
    power: Fraction = Field(0.8, gt=0.5, lt=1, description="How surely a difference of that size shall be seen.")
    cannot_tell: Literal["champion", "fresher", "auto"] = "auto"
    refits: Whole = Field(
        3,
        ge=0,
        le=20,
        description="Fits with other seeds that tell luck from merit; 0: the models as they are.",
    )
    baselines: tuple[Literal["majority", "mean", "last value"], ...] = Field(
        (), description="What a first model must beat beside the classes' shares or the median."
    )
    deploy: Literal["full", "sibling"] = Field(
        "full", description="What serves after a yes: the recipe fitted on all rows, or the very model that was judged."
    )
    floors: dict[str, Limit] = Field({}, description="Bounds of the challenger's own metrics.")
    changes: dict[str, ChangeLimit] = Field({}, description="Bounds of the metrics' change against the champion.")
    max_slice_regression: Fraction | None = Field(
        None, gt=0, description="Largest relative rise of the loss in any slice; tested in all slices together."
    )
    slices: tuple[str, ...] = Field(
        (), description="Slices that must not regress: 'column' or 'column = value'; empty: all that are declared."
    )
    found_slices: bool = Field(False, description="Hold the automatically found slices to that limit too.")
    slice_correction: Literal["holm", "benjamini-hochberg"] = "holm"
    fairness: tuple[FairnessLimit, ...] = ()
    max_churn: Fraction | None = Field(
        None, gt=0, description="Largest share of rows whose answer changes; of values, their relative change."
    )
    max_latency_ms: Fraction | None = Field(None, gt=0, description="Budget of one row's prediction, 95th percentile.")
    max_size_mb: Fraction | None = Field(None, gt=0, description="Budget of the model's files.")
    approval: ApprovalSpec | None = Field(None, description="People who must agree after the gate has said yes.")

    @model_validator(mode="after")
    def _slices_have_a_limit(self) -> ValidateModelSpec:
        if self.max_slice_regression is None and (self.slices or self.found_slices):
            raise ValueError("slices and found_slices need max_slice_regression, the rise that is allowed")
        return self
