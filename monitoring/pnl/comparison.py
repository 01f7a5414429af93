"""Two versions on the same rows: what the one that served has lost, and what the one before it would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.class_codes import encode_labels
from base.errors import EverfitError
from base.signatures import SigningKeys
from monitoring.monitored_version import MonitoredVersion
from monitoring.performance import is_comparable, read_answers
from monitoring.pnl.accounts import ComparedReign
from monitoring.pnl.gains import make_blocks
from monitoring.pnl.served_rows import RegisteredReign, ReignRows
from monitoring.policies.loss_units import unit_losses
from registry.manifest import ModelManifest
from registry.models import find_version
from registry.signed_versions import read_version
from registry.store import Registry
from serving.log.frames import shown_name
from serving.log.traffic import read_traffic
from serving.scoring.loaded import load_scorer

Floats = npt.NDArray[np.float64]

MOST_ROWS = 10_000
"""Labelled rows of a reign that are compared; of more, an even selection in the order of time."""

_MOMENT = timedelta(microseconds=1)


class NotComparable(EverfitError):
    """A reign whose rows cannot be held against the version before it."""


@dataclass(frozen=True)
class Versions:
    """The versions of a model, to be asked again.

    Attributes
    ----------
    keys : SigningKeys
        What was not signed by them is not loaded; one without a signature only where none is *required*.
    trusted : sequence of str
        Types beyond the allow-list that a model file may hold.
    """

    registry: Registry
    home: Path
    model: str
    keys: SigningKeys
    is_signature_required: bool
    trusted: Sequence[str] = ()

    def read(self, number: int) -> ModelManifest:
        """Read a version's manifest, checked.

        Raises
        ------
        NotComparable
            If its files were deleted.
        SignatureRefused
        """
        with self.registry.database.read() as session:
            version = find_version(session, self.model, number)
        if version is None or version.deleted_at is not None:
            raise NotComparable(f"the files of version {number}, which was there before, were deleted")
        return read_version(version, self.keys, required=self.is_signature_required)

    def answer(self, number: int, manifest: ModelManifest, rows: pd.DataFrame) -> Floats:
        """Let a version answer logged rows, as :func:`base.metrics.measure` takes answers.

        Raises
        ------
        NotComparable
            If it needs inputs that the rows do not have.
        ModelFileRefused, ModelDisagrees, ArtifactMissing, ArtifactCorrupt, UserCodeError
        """
        missing = [name for name in manifest.plan.inputs if shown_name(name) not in rows]
        if missing:
            raise NotComparable(
                f"version {number}, which was there before, needs inputs that were not sent any more: "
                f"{', '.join(missing)}"
            )
        version = MonitoredVersion(number, manifest, self.registry.artifacts, trusted=self.trusted)
        scorer = load_scorer(self.registry.artifacts, manifest, trusted=self.trusted, compiled=True)
        return scorer.predict_features(version.build_features(rows))


def compare_reign(
    reign: RegisteredReign,
    rows: ReignRows,
    versions: Versions,
    *,
    shadows: pd.DataFrame,
    full: float,
    most_rows: int = MOST_ROWS,
) -> ComparedReign:
    """Hold what a version answered in a reign against what the version before it answers on the same rows.

    Where that one ran as a shadow, what it answered then counts; the other rows it is asked again, from the log.

    Parameters
    ----------
    shadows : DataFrame
        As :class:`monitoring.pnl.served_rows.ServedRows` has them.
    full : float
        A full loss, for values; see :func:`monitoring.policies.loss_units.unit_losses`.
    """
    found: dict[str, Any] = {}
    try:
        if reign.previous is None:
            raise NotComparable("it was the first: there was no version before it")
        if len(rows.labelled):
            found = _compare(reign, reign.previous, rows, versions, shadows, full, most_rows)
    except EverfitError as error:
        # Of one reign; the others can still be told.
        found = {"trouble": str(error)}
    return ComparedReign(
        version=reign.version,
        previous=reign.previous,
        since=reign.since,
        until=reign.until,
        kind="rollback" if reign.is_rollback else "promotion",
        reason=reign.reason,
        n_pending=rows.n_pending,
        matures_at=rows.matures_at,
        **found,
    )


def _compare(
    reign: RegisteredReign,
    number: int,
    rows: ReignRows,
    versions: Versions,
    shadows: pd.DataFrame,
    full: float,
    most_rows: int,
) -> dict[str, Any]:
    previous = versions.read(number)
    with versions.registry.database.read() as session:
        version = find_version(session, versions.model, reign.version)
    assert version is not None  # an alias points at a version, by a foreign key
    own = ModelManifest.model_validate(version.manifest)
    if own.task != previous.task:
        raise NotComparable(f"version {number}, which was there before, answers another question ({previous.task})")
    labelled = rows.labelled[is_comparable(rows.labelled, own.classes)]
    if labelled.empty:
        return {}
    chosen = labelled
    if len(labelled) > most_rows:
        chosen = labelled.iloc[np.linspace(0, len(labelled) - 1, most_rows).astype(np.intp)]
    before, n_answered = _answers_before(reign, number, previous, chosen, versions, shadows)
    gaps = _losses(previous, chosen, before, full) - _losses(own, chosen, read_answers(chosen, own.classes), full)
    return {
        "blocks": make_blocks(gaps, chosen["window"].to_numpy(dtype=np.int64), rows.shares),
        "n_rows": len(labelled),
        "n_compared": len(chosen),
        "n_answered": n_answered,
    }


def _losses(manifest: ModelManifest, rows: pd.DataFrame, answers: Floats, full: float) -> Floats:
    target = encode_labels(rows["value"], manifest.classes)
    return unit_losses(manifest.task, target, answers, full=full, threshold=manifest.threshold)


def _answers_before(
    reign: RegisteredReign,
    number: int,
    previous: ModelManifest,
    rows: pd.DataFrame,
    versions: Versions,
    shadows: pd.DataFrame,
) -> tuple[Floats, int]:
    """Return the version before's answers to rows, and how many of them it was asked again for."""
    logged = shadows.reindex(pd.MultiIndex.from_product([[number], rows["id"]]))
    was_shadow = logged["prediction"].notna().to_numpy()
    if was_shadow.all():
        return read_answers(logged, previous.classes), 0
    asked = rows["id"][~was_shadow]
    again = versions.answer(number, previous, _read_inputs(reign, rows[~was_shadow], versions))
    if not was_shadow.any():
        return again, len(asked)
    told = read_answers(logged[was_shadow], previous.classes)
    answers = np.empty((len(rows), *told.shape[1:]))
    answers[was_shadow], answers[~was_shadow] = told, again
    return answers, len(asked)


def _read_inputs(reign: RegisteredReign, rows: pd.DataFrame, versions: Versions) -> pd.DataFrame:
    """Read the logged inputs of rows, in their order."""
    traffic = read_traffic(
        versions.home,
        versions.model,
        start=rows["event_time"].min().to_pydatetime(),
        stop=rows["event_time"].max().to_pydatetime() + _MOMENT,
        registry=versions.registry,
        since=reign.since,
        choose=lambda moved: [segment for segment in moved if segment.version == reign.version],
    )
    traffic = traffic[traffic["version"] == reign.version].drop_duplicates("id").set_index("id")
    return traffic.loc[rows["id"]].reset_index()
