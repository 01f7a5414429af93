"""Accounts of predictions: what was accepted is stored, rejected for a reason, or under way; nothing else."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from base.atomic_files import write_atomically
from base.times import utc_now
from serving.log.writers import Writer, this_writer

_log = logging.getLogger(__name__)

SAMPLED_OUT = "sampled"
"""Reason of rows that were answered and, by the definition's own wish, not logged."""

NOT_LOGGED = "not_logged"
"""Reason of rows that the log could not take."""

_SAVE_SECONDS = 1.0


@dataclass(frozen=True)
class AccountTotals:
    """How many rows of a model came in, and what became of them.

    ``stored`` rows are in the log, ``rejected`` ones not, by reason. ``shadow`` rows are in the log as well, but nobody
    asked for them: they are answers of a version that is only tried.
    """

    accepted: int = 0
    stored: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    shadow: int = 0

    @property
    def in_flight(self) -> int:
        """Rows of which neither is known yet.

        Examples
        --------
        >>> AccountTotals(accepted=10, stored=6, rejected={"invalid": 3}).in_flight
        1
        """
        return self.accepted - self.stored - sum(self.rejected.values())

    def as_json(self) -> dict[str, Any]:
        """The totals as a document."""
        return {
            "accepted": self.accepted,
            "stored": self.stored,
            "rejected": dict(sorted(self.rejected.items())),
            "shadow": self.shadow,
        }


class Accounts:
    """One process's counters by model, written beside the log about each second while they change.

    Whoever takes rows in calls :meth:`accept` first; of each row exactly one :meth:`store` or :meth:`reject` follows.
    The file is written after the rows that it counts: a process that was killed has stored at least what it says.

    Parameters
    ----------
    folder : Path, optional
        Where the counters are written, as ``WRITER.json``; default: nowhere. While the process lives, it holds a
        lock on ``WRITER.lock``.
    """

    def __init__(self, folder: Path | None = None, *, writer: Writer | None = None) -> None:
        self.writer = writer or this_writer()
        self._folder = folder
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._counts: dict[str, _Counts] = {}
        self._is_changed = False
        self._has_failed = False
        self._is_kept = folder is None
        self._lock_file: int | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def accept(self, model: str, n_rows: int) -> None:
        """Count rows that a client sent, before anything is known of them."""
        with self._lock:
            self._of(model).accepted += n_rows

    def store(self, model: str, n_rows: int) -> None:
        """Count rows that are in the log."""
        with self._lock:
            self._of(model).stored += n_rows

    def store_shadow(self, model: str, n_rows: int) -> None:
        """Count rows in the log that nobody asked for."""
        with self._lock:
            self._of(model).shadow += n_rows

    def reject(self, model: str, reason: str, n_rows: int) -> None:
        """Count rows that are not in the log, and why."""
        with self._lock:
            rejected = self._of(model).rejected
            rejected[reason] = rejected.get(reason, 0) + n_rows

    def snapshot(self) -> dict[str, AccountTotals]:
        """Return the totals of one moment, by model."""
        with self._lock:
            return {
                model: AccountTotals(counts.accepted, counts.stored, dict(counts.rejected), counts.shadow)
                for model, counts in sorted(self._counts.items())
            }

    def save(self, *, closed: bool = False) -> None:
        """Write the counters, durably and whole.

        Raises
        ------
        OSError
            If the disk does not take them; the last ones stay.
        """
        if self._folder is None:
            return
        with self._saving:
            self._hold_lock(self._folder)
            with self._lock:
                was_changed, self._is_changed = self._is_changed, False
            document = {
                "writer": self.writer.as_json(),
                "written_at": utc_now(),
                "closed": closed,
                "models": {model: totals.as_json() for model, totals in self.snapshot().items()},
            }
            try:
                write_atomically(self._folder / f"{self.writer.name}.json", orjson.dumps(document))
            except OSError:
                with self._lock:
                    self._is_changed = self._is_changed or was_changed
                raise

    def close(self) -> None:
        """Write the last totals; the process has counted all that it ever will."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        if self._is_changed or self._lock_file is not None:
            self._try_to_save(closed=True)
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _of(self, model: str) -> _Counts:
        self._is_changed = True
        if not self._is_kept:
            self._is_kept = True
            self._thread = threading.Thread(target=self._keep, name="everfit-accounts", daemon=True)
            self._thread.start()
        counts = self._counts.get(model)
        if counts is None:
            counts = self._counts[model] = _Counts()
        return counts

    def _keep(self) -> None:
        while not self._closing.wait(_SAVE_SECONDS):
            if self._is_changed:
                self._try_to_save()

    def _try_to_save(self, *, closed: bool = False) -> None:
        try:
            self.save(closed=closed)
        except OSError as error:
            if not self._has_failed:
                _log.warning("the accounts of the prediction log cannot be written: %s", error.strerror or error)
            self._has_failed = True
        else:
            self._has_failed = False

    def _hold_lock(self, folder: Path) -> None:
        if self._lock_file is None:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / f"{self.writer.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock_file = descriptor


@dataclass
class _Counts:
    accepted: int = 0
    stored: int = 0
    shadow: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
