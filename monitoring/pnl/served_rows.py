"""The served rows of a pipeline: in which reign each was answered, in which window it lies, what came true of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import func
from sqlmodel import Session, col, select

from base.monitor_spec import RowCount
from base.times import as_utc
from monitoring.pnl.window_grid import WindowGrid
from registry.models import CHAMPION, ROLLBACK
from registry.store import Registry
from registry.tables import AliasMove, WindowRow
from serving.labels.matured import matured_rows
from serving.labels.reading import read_label_versions
from serving.log.batches import SHADOW
from serving.log.frames import empty_traffic, read_growing_predictions, read_sealed_columns
from serving.log.kinds import PREDICTIONS
from serving.log.reading import read_segments

# The log's own columns, without the inputs, which are most of it.
_COLUMNS = ("id", "version", "predicted_at", "event_time", "prediction", "probabilities", "arm")
_AS_CHAMPION = "champion"


@dataclass(frozen=True)
class RegisteredReign:
    """A time in which a version was champion, as the alias moved; *until* is None while it is."""

    version: int
    previous: int | None
    since: datetime
    until: datetime | None
    is_rollback: bool
    reason: str


@dataclass(frozen=True)
class ReignRows:
    """What a version answered as champion in one reign.

    Attributes
    ----------
    labelled : DataFrame
        The rows whose window has matured and that have a label (``value``), in the order of time, with ``window``.
    shares : dict
        By window: the part of its served rows that are this reign's.
    n_pending : int
        Windows that have not matured.
    matures_at : datetime, optional
        When the last one of them will have; None where nothing is pending, or a window of rows is not full.
    """

    labelled: pd.DataFrame
    shares: dict[int, float]
    n_pending: int
    matures_at: datetime | None


@dataclass(frozen=True)
class ServedRows:
    """All that was served, by reign; ``shadows`` are answers that nobody saw, indexed by version and id."""

    of_reigns: Sequence[ReignRows]
    shadows: pd.DataFrame
    seconds_of_window: float


def list_reigns(session: Session, environment: str, model: str) -> list[RegisteredReign]:
    """List who was champion when in an environment, in order."""
    query = select(AliasMove).where(
        AliasMove.model == model, AliasMove.environment == environment, AliasMove.alias == CHAMPION
    )
    moves = list(session.exec(query.order_by(col(AliasMove.revision))))
    ends = [*(move.moved_at for move in moves[1:]), None]
    return [
        RegisteredReign(
            version=move.number,
            previous=move.previous,
            since=move.moved_at,
            until=end,
            is_rollback=move.kind == ROLLBACK,
            reason=move.reason,
        )
        for move, end in zip(moves, ends, strict=False)
    ]


def read_served_rows(
    home: Path,
    model: str,
    registry: Registry,
    reigns: Sequence[RegisteredReign],
    *,
    window: timedelta | RowCount,
    label_delay: timedelta,
    now: datetime,
) -> ServedRows:
    """Read all that a pipeline has served, without the inputs, and the labels that were known at *now*.

    Raises
    ------
    SegmentDamaged, ArtifactMissing, ArtifactCorrupt
    """
    log = _read_log(home, model, registry)
    is_shadow = log["arm"] == SHADOW
    served = log[~is_shadow].sort_values("event_time", kind="stable").drop_duplicates("id").reset_index(drop=True)
    with registry.database.read() as session:
        last = session.exec(select(func.max(WindowRow.start)).where(WindowRow.model == model)).one()
    grid = WindowGrid.over(served["event_time"], window, known=last)
    seconds = grid.seconds(served["event_time"])
    numbers = grid.number(served["event_time"])
    ends = grid.ends(numbers, served["event_time"]) + pd.Timedelta(label_delay)
    served = served.assign(window=numbers, reign=_find_reigns(served, reigns))
    served = served[served["reign"] >= 0]
    labels = read_label_versions(home, model, registry=registry)
    matured = matured_rows(served, labels, label_delay=label_delay, until=now)
    moment = pd.Timestamp(as_utc(now))
    is_over = matured["window"].isin(ends.index[(ends <= moment).to_numpy()])
    labelled = dict(iter(matured[matured["is_labelled"] & is_over].groupby("reign")))
    found = []
    for place in range(len(reigns)):
        windows, counts = np.unique(served.loc[served["reign"] == place, "window"], return_counts=True)
        due = ends.reindex(windows)
        pending = due[~(due <= moment)]
        is_known = len(pending) > 0 and bool(pending.notna().all())
        whole = grid.sizes(numbers).reindex(windows).to_numpy()
        found.append(
            ReignRows(
                labelled=labelled.get(place, matured.iloc[:0]).reset_index(drop=True),
                shares=dict(zip(windows.tolist(), (counts / whole).tolist(), strict=True)),
                n_pending=len(pending),
                matures_at=pending.max().to_pydatetime() if is_known else None,
            )
        )
    shadows = log[is_shadow].drop_duplicates(["version", "id"]).set_index(["version", "id"])
    return ServedRows(found, shadows, seconds)


def _read_log(home: Path, model: str, registry: Registry) -> pd.DataFrame:
    frames = read_segments(
        home,
        model,
        PREDICTIONS,
        read_sealed=lambda path: read_sealed_columns(path, None, None, list(_COLUMNS)),
        read_growing=lambda path: _own_columns(read_growing_predictions(path, None, None)),
        registry=registry,
    )
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return _own_columns(empty_traffic())
    log = pd.concat(frames, ignore_index=True)
    # Files of a time when that was not logged were all written by champions.
    log["arm"] = log["arm"].fillna(_AS_CHAMPION) if "arm" in log else _AS_CHAMPION
    return log


def _own_columns(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[name for name in _COLUMNS if name in frame]]


def _find_reigns(served: pd.DataFrame, reigns: Sequence[RegisteredReign]) -> npt.NDArray[np.int64]:
    """Find the position of the reign in which each row's version answered it as champion, or -1.

    A service follows a moment after the alias has moved: a row belongs to the last reign of its version that had begun.
    """
    found = np.full(len(served), -1, dtype=np.int64)
    moments = served["predicted_at"].dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    as_champion = (served["arm"] == _AS_CHAMPION).to_numpy()
    for number in {reign.version for reign in reigns}:
        own = np.array([place for place, reign in enumerate(reigns) if reign.version == number])
        begins = np.array([as_utc(reigns[place].since).replace(tzinfo=None) for place in own], dtype="datetime64[us]")
        rows = np.flatnonzero(as_champion & (served["version"] == number).to_numpy())
        last = np.searchsorted(begins, moments[rows], side="right") - 1
        found[rows] = np.where(last >= 0, own[last], -1)
    return found
