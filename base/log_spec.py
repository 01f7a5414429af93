"""How the predictions of a pipeline's model are logged: part `log` of section `serve`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from base.section import NOTHING, Fraction, Section, Whole
from base.times import Duration

Durability = Literal["fsync", "flush", "sampled"]
"""What an acknowledged prediction has outlived; see :class:`LogSpec`."""

OnFull = Literal["refuse", "go_on"]
"""What becomes of answers that the log cannot take."""


class LogSpec(Section):
    """How predictions are logged, and for how long they are kept.

    With ``fsync`` a prediction is on disk before it is answered, with ``flush`` the operating system has it, so that
    it survives the death of the service and not a loss of power. With ``sampled`` a share of the rows is logged, as
    by ``flush``; which ones depends on their ids alone.

    Examples
    --------
    >>> LogSpec(durability="sampled", sample=0.1).sample
    0.1
    """

    durability: Durability | None = Field(None, description="fsync, flush or sampled; default: EVERFIT_LOG_DURABILITY.")
    sample: Fraction | None = Field(None, gt=0, le=1, description="Share of the rows to log; with sampled.")
    on_full: OnFull | None = Field(
        None, description="When the disk takes no more: refuse to answer, or go_on; default: EVERFIT_LOG_ON_FULL."
    )
    keep_for: Duration | None = Field(None, gt=NOTHING, description="How long predictions and labels are kept.")
    keep_bytes: Whole | None = Field(None, ge=1, description="How many bytes of them are kept; the oldest go first.")

    @model_validator(mode="after")
    def _a_sample_is_declared(self) -> LogSpec:
        if self.durability == "sampled" and self.sample is None:
            raise ValueError("durability is 'sampled', expected the share beside it, such as 'sample: 0.1'")
        if self.durability != "sampled" and self.sample is not None:
            raise ValueError(f"sample is {self.sample:g}, which needs 'durability: sampled' beside it")
        return self
