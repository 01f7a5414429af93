"""A generated table of any length: 20 columns in time order, with a few rows that break the contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

START = datetime(2023, 1, 1, tzinfo=UTC)
_ROW_GROUP = 131_072
_FILE_ROWS = 1_000_000
_QUANTITIES = tuple(f"quantity_{number}" for number in range(8))
_COUNTS = tuple(f"count_{number}" for number in range(4))
_KINDS = tuple(f"kind_{number}" for number in range(4))
_N_KINDS = 12
_DIRTY_SHARE = 0.0005

_DEFINITION = """
name: big
task: regression
target: y
time: moment
extract: {source: "data/*.parquet"}
validate_data: {contract: contract.yaml}
train: {estimators: [{estimator: sklearn.linear_model.Ridge}]}
"""


def write_big_pipeline(folder: Path, n_rows: int) -> None:
    """Write a definition, its contract and a history of *n_rows* rows, a million to a file."""
    (folder / "data").mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(_DEFINITION, encoding="utf-8")
    (folder / "contract.yaml").write_text(_contract(), encoding="utf-8")
    for number, start in enumerate(range(0, n_rows, _FILE_ROWS)):
        write_rows(folder / "data" / f"{number:04}.parquet", start, min(_FILE_ROWS, n_rows - start))


def write_rows(file: Path, start: int, n_rows: int) -> None:
    """Write the rows *start* to *start* + *n_rows* of the endless table; each second has one."""
    with pq.ParquetWriter(file, _make_rows(start, 1).schema, compression="zstd") as writer:
        for first in range(start, start + n_rows, _ROW_GROUP):
            writer.write_table(_make_rows(first, min(_ROW_GROUP, start + n_rows - first)))


def rules() -> list[tuple[str, str]]:
    """List the contract's rules as a column and the SQL that says a row breaks it."""
    found = [(name, f"{name} IS NULL") for name in ("moment", "customer", "y")]
    found += [(name, f"{name} < 0 OR {name} > 1000") for name in _QUANTITIES]
    found += [(name, f"{name} < 0") for name in _COUNTS]
    allowed = ", ".join(f"'k{number}'" for number in range(_N_KINDS))
    return found + [(name, f"{name} IS NOT NULL AND {name} NOT IN ({allowed})") for name in _KINDS]


def _contract() -> str:
    lines = ["columns:", "  moment: {type: time, nullable: false}", "  customer: {type: integer, nullable: false}"]
    lines += [f"  {name}: {{type: number, minimum: 0, maximum: 1000}}" for name in _QUANTITIES]
    lines += [f"  {name}: {{type: integer, minimum: 0}}" for name in _COUNTS]
    kinds = ", ".join(f"k{number}" for number in range(_N_KINDS))
    lines += [f"  {name}: {{type: text, categories: [{kinds}]}}" for name in _KINDS]
    lines += ["  is_open: {type: boolean}", "  y: {type: number, nullable: false}"]
    return "\n".join(lines) + "\n"


def _make_rows(start: int, n_rows: int) -> pa.Table:
    source = np.random.default_rng(start)
    first = int(START.timestamp()) * 1_000_000
    moments = first + (start + np.arange(n_rows)) * int(timedelta(seconds=1) / timedelta(microseconds=1))
    columns: dict[str, pa.Array] = {
        "moment": pa.array(moments).cast(pa.timestamp("us", "UTC")),
        "customer": pa.array(source.integers(0, 1_000_000, n_rows)),
    }
    for name in _QUANTITIES:
        values = source.gamma(2.0, 40.0, n_rows).clip(0, 1000)
        columns[name] = pa.array(np.where(source.random(n_rows) < _DIRTY_SHARE / len(_QUANTITIES), -values, values))
    for name in _COUNTS:
        columns[name] = pa.array(source.poisson(3, n_rows))
    names = np.array([f"k{number}" for number in range(_N_KINDS)])
    for name in _KINDS:
        columns[name] = pa.array(names[source.integers(0, _N_KINDS, n_rows)])
    columns["is_open"] = pa.array(source.random(n_rows) < 0.3)
    columns["y"] = pa.array(source.normal(size=n_rows).round(4))
    return pa.table(columns)
