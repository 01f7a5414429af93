"""How many labels have come since the last training: what `min_new_labels` of the definition asks."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from base.triggers_spec import TriggersSpec
from monitoring.circumstances import find_last_training
from registry.store import Registry


def count_new_labels(
    home: Path, pipeline: str, registry: Registry, spec: TriggersSpec, *, moment: datetime, now: datetime
) -> int | None:
    """Count the labels that were observed after what the last training saw, and until *moment*.

    A label that was corrected since counts again. None where the definition does not ask, or nothing was trained yet.
    """
    if spec.min_new_labels == 0:
        return None
    with registry.database.read() as session:
        last = find_last_training(session, pipeline, now=now)
    if last is None:
        return None
    from serving.labels.reading import read_label_versions

    observed = read_label_versions(home, pipeline, registry=registry)["observed_at"]
    return int(((observed > last.seen) & (observed <= moment)).sum())
