"""The event by which anybody asks for a training in Prefect, and the resource that it is about."""

from __future__ import annotations

RETRAIN_EVENT = "everfit.retrain.requested"


def pipeline_resource(pipeline: str) -> str:
    """Name a pipeline as the resource of its events."""
    return f"everfit.pipeline.{pipeline}"
