"""The prediction log: every answered row and every label, on disk before anybody is told.

Below the home folder, ``traffic/MODEL/predictions`` and ``traffic/MODEL/labels`` hold segments
(:mod:`serving.log.segments`). Each process writes its own, one for each version that it serves, so all rows of a
segment have one signature; readers see all segments of all processes, living or dead. An acknowledged prediction
has been handed to the operating system: it survives ``kill -9`` of the service, not yet a loss of power.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

from base.rows.personal import protected_contract
from base.times import utc_now
from features.views import joined_types
from registry.manifest import ModelManifest
from serving.log.segments import Document, SegmentedLog, TableBuilder, adopt_segments
from serving.log.traffic import (
    build_label_table,
    build_prediction_table,
    count_unknown_labels,
    join_labels,
    read_labels,
    read_traffic,
)

__all__ = [
    "Label",
    "LoggedBatch",
    "PredictionLog",
    "count_unknown_labels",
    "join_labels",
    "read_labels",
    "read_traffic",
]

_log = logging.getLogger(__name__)

_BUILDERS: dict[str, TableBuilder] = {"predictions": build_prediction_table, "labels": build_label_table}


@dataclass(frozen=True)
class LoggedBatch:
    """The rows of one request with what was answered.

    ``answers`` are raw: a value, the probability of the second class, or all probabilities where there are
    more than two classes.
    """

    ids: Sequence[str]
    rows: Sequence[dict[str, Any]]
    answers: Sequence[float | list[float]]
    at: datetime


@dataclass(frozen=True)
class Label:
    """What came true for one prediction."""

    id: str
    value: str | int | float | bool
    observed_at: datetime


class PredictionLog:
    """What one service process writes; :meth:`append` returns when the rows are safe from its death."""

    def __init__(self, home: Path, *, segment_rows: int) -> None:
        self._folder = home / "traffic"
        self._segment_rows = segment_rows
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="everfit-sealer")
        self._logs: dict[tuple[str, str, int], SegmentedLog] = {}
        self._lock = Lock()

    def adopt(self) -> None:
        """Seal in the background what processes that are dead have left."""
        self._sealer.submit(self._adopt)

    def append(self, manifest: ModelManifest, number: int, batches: Sequence[LoggedBatch]) -> None:
        """Log answered requests of one model version.

        Raises
        ------
        OSError
            If the disk does not take them; then none of them is in the log.
        """
        # What is logged is hashed already, where it is personal.
        stored = protected_contract(manifest.contract)
        rules = {} if stored is None else stored.columns
        header: Document = {
            "model": manifest.model,
            "version": number,
            "time": manifest.time if manifest.time in rules and rules[manifest.time].type == "time" else None,
            "inputs": {name: rule.type for name, rule in rules.items()} | dict(joined_types(manifest.plan.views)),
        }
        documents: list[Document] = [
            {"at": _microseconds(batch.at), "ids": batch.ids, "rows": batch.rows, "answers": batch.answers}
            for batch in batches
        ]
        log = self._log_of(manifest.model, "predictions", number, header)
        log.append(documents, n_rows=sum(len(batch.ids) for batch in batches))

    def append_labels(self, model: str, labels: Sequence[Label]) -> None:
        """Log labels; whether their predictions are known is the readers' question.

        Raises
        ------
        OSError
            If the disk does not take them; then none of them is in the log.
        """
        document = {
            "at": _microseconds(utc_now()),
            "labels": [[label.id, label.value, _microseconds(label.observed_at)] for label in labels],
        }
        self._log_of(model, "labels", 0, {"model": model}).append([document], n_rows=len(labels))

    def retire(self, model: str, number: int) -> None:
        """Have the segment of a version sealed that serves no more."""
        log = self._logs.get((model, "predictions", number))
        if log is not None:
            log.rotate()

    def close(self) -> None:
        """Finish the sealing under way and let go of the open segments, which stay as lines."""
        with self._lock:
            for log in self._logs.values():
                log.close()
            self._logs.clear()
        self._sealer.shutdown(wait=True, cancel_futures=True)

    def _log_of(self, model: str, kind: str, number: int, header: Document) -> SegmentedLog:
        key = (model, kind, number)
        log = self._logs.get(key)
        if log is None:
            with self._lock:
                log = self._logs.setdefault(
                    key,
                    SegmentedLog(
                        self._folder / model / kind,
                        header,
                        _BUILDERS[kind],
                        segment_rows=self._segment_rows,
                        sealer=self._sealer,
                    ),
                )
        return log

    def _adopt(self) -> None:
        for kind, build_table in _BUILDERS.items():
            for folder in sorted(self._folder.glob(f"*/{kind}")):
                if count := adopt_segments(folder, build_table):
                    _log.info("sealed %d segments in %s that dead processes had left", count, folder)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
