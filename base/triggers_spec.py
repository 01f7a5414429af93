"""Section `triggers` of the definition: what starts a training, beside a person."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from base.schedules import check_cron, check_timezone
from base.section import NOTHING, Section
from base.times import Duration


class TriggersSpec(Section):
    """What starts a training, beside a person."""

    schedule: Annotated[str, AfterValidator(check_cron)] | None = None
    timezone: Annotated[str, AfterValidator(check_timezone)] = "UTC"
    cooldown: Duration = Field(NOTHING, ge=NOTHING)
