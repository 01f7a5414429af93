"""How far a source had been read: a moment or a whole number."""

from __future__ import annotations

from base.errors import DefinitionError
from base.pipeline import Pipeline
from base.sources.cuts import Watermark
from base.times import describe_duration


def check_lateness(pipeline: Pipeline, watermark: Watermark | None) -> None:
    """Refuse a lateness, which is a duration, beside a watermark that is a whole number.

    Raises
    ------
    DefinitionError
    """
    incremental = pipeline.spec.extract.incremental
    if incremental is not None and incremental.lateness and isinstance(watermark, int):
        raise DefinitionError(
            f"watermark {incremental.watermark!r} holds whole numbers, such as {watermark}, and a lateness of "
            f"{describe_duration(incremental.lateness)} cannot be counted back from one; name a column of moments as "
            "the watermark, or take the lateness out",
            file=str(pipeline.file),
            key="extract.incremental.lateness",
        )
