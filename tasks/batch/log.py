"""Predictions of a batch on their way into the prediction log: each exactly once, whenever the process dies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from base.settings import Settings
from base.times import as_utc
from registry.manifest import ModelManifest
from registry.store import Registry
from registry.tables import TrafficSegment
from serving.log.accounts import Accounts
from serving.log.batches import LoggedBatch
from serving.log.kinds import PREDICTIONS
from serving.log.prediction_log import PredictionLog
from serving.log.reading import read_segments
from serving.log.segments import read_lines

KIND = "batch"
"""What kind of traffic the predictions of a file are."""


def write_unlogged(batch: LoggedBatch) -> bytes:
    """Write answered rows as a line of a part's file of predictions that are not logged yet."""
    document = {
        "at": batch.at,
        "arm": batch.arm,
        "path": batch.path,
        "micros": batch.micros,
        "ids": batch.ids,
        "rows": batch.rows,
        "answers": batch.answers,
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def read_unlogged(file: Path) -> Iterator[LoggedBatch]:
    """Read the lines of a part, one at a time."""
    with file.open("rb") as stream:
        for line in stream:
            document: dict[str, Any] = orjson.loads(line)
            document["at"] = as_utc(datetime.fromisoformat(document["at"]))
            yield LoggedBatch(kind=KIND, **document)


class BatchLog:
    """Logs the parts of a batch, one after the other.

    A part whose logging was interrupted is held against the log first: what is there already is not logged again. Only
    the first part of a run can be such a one.

    Parameters
    ----------
    was_begun : bool
        Whether an earlier run has begun to log.
    """

    def __init__(
        self, settings: Settings, registry: Registry, manifest: ModelManifest, number: int, *, was_begun: bool
    ) -> None:
        self._home = settings.home.absolute()
        self._registry = registry
        self._manifest = manifest
        self._number = number
        self._log = PredictionLog.from_settings(settings)
        self._may_be_there = was_begun

    @property
    def accounts(self) -> Accounts:
        """What is counted."""
        return self._log.accounts

    def log_part(self, file: Path, *, n_rejected: int) -> None:
        """Log a part and remove its file; nothing is done where it is not there.

        Raises
        ------
        OSError
            If the disk does not take the predictions; the file stays for the next run.
        """
        model = self._manifest.model
        if not file.exists():
            return
        known = self._find(file) if self._may_be_there else set()
        self._may_be_there = False
        for batch in read_unlogged(file):
            kept = _without(batch, known) if known else batch
            if kept.ids:
                self.accounts.accept(model, len(kept.ids))
                try:
                    self._log.append(self._manifest, self._number, [kept])
                except OSError:
                    self.accounts.reject(model, "not_logged", len(kept.ids))
                    raise
        file.unlink()
        if n_rejected:
            self.accounts.accept(model, n_rejected)
            self.accounts.reject(model, "invalid", n_rejected)

    def close(self) -> None:
        """Let the log write its last accounts."""
        self._log.close()

    def _find(self, file: Path) -> set[str]:
        """Find which predictions of a part the log has."""
        asked: set[str] = set()
        first: datetime | None = None
        for batch in read_unlogged(file):
            asked.update(batch.ids)
            first = first or batch.at

        def choose(segments: list[TrafficSegment]) -> list[TrafficSegment]:
            return [one for one in segments if _may_hold(one, first)]

        found = read_segments(
            self._home,
            self._manifest.model,
            PREDICTIONS,
            read_sealed=lambda path: _ids_of_sealed(path, asked),
            read_growing=lambda path: _ids_of_lines(path, asked),
            registry=self._registry,
            choose=choose,
        )
        return set().union(*found)


def _may_hold(segment: TrafficSegment, moment: datetime | None) -> bool:
    last = segment.last_predicted_at
    return moment is not None and (last is None or as_utc(last) >= moment)


def _ids_of_sealed(path: Path, asked: set[str]) -> set[str]:
    import pyarrow.parquet as pq

    return asked.intersection(pq.read_table(path, columns=["id"])["id"].to_pylist())


def _ids_of_lines(path: Path, asked: set[str]) -> set[str]:
    lines = read_lines(path)
    return set() if lines is None else {name for batch in lines.batches for name in batch["ids"] if name in asked}


def _without(batch: LoggedBatch, known: set[str]) -> LoggedBatch:
    kept = [place for place, name in enumerate(batch.ids) if name not in known]
    return LoggedBatch(
        ids=_take(batch.ids, kept),
        rows=_take(batch.rows, kept),
        answers=_take(batch.answers, kept),
        at=batch.at,
        arm=batch.arm,
        path=batch.path,
        kind=batch.kind,
        micros=batch.micros,
    )


def _take(values: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [values[place] for place in places]
