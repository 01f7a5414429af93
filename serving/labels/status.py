"""The state of a model's labels: how many predictions wait, are due, have their label, and what was said twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from base.times import as_utc
from registry.store import Registry
from serving.labels.matured import matured_rows, measure_coverage
from serving.labels.reading import read_served, read_stored_labels, resolve_keys
from serving.labels.stored import write_value


@dataclass(frozen=True)
class LabelStatus:
    """How a model's labels stand at a moment.

    ``n_served`` = ``n_waiting`` (before their horizon) + ``n_matured``; of the matured ones ``n_labelled`` have a label
    that was known at *until*. ``n_early`` of the waiting ones have one already; it is not judged by yet. ``n_late``
    labels were first observed after horizon and grace, ``n_corrected`` predictions had another value before,
    ``n_unknown`` have a label and are in no segment that can be read, ``n_unmatched`` labels name a key that fits no
    prediction (yet).
    ``days`` is as :func:`serving.labels.matured.measure_coverage` gives it.
    """

    model: str
    until: datetime
    label_delay: timedelta
    n_served: int
    n_waiting: int
    n_early: int
    n_matured: int
    n_labelled: int
    n_versions: int
    n_corrected: int
    n_late: int
    n_unknown: int
    n_unmatched: int
    days: pd.DataFrame

    @property
    def coverage(self) -> float | None:
        """The share of matured predictions that have their label; None where none is matured."""
        return self.n_labelled / self.n_matured if self.n_matured else None


def read_label_status(
    home: Path,
    model: str,
    *,
    label_delay: timedelta,
    grace: timedelta,
    until: datetime,
    registry: Registry | None = None,
) -> LabelStatus:
    """Count a model's predictions and labels as they stood at *until*.

    Raises
    ------
    SegmentDamaged, ArtifactMissing, ArtifactCorrupt
    """
    moment = pd.Timestamp(as_utc(until))
    versions, waiting_keys = read_stored_labels(home, model, registry=registry)
    matched = resolve_keys(home, model, waiting_keys, registry=registry) if len(waiting_keys) else versions.head(0)
    versions = pd.concat([versions, matched], ignore_index=True) if len(matched) else versions
    versions = versions[versions["observed_at"] <= moment]
    served = read_served(home, model, registry=registry)
    served = served[served["event_time"] <= moment]
    matured = matured_rows(served, versions, label_delay=label_delay, until=until)
    known = set(versions["id"])
    waiting = served[~served["id"].isin(matured["id"])]
    first = versions.groupby("id")["observed_at"].min()
    due = served.set_index("id")["event_time"] + pd.Timedelta(label_delay + grace)
    values = versions.assign(value=[write_value(value) for value in versions["value"]])
    return LabelStatus(
        model=model,
        until=until,
        label_delay=label_delay,
        n_served=len(served),
        n_waiting=len(waiting),
        n_early=int(waiting["id"].isin(known).sum()),
        n_matured=len(matured),
        n_labelled=int(matured["is_labelled"].sum()),
        n_versions=len(versions),
        n_corrected=int((values.groupby("id")["value"].nunique() > 1).sum()),
        n_late=int((first > due.reindex(first.index)).sum()),
        n_unknown=len(known - set(served["id"])),
        n_unmatched=int((~waiting_keys.index.isin(matched.index)).sum()),
        days=measure_coverage(matured),
    )
