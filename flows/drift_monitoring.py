"""Drift monitoring: check the windows that are due, and ask for a training where one is called for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow

from base.times import as_utc, utc_now
from tasks.drift_detection import detect_drift_step


@flow(name="drift-monitoring", flow_run_name="monitor {pipeline}")
def drift_monitoring(pipeline: str, until: datetime | None = None) -> dict[str, Any]:
    """Check each window of served traffic that is over and labelled, once.

    Args:
        pipeline: The name of a registered pipeline, or the path of its definition.
        until: The moment from which to look; empty: now.
    """
    moment = utc_now() if until is None else as_utc(until)
    return {"pipeline": pipeline, "windows": detect_drift_step(pipeline, moment)}
