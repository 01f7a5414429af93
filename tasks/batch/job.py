"""The folder of a batch under way: what was asked for, and which parts are finished."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from base.atomic_files import write_atomically
from base.errors import ArgumentError
from base.times import utc_now

OutputFormat = Literal[".parquet", ".csv", ".jsonl"]

_JOB = "job.json"
_ID_DIGITS = 18


class BatchPlan(BaseModel):
    """What a batch is: the same plan over again goes on where the last run of it ended."""

    model_config = ConfigDict(frozen=True)

    input: str
    digest: str
    model: str
    version: int
    manifest: str
    columns: tuple[str, ...] | None = None
    format: OutputFormat = ".parquet"
    part_rows: int = 50_000
    is_logged: bool = True

    def differences(self, other: BatchPlan) -> list[str]:
        """Say in which of its fields another plan differs; where the input lies does not count."""
        return [
            f"{name} {getattr(self, name)!r} instead of {getattr(other, name)!r}"
            for name in type(self).model_fields
            if name != "input" and getattr(self, name) != getattr(other, name)
        ]


class PartRecord(BaseModel):
    """A finished part: how many rows it read, predicted and set aside."""

    model_config = ConfigDict(frozen=True)

    number: int
    n_rows: int
    n_predicted: int
    n_rejected: int
    n_warned: int = 0


class JobRecord(BaseModel):
    """What is written when a batch begins: its plan, and what the identifiers of its predictions are drawn from.

    ``arm`` is as what they are logged.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    began: datetime
    plan: BatchPlan
    arm: str = "champion"


class BatchJob:
    """A batch under way, in a folder that this process holds the lock of."""

    def __init__(self, folder: Path, record: JobRecord) -> None:
        self.folder = folder
        self.record = record
        self.plan = record.plan

    def part_file(self, number: int) -> Path:
        """Where the rows of a part lie when they are predicted."""
        return self.folder / "rows" / f"part-{number:05}{self.plan.format}"

    def rejected_file(self, number: int) -> Path:
        """Where the rows of a part lie that were set aside."""
        return self.folder / f"part-{number:05}.rejected.jsonl"

    def unlogged_file(self, number: int) -> Path:
        """Where the predictions of a part lie until they are in the log."""
        return self.folder / f"part-{number:05}.unlogged.jsonl"

    @property
    def logging_marker(self) -> Path:
        """A file that is there as soon as the first part may be in the log."""
        return self.folder / "logging"

    def finished_parts(self) -> list[PartRecord]:
        """List the finished parts, the first first, up to the first that is not."""
        found: list[PartRecord] = []
        while (path := self._record_file(len(found))).exists():
            found.append(PartRecord.model_validate_json(path.read_bytes()))
        return found

    def finish_part(self, record: PartRecord) -> None:
        """Record that a part is finished, after all its files were written."""
        write_atomically(self._record_file(record.number), record.model_dump_json().encode())

    def make_ids(self, number: int, count: int) -> list[str]:
        """Make the identifiers of a part's rows; a part that is scored over again gives its rows the same.

        They look as those of :func:`serving.identifiers.new_ids`, with the moment at which the batch began.
        """
        moment = f"{int(self.record.began.timestamp() * 1000):012x}7"
        drawn = hashlib.shake_256(f"{self.record.id} {number}".encode())
        digits = drawn.hexdigest(_ID_DIGITS // 2 * count) if count else ""
        parts = (digits[start : start + _ID_DIGITS] for start in range(0, _ID_DIGITS * count, _ID_DIGITS))
        return [f"{moment}{part[:3]}8{part[3:]}" for part in parts]

    def remove(self) -> None:
        """Remove the folder, when its rows have gone to where they belong."""
        shutil.rmtree(self.folder)

    def _record_file(self, number: int) -> Path:
        return self.folder / f"part-{number:05}.json"


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keep the folder of a batch to this process; a folder in which none has begun is removed at the end.

    Raises
    ------
    ArgumentError
        If another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArgumentError(
                f"another process predicts into {str(folder)!r} at this moment; wait for it, or name another output"
            ) from error
        try:
            yield
        finally:
            if not (folder / _JOB).exists():
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def find_record(folder: Path) -> JobRecord | None:
    """Read what was asked for when the batch in a folder began; None where none has."""
    path = folder / _JOB
    return JobRecord.model_validate_json(path.read_bytes()) if path.exists() else None


def begin_job(folder: Path, plan: BatchPlan, *, arm: str) -> BatchJob:
    """Begin a batch in a folder, or go on with the one that was begun there.

    Raises
    ------
    ArgumentError
        If another one was begun there.
    """
    record = find_record(folder)
    if record is None:
        record = JobRecord(id=secrets.token_hex(16), began=utc_now(), plan=plan, arm=arm)
        (folder / "rows").mkdir(exist_ok=True)
        write_atomically(folder / _JOB, record.model_dump_json(indent=2).encode())
    elif different := plan.differences(record.plan):
        raise ArgumentError(
            f"folder {str(folder)!r} holds another batch that is not finished ({'; '.join(different)}); run "
            "that one to its end, or throw it away by --again"
        )
    return BatchJob(folder, record)


def throw_away(folder: Path) -> None:
    """Throw away what a batch has left in its folder, which this process holds."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
