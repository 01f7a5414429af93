"""Section `monitor` of the definition: when the served model is doubted."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from base.section import NOTHING, Fraction, Section, Whole
from base.times import Duration


class MonitorSpec(Section):
    """When the served model is doubted."""

    window: Duration = Field(timedelta(days=7), gt=NOTHING)
    min_rows: Whole = Field(200, ge=1)
    max_drifted_share: Fraction = Field(0.5, gt=0, le=1)
    max_loss_increase: Fraction = Field(0.1, gt=0, description="Relative to the loss on the test rows at promotion.")
