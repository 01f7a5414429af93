"""What is asked of a batch, how far it is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from base.atomic_files import write_atomically
from tasks.batch.job import BatchPlan


@dataclass(frozen=True)
class BatchRequest:
    """What a person, or a flow, asks for.

    ``version`` is a number or an alias; None is the champion, or what a batch that is under way there began with.
    ``columns`` are those of the input that the output has too; None: all.
    """

    model: str
    input: str
    output: str
    version: str | None = None
    columns: tuple[str, ...] | None = None
    part_rows: int = 50_000
    max_rejected: float = 0.05
    is_logged: bool = True
    again: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a batch is: rows done of all, where that is known, and the seconds that are left at this pace."""

    n_done: int
    n_rows: int | None
    seconds_left: float | None
    is_logging: bool = False


class BatchResult(BaseModel):
    """What came of a batch; ``n_kept`` of its rows were predicted by an earlier run that did not come to its end."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: int
    input: str
    output: str
    n_rows: int
    n_predicted: int
    n_rejected: int
    n_warned: int
    n_parts: int
    n_kept: int
    rejected: str | None
    is_logged: bool
    seconds: float
    is_new: bool = True

    @property
    def rows_per_second(self) -> float:
        """How fast this run was."""
        return (self.n_rows - self.n_kept) / self.seconds if self.seconds else 0.0


class _Receipt(BaseModel):
    plan: BatchPlan
    size_bytes: int
    result: BatchResult


def write_receipt(target: Path, plan: BatchPlan, result: BatchResult) -> None:
    """Write beside an output what it is, when it is whole."""
    receipt = _Receipt(plan=plan, size_bytes=_size(target), result=result)
    write_atomically(_receipt_file(target), receipt.model_dump_json(indent=2).encode())


def find_done(target: Path, plan: BatchPlan) -> BatchResult | None:
    """Find what came of the same plan, if the output is still what it was then."""
    file = _receipt_file(target)
    if not file.exists() or not target.exists():
        return None
    receipt = _Receipt.model_validate_json(file.read_bytes())
    if receipt.plan.differences(plan) or receipt.size_bytes != _size(target):
        return None
    return receipt.result.model_copy(update={"is_new": False})


def _receipt_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.batch.json")


def _size(target: Path) -> int:
    files = target.rglob("*") if target.is_dir() else [target]
    return sum(path.stat().st_size for path in files if path.is_file())
