"""The data contract: what each column must be, in training and in a request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from reprlib import Repr
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from base.errors import ArgumentError, Fault, nearest
from base.times import parse_moment

ColumnType = Literal["number", "integer", "text", "boolean", "time"]
Severity = Literal["refuse", "quarantine", "warn"]
"""What a broken rule does: the run stops, the row is set aside, or it is only reported."""
# JavaScript's and JSON's integers are doubles beyond this; a larger one would change silently on its way.
_LARGEST_EXACT_INTEGER = 2**53
_LONGEST_SHOWN = 40
_LARGEST_SHOWN = 10**_LONGEST_SHOWN
_SHORT = Repr()
_SHORT.maxlevel = 2
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 3


class ColumnRule(BaseModel):
    """What one column must be; a rule that is not given is not checked.

    Examples
    --------
    >>> ColumnRule(type="number", minimum=0).find_fault(-3)
    ('-3', 'at least 0')
    >>> ColumnRule(type="integer").find_fault(True)
    ('True (boolean)', 'integer')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ColumnType
    nullable: bool = True
    minimum: FiniteFloat | None = None
    maximum: FiniteFloat | None = None
    categories: tuple[str, ...] | None = Field(None, min_length=1)
    severity: Severity = Field("quarantine", description="What breaking this column's rules does.")
    sensitive: bool = Field(False, description="Never a feature; kept for fairness slices.")
    personal: Literal["hash", "drop"] | None = Field(None, description="What extraction makes of it.")

    @model_validator(mode="after")
    def _rules_fit_the_type(self) -> ColumnRule:
        if self.type not in ("number", "integer") and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"minimum and maximum are for numbers, but type is {self.type!r}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        if self.type != "text" and self.categories is not None:
            raise ValueError(f"categories are for text, but type is {self.type!r}")
        return self

    def find_fault(self, value: object) -> tuple[str, str] | None:
        """Judge one JSON value: None when it is good, else what was found and what was expected."""
        if value is None:
            return None if self.nullable else ("null", self.type)
        if not _has_type(value, self.type):
            return f"{_show(value)} ({_name_type(value)})", self.type
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.minimum is not None and value < self.minimum:
                return _show(value), f"at least {self.minimum:g}"
            if self.maximum is not None and value > self.maximum:
                return _show(value), f"at most {self.maximum:g}"
        if self.categories is not None and value not in self.categories:
            return _show(value), f"one of {', '.join(map(repr, self.categories[:10]))}"
        return None


class DataContract(BaseModel):
    """The columns that data must have, and what each of them must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, ColumnRule] = Field(min_length=1)
    unique: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _unique_columns_are_known(self) -> DataContract:
        for column in self.unique:
            if column not in self.columns:
                raise ValueError(f"unique names {column!r}, which is not a column{nearest(column, self.columns)}")
        return self

    def restricted_to(self, columns: Sequence[str]) -> DataContract:
        """Return the contract over some of the columns, as a request needs it.

        Raises
        ------
        ArgumentError
            If one of them is not in the contract.
        """
        for name in columns:
            if name not in self.columns:
                raise ArgumentError(f"the contract has no column {name!r}{nearest(name, self.columns)}")
        return DataContract(columns={name: self.columns[name] for name in columns})

    def find_faults(self, rows: Sequence[Mapping[str, object]], *, most: int = 100) -> list[Fault]:
        """Find everything that is wrong with some JSON rows, up to *most* faults.

        A nullable column may be left out of a row; a column that the contract does not know is a fault, since
        it is usually a misspelt one.

        Examples
        --------
        >>> contract = DataContract(columns={"age": ColumnRule(type="number", nullable=False)})
        >>> for fault in contract.find_faults([{"age": "old"}, {"aeg": 1}]):
        ...     print(fault)
        row 0, column 'age': found 'old' (text), expected number
        row 1, column 'age': found nothing, expected number
        row 1, column 'aeg': found an unknown column, expected only known columns; did you mean 'age'?
        """
        faults: list[Fault] = []
        for index, row in enumerate(rows):
            for name, rule in self.columns.items():
                if name not in row and not rule.nullable:
                    faults.append(Fault(name, "nothing", rule.type, row=index))
                elif name in row and (fault := rule.find_fault(row[name])):
                    faults.append(Fault(name, *fault, row=index))
            if not row.keys() <= self.columns.keys():
                unknown = (name for name in row if name not in self.columns)
                faults.extend(
                    Fault(
                        _cut(name), "an unknown column", f"only known columns{nearest(name, self.columns)}", row=index
                    )
                    for name in islice(unknown, most)
                )
            if len(faults) >= most:
                return faults[:most]
        return faults


def _has_type(value: object, expected: ColumnType) -> bool:
    if isinstance(value, bool):
        return expected == "boolean"
    if isinstance(value, int):
        return expected in ("number", "integer") and abs(value) <= _LARGEST_EXACT_INTEGER
    if isinstance(value, float):
        if expected == "integer":
            return value.is_integer() and abs(value) <= _LARGEST_EXACT_INTEGER
        return math.isfinite(value) and expected == "number"
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return False  # half a character: JSON can escape one, no file or database can hold it
        return expected == "text" or (expected == "time" and _is_moment(value))
    return isinstance(value, datetime) and expected == "time"


def _is_moment(text: str) -> bool:
    try:
        parse_moment(text)
    except ValueError:
        return False
    return True


def _name_type(value: object) -> str:
    names: dict[type, str] = {
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "text",
        list: "list",
        dict: "object",
    }
    return names.get(type(value), type(value).__name__)


def _show(value: object) -> str:
    # repr() of a whole request could take longer than answering it, and Python refuses it for huge integers.
    if isinstance(value, int) and abs(value) > _LARGEST_SHOWN:
        return f"an integer of {value.bit_length()} bits"
    return _cut(repr(_cut(value)) if isinstance(value, str) else _SHORT.repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
