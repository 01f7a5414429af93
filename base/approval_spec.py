"""The definition of approval: who must agree before a challenger serves, and for how long they are asked."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, model_validator

from base.section import NOTHING, Section, Whole
from base.times import Duration


class ApprovalSpec(Section):
    """People who are asked after the gate has said yes; whoever asked for the training is not among them."""

    needed: Whole = Field(1, ge=1, le=10, description="How many people must approve; one who rejects is enough.")
    approvers: tuple[str, ...] = Field((), description="Who may answer; empty: anybody but the requester.")
    expires: Duration = Field(timedelta(days=2), gt=NOTHING, description="Without an answer the champion stays.")

    @model_validator(mode="after")
    def _enough_people(self) -> ApprovalSpec:
        if self.approvers and len(set(self.approvers)) < self.needed:
            raise ValueError(f"needed: {self.needed}, but approvers names {len(set(self.approvers))}")
        return self
