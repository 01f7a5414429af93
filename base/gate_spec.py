"""The definition of the gate: when a challenger may replace the champion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from base.section import Fraction, Section


class ValidateModelSpec(Section):
    """When a challenger may replace the champion."""

    confidence: Fraction = Field(0.95, gt=0.5, lt=1)
    cannot_tell: Literal["champion", "fresher", "auto"] = "auto"
    max_slice_regression: Fraction | None = Field(
        None, gt=0, description="Largest relative rise of the loss in any declared slice."
    )
