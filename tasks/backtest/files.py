"""A backtest on disk: the result, its windows and trainings as tables, and the page, in a folder of its own."""

from __future__ import annotations

import io
import types
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from base.atomic_files import write_atomically
from tasks.backtest.page import render_backtest
from tasks.backtest.result import BacktestResult, ReplayedTraining, ReplayedWindow

if TYPE_CHECKING:
    import pyarrow as pa

POLICY = "policy"
"""The column of both tables that names the policy."""


@dataclass(frozen=True)
class BacktestFiles:
    """Where the files of a backtest are."""

    folder: Path

    @property
    def result(self) -> Path:
        """All of it, as JSON: :class:`~tasks.backtest.result.BacktestResult`."""
        return self.folder / "result.json"

    @property
    def windows(self) -> Path:
        """A Parquet file with a row for each policy and window."""
        return self.folder / "windows.parquet"

    @property
    def trainings(self) -> Path:
        """A Parquet file with a row for each training of each policy."""
        return self.folder / "trainings.parquet"

    @property
    def page(self) -> Path:
        """The page, whole in itself."""
        return self.folder / "page.html"


def new_folder(home: Path, pipeline: str, now: datetime) -> Path:
    """Return the folder of a backtest that ends now.

    Examples
    --------
    >>> new_folder(Path("home"), "bike", datetime(2026, 3, 1, 5, 30)).as_posix()
    'home/backtests/bike/20260301-053000'
    """
    return home / "backtests" / pipeline / f"{now:%Y%m%d-%H%M%S}"


def write_files(result: BacktestResult, folder: Path) -> BacktestFiles:
    """Write a backtest into a folder; ``result.json`` comes last, so that where it is, all is.

    Each file is written aside and renamed: who looks sees the old one or the new one.
    """
    files = BacktestFiles(folder.absolute())
    write_atomically(files.windows, _as_parquet(tabulate_windows(result)))
    write_atomically(files.trainings, _as_parquet(tabulate_trainings(result)))
    write_atomically(files.page, render_backtest(result).encode())
    write_atomically(files.result, result.model_dump_json(indent=1).encode())
    return files


def read_result(folder: Path) -> BacktestResult:
    """Read a backtest that :func:`write_files` has written."""
    return BacktestResult.model_validate_json(BacktestFiles(folder).result.read_bytes())


def tabulate_windows(result: BacktestResult) -> pa.Table:
    """Return a table with a row for each policy and window: the policy, and the fields of ReplayedWindow."""
    return _tabulate(ReplayedWindow, ((policy.name, policy.windows) for policy in result.policies))


def tabulate_trainings(result: BacktestResult) -> pa.Table:
    """Return a table with a row for each training of each policy: the policy, and the fields of ReplayedTraining."""
    return _tabulate(ReplayedTraining, ((policy.name, policy.trainings) for policy in result.policies))


def _tabulate(kind: type[Any], by_policy: Iterable[tuple[str, Iterable[Any]]]) -> pa.Table:
    import pyarrow as pa

    fields = [(POLICY, pa.string())]
    fields += [(name, _arrow_type(field.annotation)) for name, field in kind.model_fields.items()]
    rows = [{POLICY: policy, **row.model_dump()} for policy, found in by_policy for row in found]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def _arrow_type(annotation: Any) -> pa.DataType:
    """The column type of a field; null is possible everywhere."""
    import pyarrow as pa

    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (each for each in get_args(annotation) if each is not types.NoneType)
    if get_origin(annotation) is Literal:
        return pa.string()
    if get_origin(annotation) is tuple:
        return pa.list_(_arrow_type(get_args(annotation)[0]))
    known: dict[Any, pa.DataType] = {
        str: pa.string(),
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        datetime: pa.timestamp("us", tz="UTC"),
    }
    return known[annotation]


def _as_parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()
