"""The rules of a contract: what a column must be, what must hold for a row, and Great Expectations by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    field_validator,
    model_validator,
)

from base.documents import as_document
from base.json_values import ColumnType, has_type, name_type, show_value
from base.times import parse_moment
from base.validation.row_expressions import RowExpression, compile_expression
from base.validation.row_language import columns_of_rule

Severity = Literal["refuse", "quarantine", "warn"]
"""What a broken rule does: the run stops, the row is set aside, or it is only reported."""

_EXPECTATION = re.compile(r"expect_\w+|[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class ColumnRule(BaseModel):
    """What one column must be; a rule that is not given is not checked.

    Examples
    --------
    >>> ColumnRule(type="number", minimum=0).find_fault(-3)
    ('-3', 'at least 0')
    >>> ColumnRule(type="integer").find_fault(True)
    ('True (boolean)', 'integer')
    >>> ColumnRule(type="time", earliest="2013-01-01").find_fault("2012-12-31T23:59Z")
    ("'2012-12-31T23:59Z'", 'at least 2013-01-01T00:00:00+00:00')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ColumnType
    nullable: bool = True
    minimum: FiniteFloat | None = None
    maximum: FiniteFloat | None = None
    earliest: Annotated[datetime, BeforeValidator(parse_moment)] | None = None
    latest: Annotated[datetime, BeforeValidator(parse_moment)] | None = None
    categories: tuple[str, ...] | None = Field(None, min_length=1)
    max_length: int | None = Field(None, ge=1, description="Characters of a text.")
    severity: Severity = Field("quarantine", description="What breaking this column's rules does.")
    sensitive: bool = Field(False, description="Never a feature; kept for fairness slices.")
    personal: Literal["hash", "drop"] | None = Field(None, description="What extraction makes of it.")

    @model_validator(mode="after")
    def _rules_fit_the_type(self) -> ColumnRule:
        if self.type not in ("number", "integer") and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"minimum and maximum are for numbers, but type is {self.type!r}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        if self.type != "time" and (self.earliest is not None or self.latest is not None):
            raise ValueError(f"earliest and latest are for times, but type is {self.type!r}")
        if self.earliest is not None and self.latest is not None and self.earliest > self.latest:
            raise ValueError(f"earliest {self.earliest.isoformat()} is after latest {self.latest.isoformat()}")
        if self.type != "text" and self.categories is not None:
            raise ValueError(f"categories are for text, but type is {self.type!r}")
        if self.type != "text" and self.max_length is not None:
            raise ValueError(f"max_length is for text, but type is {self.type!r}")
        return self

    def find_fault(self, value: object) -> tuple[str, str] | None:
        """Judge one JSON value: None when it is good, else what was found and what was expected."""
        return self.find_misfit(value) or self.find_breach(value)

    def find_misfit(self, value: object) -> tuple[str, str] | None:
        """Judge only the type of one JSON value; null has every type."""
        if value is None or has_type(value, self.type):
            return None
        return f"{self.show(value)} ({name_type(value)})", self.type

    def find_breach(self, value: Any) -> tuple[str, str] | None:
        """Judge one JSON value of the right type by all that is beyond its type, which is what a severity is for."""
        if value is None:
            return None if self.nullable else ("null", self.type)
        if self.minimum is not None and value < self.minimum:
            return self.show(value), f"at least {self.minimum:g}"
        if self.maximum is not None and value > self.maximum:
            return self.show(value), f"at most {self.maximum:g}"
        if self.earliest is not None and parse_moment(value) < self.earliest:
            return self.show(value), f"at least {self.earliest.isoformat()}"
        if self.latest is not None and parse_moment(value) > self.latest:
            return self.show(value), f"at most {self.latest.isoformat()}"
        if self.categories is not None and value not in self.categories:
            return self.show(value), f"one of {', '.join(map(repr, self.categories[:10]))}"
        if self.max_length is not None and len(value) > self.max_length:
            return f"{len(value):,} characters", f"at most {self.max_length:,} characters"
        return None

    def show(self, value: object) -> str:
        """Write a value for a message; a personal one is not told."""
        return show_value(value) if self.personal is None or value is None else "a personal value"


class RowRule(BaseModel):
    """What must hold for a row; a row breaks it when the answer is a plain no, not when a null leaves it open.

    Examples
    --------
    >>> rule = RowRule(name="guests", expression="adults + children > 0")
    >>> rule.columns
    ('adults', 'children')
    >>> print(rule.to_sql({"adults": "integer", "children": "integer"}))
    ((CAST("adults" AS DOUBLE) + CAST("children" AS DOUBLE)) > CAST(0.0 AS DOUBLE))
    >>> RowRule(name="guests", expression="len(adults) > 0").to_sql({"adults": "integer"})
    Traceback (most recent call last):
    ValueError: 'len(adults) > 0', character 1: found a function call, expected columns, numbers, texts, …
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    expression: str
    severity: Severity = "quarantine"

    @field_validator("expression")
    @classmethod
    def _names_columns(cls, value: str) -> str:
        if not columns_of_rule(value):
            raise ValueError(f"expected an expression over columns, such as 'adults + children > 0', got {value!r}")
        return value

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at, in alphabetical order."""
        return columns_of_rule(self.expression)

    def compile(self, types: Mapping[str, ColumnType]) -> RowExpression:
        """Compile it over a contract's columns.

        Raises
        ------
        ValueError
            If the expression means nothing over these columns.
        """
        return compile_expression(self.expression, types)

    def to_sql(self, types: Mapping[str, ColumnType]) -> str:
        """Write it as a condition for DuckDB; ``(…) IS NOT DISTINCT FROM FALSE`` are the rows that break it."""
        return self.compile(types).sql


class ExpectationRule(BaseModel):
    """A Great Expectations expectation by its name, or a class of the user's code as ``module:Class``.

    Examples
    --------
    >>> ExpectationRule(type="expect_column_median_to_be_between", arguments={"column": "fare", "max_value": 50}).type
    'expect_column_median_to_be_between'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    arguments: Annotated[dict[str, Any], AfterValidator(as_document)] = {}
    severity: Severity = "refuse"

    @field_validator("type")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if _EXPECTATION.fullmatch(value) is None:
            raise ValueError("expected expect_… as Great Expectations names it, or module:Class of your own code")
        return value
