"""Draft a pipeline: look at data and choose all that a first definition needs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from base.contract import DataContract
from base.errors import ArgumentError, DataRefused, Fault, nearest
from base.inference.contracts import InferredContract, infer_contract
from base.metrics import Task
from base.monitor_spec import MonitorSpec
from base.pipeline import Target, ValidateDataSpec
from base.section import is_function
from base.sources import all_null_columns, normalise, parse_time, read_source, table_types
from features.targets import columns_of, compute_target

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_NAMED_EXPRESSION = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)\s*(.+)", re.DOTALL)
_EXPRESSION_SIGNS = re.compile(r"[-+*/%<>=!&|~() ]")
_MOST_CLASSES = 10
_FEWEST_ROWS = ValidateDataSpec().min_rows
_WINDOWS = tuple(timedelta(days=days) for days in (1, 7, 28, 91, 364))


@dataclass(frozen=True)
class Exclusion:
    """A column that the estimator shall not see, and why."""

    column: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Draft:
    """What was learnt from some data: all that a first definition needs."""

    name: str
    folder: Path
    source: str
    task: Task
    target: str | Target
    target_summary: str
    time: str | None
    first: datetime | None
    last: datetime | None
    n_rows: int
    inferred: InferredContract
    exclusions: tuple[Exclusion, ...]
    features: tuple[str, ...]
    window: timedelta

    @property
    def contract(self) -> DataContract:
        """What the rows must be."""
        return self.inferred.contract

    @property
    def target_column(self) -> str:
        """The column that is predicted."""
        return self.target if isinstance(self.target, str) else self.target.name

    @property
    def parts_of_target(self) -> tuple[str, ...]:
        """The features that the target is computed from: of them, no data can tell which are known beforehand."""
        parts = () if isinstance(self.target, str) else columns_of(self.target.expression)
        return tuple(name for name in parts if name in self.features)


def draft_pipeline(
    folder: Path, *, data: str, target: str, time: str | None, task: str | None, advance: Any = lambda _step: None
) -> Draft:
    """Read data and draft the pipeline that predicts *target* from it.

    Parameters
    ----------
    folder : Path
        Where the pipeline will be; its last part is the pipeline's name.
    data : str
        A file, folder or glob; a relative one starts at the working directory.

    Raises
    ------
    ArgumentError, DefinitionError
        If a name, column, expression or file is wrong.
    DataRefused
        If the data cannot be read, are too few, or hold nothing to learn.
    """
    name = _check_name(folder)
    if is_function(data):
        raise ArgumentError(
            f"--data {data!r} is a function; give a file of the rows that it returns, and name the function under "
            "extract.source afterwards"
        )
    table = normalise(read_source(data, Path.cwd()))
    advance(f"{table.num_rows:,} rows read")
    if table.num_rows < _FEWEST_ROWS:
        raise DataRefused(
            f"the data of {data!r}",
            [Fault(None, f"{table.num_rows:,} rows", f"at least {_FEWEST_ROWS}")],
            "Give more rows: a training would refuse so few as well.",
        )
    if time is not None:
        _check_column("--time", time, table)
        table = parse_time(table, time)
    goal = parse_target(target, table.column_names)
    values = table[goal] if isinstance(goal, str) else compute_target(table, goal)
    goal_name = goal if isinstance(goal, str) else goal.name
    if goal_name == time:
        raise ArgumentError(f"--target and --time are both {time!r}; name the column that shall be predicted")
    _check_target(goal_name, values, data)
    chosen = _choose_task(goal_name, values, task)
    inferred = infer_contract(table, target=goal_name, time=time)
    advance("contract inferred")
    exclusions = _find_exclusions(table, goal, values, time, chosen)
    advance("leaks looked for")
    features = tuple(
        column
        for column, kind in table_types(table).items()
        if column not in (goal_name, time, *(item.column for item in exclusions)) and kind != "time"
    )
    if not features:
        raise DataRefused(
            f"the data of {data!r}",
            [Fault(item.column, item.reason, "a column that may be a feature") for item in exclusions],
            "Give data with columns that are known before the target is.",
        )
    first, last = (None, None) if time is None else _span(table[time])
    return Draft(
        name=name,
        folder=folder,
        source=_relative_source(data, folder),
        task=chosen,
        target=goal,
        target_summary=_summarise(values, chosen),
        time=time,
        first=first,
        last=last,
        n_rows=table.num_rows,
        inferred=inferred,
        exclusions=exclusions,
        features=features,
        window=_choose_window(table.num_rows, first, last),
    )


def parse_target(text: str, columns: Sequence[str]) -> str | Target:
    """Read what shall be predicted: a column, an expression, or ``name = expression``.

    Examples
    --------
    >>> parse_target("cnt", ["cnt", "temp"])
    'cnt'
    >>> parse_target("big_tip = tips > 0.2 * fare", ["tips", "fare"])
    Target(name='big_tip', expression='tips > 0.2 * fare')
    >>> parse_target("ctn", ["cnt", "temp"])
    Traceback (most recent call last):
    base.errors.ArgumentError: --target 'ctn' is no column; did you mean 'cnt'?
    """
    if text in columns:
        return text
    named = _NAMED_EXPRESSION.fullmatch(text)
    if named is None and not _EXPRESSION_SIGNS.search(text.strip()):
        _refuse_column("--target", text, columns)
    name, expression = (named[1], named[2].strip()) if named else ("target", text.strip())
    if name in columns:
        raise ArgumentError(
            f"--target: the name {name!r} is a column's already; "
            f"write 'another_name = {expression}' to name what is computed"
        )
    for column in columns_of(expression):
        if column not in columns:
            _refuse_column(f"--target {text!r}:", column, columns)
    return Target(name=name, expression=expression)


def _check_name(folder: Path) -> str:
    name = folder.name
    if _NAME.fullmatch(name) is None:
        proposal = re.sub(r"\W+", "_", name.lower()).strip("_")[:63]
        hint = f", such as {proposal!r}" if _NAME.fullmatch(proposal) else ""
        raise ArgumentError(
            f"the name {name!r} is none for a pipeline; expected lower-case letters, digits and _{hint}"
        )
    return name


def _check_column(option: str, column: str, table: pa.Table) -> None:
    if column not in table.column_names:
        _refuse_column(option, column, table.column_names)


def _refuse_column(option: str, column: str, columns: Sequence[str]) -> None:
    hint = nearest(column, columns) or f"; there are {', '.join(columns)}"
    raise ArgumentError(f"{option} {column!r} is no column{hint}")


def _check_target(name: str, values: pa.ChunkedArray, data: str) -> None:
    distinct = pc.count_distinct(values, mode="only_valid").as_py()
    if distinct >= 2:
        return
    if distinct == 0:
        found = "null in every row"
    else:
        found = f"{pc.drop_null(values)[0].as_py()!r} in every row that has a value"
    raise DataRefused(
        f"the data of {data!r}",
        [Fault(name, found, "at least two values")],
        "There is nothing to learn: look at the column, give more rows, or predict another one.",
    )


def _choose_task(name: str, values: pa.ChunkedArray, wished: str | None) -> Task:
    if pa.types.is_timestamp(values.type):
        raise ArgumentError(f"--target {name!r} is a moment; predict how long it takes, such as a number of days")
    is_label = pa.types.is_string(values.type) or pa.types.is_boolean(values.type)
    if wished is not None:
        if wished not in ("classification", "regression"):
            raise ArgumentError(f"--task is {wished!r}, expected 'classification' or 'regression'")
        if wished == "regression" and is_label:
            raise ArgumentError(f"--task is 'regression', but {name!r} is {values.type}; expected numbers to predict")
        return "classification" if wished == "classification" else "regression"
    distinct = pc.count_distinct(values, mode="only_valid").as_py()
    if is_label or distinct == 2:
        return "classification"
    return "classification" if pa.types.is_integer(values.type) and distinct <= _MOST_CLASSES else "regression"


def _find_exclusions(
    table: pa.Table, goal: str | Target, values: pa.ChunkedArray, time: str | None, task: Task
) -> tuple[Exclusion, ...]:
    from features.leaks import find_leak_suspects

    name, computed_from = (goal, ()) if isinstance(goal, str) else (goal.name, columns_of(goal.expression))
    frame = table.to_pandas()
    frame[name] = values.to_pandas()
    found = {
        suspect.column: Exclusion(suspect.column, suspect.kind, suspect.reason)
        for suspect in find_leak_suspects(frame, target=name, time=time, task=task, computed_from=computed_from)
    }
    for column in all_null_columns(table):
        found.setdefault(column, Exclusion(column, "empty", "it holds no value in any row"))
    return tuple(found[column] for column in table.column_names if column in found)


def _span(moments: pa.ChunkedArray) -> tuple[datetime | None, datetime | None]:
    ends = pc.min_max(moments).as_py()
    return ends["min"], ends["max"]


def _choose_window(n_rows: int, first: datetime | None, last: datetime | None) -> timedelta:
    """Choose the shortest usual window that holds enough rows on average to be judged."""
    spec = MonitorSpec()
    if first is None or last is None or last <= first:
        return spec.period
    needed = (last - first) * (spec.min_rows / n_rows)
    return next((window for window in _WINDOWS if window >= needed), _WINDOWS[-1])


def _relative_source(data: str, folder: Path) -> str:
    """Write where the data lie as seen from the pipeline's folder; both may move together then."""
    if "://" in data:
        return data
    # abspath, not resolve: a data folder that is a link should stay one, and a glob is no path.
    start, target = os.path.abspath(folder), os.path.abspath(data)  # noqa: PTH100
    return target if os.path.commonpath([start, target]) == "/" else os.path.relpath(target, start)


def _summarise(values: pa.ChunkedArray, task: Task) -> str:
    present = pc.drop_null(values)
    if task == "regression":
        ends = pc.min_max(present).as_py()
        return f"from {ends['min']:,.6g} to {ends['max']:,.6g}"
    counts = sorted(pc.value_counts(present).to_pylist(), key=lambda item: -item["counts"])
    shown = ", ".join(f"{item['values']} {item['counts'] / len(present):.1%}" for item in counts[:5])
    return shown + (f", … ({len(counts)} classes)" if len(counts) > 5 else "")
