"""The definition of the evaluate step: what is measured, and on which slices."""

from __future__ import annotations

from pydantic import Field

from base.section import Section


class EvaluateSpec(Section):
    """What is measured."""

    slices: tuple[str, ...] = Field((), description="Columns whose values cut the test rows into slices.")
