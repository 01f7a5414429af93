"""How predictions are served: section `serve` of the definition."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from base.log_spec import LogSpec
from base.rollout_spec import RolloutSpec
from base.section import Fraction, Section, one_or_more


class ServeSpec(Section):
    """How predictions are served."""

    threshold: Fraction = Field(0.5, gt=0, lt=1, description="From which probability the second class is predicted.")
    key: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = Field(
        (), description="Columns that say whom or what a row is about; one key always gets the same arm of a rollout."
    )
    rollout: RolloutSpec = Field(RolloutSpec(), description="How a new version is let in by `everfit rollout start`.")
    log: LogSpec = Field(LogSpec(), description="How predictions are logged, and for how long they are kept.")
