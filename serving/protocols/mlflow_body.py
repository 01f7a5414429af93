"""Bodies of MLflow's scoring protocol: rows as pandas writes them, as records, by column or as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from base.contract_rules import ColumnRule
from base.errors import Fault
from base.json_values import ColumnType, cut_text
from serving.protocols.documents import expect_object, name_value, parse_document, refuse_too_many
from serving.web.problems import BodyRefused, FaultsFound

Row = dict[str, Any]
Method = Literal["predict", "predict_proba"]

JSON_TYPES = ("", "application/json", "application/x-www-form-urlencoded")
"""What stands for JSON; the last is what curl says of any body that it is told nothing about."""

CSV_TYPE = "text/csv"
_FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
# How pandas writes a missing moment.
_NO_MOMENT = "NaT"
_NO_NUMBER = ("NaN", "nan")
_WORDS = {"true": True, "false": False}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_LONGEST_NUMBER = 400


class Invocation(msgspec.Struct, frozen=True, gc=False):
    """A request for predictions as an MLflow client makes it."""

    rows: list[Row]
    method: Method = "predict"


def read_invocation(body: bytes, media_type: str, *, columns: Mapping[str, ColumnRule], most_rows: int) -> Invocation:
    """Read the rows of a request.

    Raises
    ------
    BodyRefused
        400 when the body is not what its type says, 413 when it holds too many rows, 415 for another type, 422 when it
        has another shape.

    Examples
    --------
    >>> body = b'{"dataframe_split": {"columns": ["age", "name"], "data": [[36, "Ada"]]}}'
    >>> read_invocation(body, "application/json", columns={}, most_rows=10).rows
    [{'age': 36, 'name': 'Ada'}]
    >>> number = {"age": ColumnRule(type="number")}
    >>> read_invocation(b"age\\n36\\n", "text/csv", columns=number, most_rows=10).rows
    [{'age': 36}]
    """
    if media_type == CSV_TYPE:
        return Invocation(_read_csv(body, columns, most_rows))
    if media_type not in JSON_TYPES:
        raise BodyRefused(
            415, f"the body is {cut_text(media_type)!r}, expected {JSON_TYPES[1]} or {CSV_TYPE}", reason="invalid"
        )
    document = expect_object(parse_document(body), "the body", '{"dataframe_split": {"columns": […], "data": […]}}')
    method = _read_params(document.get("params"))
    found = [name for name in document if name != "params"]
    if len(found) != 1 or found[0] not in _FORMATS:
        shown = ", ".join(repr(cut_text(name)) for name in found[:5]) or "nothing"
        raise FaultsFound([Fault(None, f"{shown} in the body", f"exactly one of {', '.join(_FORMATS)}")])
    name = found[0]
    readers: dict[str, Callable[[str, Any], list[Row]]] = {
        "dataframe_split": _read_split,
        "dataframe_records": _read_records,
        "instances": _read_records,
        "inputs": _read_inputs,
    }
    rows = readers[name](name, document[name])
    if not rows:
        raise FaultsFound([Fault(None, f"no row in {name!r}", "at least one")])
    refuse_too_many(len(rows), most_rows)
    moments = [column for column, rule in columns.items() if rule.type == "time"]
    for row in rows:
        for column in moments:
            if row.get(column) == _NO_MOMENT:
                row[column] = None
    return Invocation(rows, method)


def _read_params(params: Any) -> Method:
    if params is None:
        return "predict"
    params = expect_object(params, "'params'", '{"method": "predict_proba"}')
    if unknown := [name for name in params if name != "method"]:
        raise FaultsFound([Fault(None, f"the parameter {cut_text(unknown[0])!r}", "only 'method'")])
    method: Any = params.get("method", "predict")
    if method not in ("predict", "predict_proba"):
        raise FaultsFound([Fault(None, f"{name_value(method)} as 'method'", "'predict' or 'predict_proba'")])
    return "predict" if method == "predict" else "predict_proba"


def _read_split(name: str, value: Any) -> list[Row]:
    value = expect_object(value, repr(name), '{"columns": ["age"], "data": [[36]]}')
    names, data = value.get("columns"), value.get("data")
    if unknown := [key for key in value if key not in ("columns", "data", "index")]:
        raise FaultsFound([Fault(None, f"the key {cut_text(unknown[0])!r}", "only columns, data and index")])
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise FaultsFound([Fault(None, f"{name_value(names)} as 'columns'", "a list of column names")])
    _refuse_twice(names)
    if not isinstance(data, list):
        raise FaultsFound([Fault(None, f"{name_value(data)} as 'data'", "a list of rows")])
    if not isinstance(value.get("index", []), list):
        raise FaultsFound([Fault(None, f"{name_value(value['index'])} as 'index'", "a list, or nothing")])
    width = len(names)
    if faults := [
        Fault(None, f"{len(row):,} values" if isinstance(row, list) else name_value(row), f"{width:,} values", row=at)
        for at, row in enumerate(data)
        if not isinstance(row, list) or len(row) != width
    ]:
        raise FaultsFound(faults)
    return [dict(zip(names, row, strict=True)) for row in data]


def _read_records(name: str, value: Any) -> list[Row]:
    if not isinstance(value, list):
        raise FaultsFound([Fault(None, f"{name_value(value)} as {name!r}", "a list of objects")])
    if faults := [
        Fault(None, name_value(row), "an object with the columns by name", row=at)
        for at, row in enumerate(value)
        if not isinstance(row, dict)
    ]:
        raise FaultsFound(faults)
    return value


def _read_inputs(name: str, value: Any) -> list[Row]:
    if isinstance(value, list):
        return _read_records(name, value)
    value = expect_object(value, repr(name), '{"age": [36, 41], "name": ["Ada", "Bo"]}')
    n_rows = None
    for column, values in value.items():
        if not isinstance(values, list):
            raise FaultsFound([Fault(cut_text(column), name_value(values), "a list of values, one for each row")])
        if n_rows not in (None, len(values)):
            raise FaultsFound([Fault(cut_text(column), f"{len(values):,} values", f"{n_rows:,} as before it")])
        n_rows = len(values)
    return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]


def _read_csv(body: bytes, columns: Mapping[str, ColumnRule], most_rows: int) -> list[Row]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BodyRefused(400, f"the body is no text in UTF-8: byte {error.start:,} is none of it") from error
    rows: list[Row] = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        names = next(reader, None)
        if not names:
            raise FaultsFound([Fault(None, "no line", "a line of column names, and one for each row")])
        _refuse_twice(names)
        kinds: list[ColumnType | None] = [columns[name].type if name in columns else None for name in names]
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                found = f"{len(cells):,} cells"
                raise FaultsFound([Fault(None, found, f"{len(names):,}, as the first line has", row=len(rows))])
            values = [_read_cell(cell, kind) for cell, kind in zip(cells, kinds, strict=True)]
            rows.append(dict(zip(names, values, strict=True)))
            refuse_too_many(len(rows), most_rows)
    except csv.Error as error:
        raise BodyRefused(400, f"the body is no CSV: {cut_text(str(error))}") from error
    if not rows:
        raise FaultsFound([Fault(None, "no row", "at least one")])
    return rows


def _read_cell(cell: str, kind: ColumnType | None) -> Any:
    if cell == "":
        return None
    if kind == "boolean":
        return _WORDS.get(cell.lower(), cell)
    if kind not in ("number", "integer"):
        return cell
    if cell in _NO_NUMBER:
        return None
    # Python's own reading takes 1_000, spaces and digits of all scripts for numbers.
    if len(cell) > _LONGEST_NUMBER or _NUMBER.fullmatch(cell) is None:
        return cell
    return int(cell) if _INTEGER.fullmatch(cell) else float(cell)


def _refuse_twice(names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FaultsFound([Fault(cut_text(twice), "a column that is there twice", "each column once")])
