"""Read rows that are certainly good in one pass of compiled code; whatever else there is goes the thorough way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import astuple

from base.contract_rules import ColumnRule
from base.request_contract import RequestContract

Values = tuple[Any, ...]
"""One row's values in the order of the inputs; a column that was left out is None."""

# As the contract: an integer beyond 2**53 is not exact in JSON, and one more than it looks like it as a float. What
# is beyond, good or not, is rare: the thorough way.
_LARGEST = 2**53 - 1

_Refuses = Callable[[Mapping[str, Any]], bool]


class RowReader:
    """Reads a request's rows by a signature.

    It is sound and not complete: what it reads has neither faults nor warnings, and what it does not read may be
    good all the same. :meth:`base.contract.DataContract.find_faults` has the last word, fifty times more slowly.

    Parameters
    ----------
    contract : RequestContract
        The signature.
    inputs : sequence of str
        The columns to give values of, in order; one that the contract does not know is None in each row.

    Examples
    --------
    >>> columns = {"age": ColumnRule(type="number", minimum=0), "name": ColumnRule(type="text")}
    >>> reader = RowReader(RequestContract(columns=columns), ["name", "age"])
    >>> reader.read([{"age": 3}, {"name": "Ada", "age": 36.5}])
    [(None, 3.0), ('Ada', 36.5)]
    >>> reader.read([{"age": -1}]), reader.read([{"aeg": 1}]), reader.read([{"age": True}])
    (None, None, None)
    """

    def __init__(self, contract: RequestContract, inputs: Sequence[str]) -> None:
        names = [*inputs, *(name for name in contract.columns if name not in inputs)]
        known = {name: _field_type(contract.columns[name]) for name in names if name in contract.columns}
        # A struct's fields are identifiers, columns are any text; fields that must be given come first.
        ordered = sorted(known, key=lambda name: _may_be_left_out(contract.columns[name]))
        fields: list[Any] = [
            (f"f{at}", known[name], None) if _may_be_left_out(contract.columns[name]) else (f"f{at}", known[name])
            for at, name in enumerate(ordered)
        ]
        row = msgspec.defstruct(
            "Row",
            fields,
            rename={f"f{at}": name for at, name in enumerate(ordered)},
            forbid_unknown_fields=True,
            gc=False,
        )
        self._type: Any = list[row]  # type: ignore[valid-type]
        places = {name: at for at, name in enumerate(ordered)}
        order = [places.get(name) for name in inputs]
        # In most signatures nothing is required, and the fields are in the order of the inputs already.
        self._order = None if order == list(range(len(ordered))) else order
        self._refuses: list[_Refuses] = [
            _find_in(name, rule) for name, rule in contract.columns.items() if rule.type == "time"
        ]
        types = contract.types
        self._refuses += [_breaks(rule.compile(types).evaluate) for rule in contract.rules]

    def read(self, rows: Sequence[Mapping[str, Any]]) -> list[Values] | None:
        """Return the rows' values, or None when at least one row needs the thorough way."""
        try:
            found = msgspec.convert(rows, self._type)
        except (msgspec.ValidationError, UnicodeError):
            return None
        if self._refuses and any(refuses(row) for refuses in self._refuses for row in rows):
            return None
        if self._order is None:
            return [astuple(row) for row in found]
        return [
            tuple([None if at is None else values[at] for at in self._order])
            for values in (astuple(row) for row in found)
        ]


def values_of(rows: Sequence[Mapping[str, Any]], inputs: Sequence[str]) -> list[Values]:
    """Take the values of rows that are known to be good."""
    return [tuple([row.get(name) for name in inputs]) for row in rows]


def _may_be_left_out(rule: ColumnRule) -> bool:
    return rule.nullable


def _field_type(rule: ColumnRule) -> Any:
    found: Any
    if rule.type in ("number", "integer"):
        found = _number_type(rule)
    elif rule.type == "boolean":
        found = bool
    elif rule.categories is not None:
        allowed = [name for name in rule.categories if rule.max_length is None or len(name) <= rule.max_length]
        found = Literal[tuple(allowed)] if allowed else Annotated[str, msgspec.Meta(max_length=0)]
    else:
        found = str if rule.max_length is None else Annotated[str, msgspec.Meta(max_length=rule.max_length)]
    return found | None if rule.nullable else found


def _number_type(rule: ColumnRule) -> Any:
    low = -_LARGEST if rule.minimum is None else max(rule.minimum, -_LARGEST)
    high = _LARGEST if rule.maximum is None else min(rule.maximum, _LARGEST)
    if rule.type == "integer":
        return Annotated[int, msgspec.Meta(ge=math.ceil(low), le=math.floor(high))]
    return Annotated[float, msgspec.Meta(ge=float(low), le=float(high))]


def _find_in(name: str, rule: ColumnRule) -> _Refuses:
    return lambda row: (value := row.get(name)) is not None and rule.find_fault(value) is not None


def _breaks(evaluate: Callable[[Mapping[str, Any]], Any]) -> _Refuses:
    return lambda row: evaluate(row) is False
