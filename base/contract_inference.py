"""Write a first contract from rows that are taken as good: only rules that a growing world does not break."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from base.artifacts import write_atomically
from base.contract import ColumnRule, ColumnType, DataContract
from base.tables import table_types
from base.yaml_text import yaml_scalar

# From fewer rows nothing is said that only rows can tell: that a null never comes, that a count is never
# negative. A null that comes in 3 % of rows is missed by a hundred of them once in twenty times.
_FEWEST_ROWS = 100
# A grid with gaps is still a grid: of the bike rentals' hours 165 in 17,544 are absent.
_SMALLEST_GRID_SHARE = 0.9


def infer_contract(table: pa.Table, *, target: str | None = None, time: str | None = None) -> DataContract:
    """Infer what each column of a normalised table must be.

    A rule is written only where breaking it later would mean broken data, not a changed world:

    - ``type`` always; a column without any value counts as numbers;
    - ``nullable: false`` where no value was missing, except for the target, whose newest values may be to come;
    - ``minimum: 0`` for whole numbers that were never negative, since those are counts, codes and ranks. A
      measured quantity (a temperature, a balance) may fall below zero one day;
    - no maximum and no categories: a record sale or a new shop is what a model is trained again for, and a
      contract that froze them would refuse growth;
    - ``unique`` for the time column where it runs on a regular grid, one row a step: there a second row of the
      same moment is a double.

    Examples
    --------
    >>> rows = pa.table({"age": list(range(100)), "name": ["Ann", None] * 50})
    >>> for name, rule in infer_contract(rows).columns.items():
    ...     print(name, rule.model_dump(exclude_defaults=True))
    age {'type': 'integer', 'nullable': False, 'minimum': 0.0}
    name {'type': 'text'}
    """
    columns = {
        name: _infer_rule(table[name], kind, is_target=name == target, is_time=name == time)
        for name, kind in table_types(table).items()
    }
    unique = (time,) if time is not None and time in columns and _lies_on_grid(table[time]) else ()
    return DataContract(columns=columns, unique=unique)


def write_contract(contract: DataContract, file: Path) -> None:
    """Write a contract as YAML that people read and change: one line for each column."""
    lines = ["columns:", *(f"  {yaml_scalar(name)}: {_describe(rule)}" for name, rule in contract.columns.items())]
    if contract.unique:
        lines += ["", "# No two rows have the same value here.", f"unique: {_list(contract.unique)}"]
    write_atomically(file, (_HEADING + "\n".join(lines) + "\n").encode())


_HEADING = """\
# What every row must be; rows that are not are set aside with the reason, and too many of them stop a training.
# Rules: type (number, integer, text, boolean, time), nullable (true), minimum, maximum, categories.
# Limits that the world may outgrow were left out on purpose; add those that you know to hold for ever.
"""


def _infer_rule(column: pa.ChunkedArray, kind: ColumnType, *, is_target: bool, is_time: bool) -> ColumnRule:
    tells = len(column) >= _FEWEST_ROWS
    # A row without its moment has no place in the order, whatever the number of rows.
    nullable = not is_time and (is_target or column.null_count > 0 or not tells)
    minimum = 0.0 if kind == "integer" and tells and _is_never_negative(column) else None
    return ColumnRule(type=kind, nullable=nullable, minimum=minimum)


def _is_never_negative(column: pa.ChunkedArray) -> bool:
    least = pc.min(column).as_py()
    return least is not None and least >= 0


def _lies_on_grid(column: pa.ChunkedArray) -> bool:
    """Tell whether moments never repeat, and nearly all follow the one before by the same step."""
    if not pa.types.is_timestamp(column.type) or column.null_count or len(column) < _FEWEST_ROWS:
        return False
    steps = np.diff(np.sort(column.cast(pa.int64()).to_numpy()))
    sizes, counts = np.unique(steps, return_counts=True)
    usual = int(sizes[counts.argmax()])
    return bool(
        usual > 0 and counts.max() >= _SMALLEST_GRID_SHARE * len(steps) and sizes[0] > 0 and not (sizes % usual).any()
    )


def _describe(rule: ColumnRule) -> str:
    parts = {
        "type": rule.type,
        "nullable": None if rule.nullable else "false",
        "minimum": None if rule.minimum is None else f"{rule.minimum:.17g}",
        "maximum": None if rule.maximum is None else f"{rule.maximum:.17g}",
        "categories": None if rule.categories is None else _list(rule.categories),
    }
    return "{" + ", ".join(f"{key}: {value}" for key, value in parts.items() if value is not None) + "}"


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(yaml_scalar, texts))}]"
