"""The data contract: what each column must be, in training and in a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from base.contract_rules import ColumnRule, ExpectationRule, RowRule, Severity
from base.errors import ArgumentError, Fault, nearest
from base.json_values import ColumnType, cut_text
from base.validation.row_expressions import RowExpression

__all__ = ["ColumnRule", "ColumnType", "DataContract", "ExpectationRule", "RowRule", "Severity"]


class DataContract(BaseModel):
    """The columns that data must have, and what each of them must be.

    ``unique`` names columns, or lists of columns whose values together are unique; ``distinct_rows`` says what
    a row that repeats another one whole does.

    Examples
    --------
    >>> columns = {"store": ColumnRule(type="text"), "day": ColumnRule(type="time")}
    >>> DataContract(columns=columns, unique=["day", ["store", "day"]]).keys
    (('day',), ('store', 'day'))
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, ColumnRule] = Field(min_length=1)
    unique: tuple[str | tuple[str, ...], ...] = ()
    unique_severity: Severity = "refuse"
    distinct_rows: Severity | None = Field(None, description="What a row does that is another one's double.")
    rules: tuple[RowRule, ...] = ()
    expectations: tuple[ExpectationRule, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_unique_column_needs_no_list(cls, document: Any) -> Any:
        if isinstance(document, Mapping) and isinstance(document.get("unique"), str):
            return {**document, "unique": (document["unique"],)}
        return document

    @model_validator(mode="after")
    def _rules_fit_the_columns(self) -> DataContract:
        for key in self.keys:
            if not key or len(set(key)) < len(key):
                raise ValueError(f"unique names {list(key)}, expected columns, each once")
            for column in key:
                if column not in self.columns:
                    raise ValueError(f"unique names {column!r}, which is not a column{nearest(column, self.columns)}")
        names = [rule.name for rule in self.rules]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"rules has {twice[0]!r} twice, expected one rule of each name")
        for rule in self.rules:
            try:
                rule.compile(self.types)
            except ValueError as error:
                raise ValueError(f"rule {rule.name!r}: {error}") from error
        return self

    @property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """What is unique, each as the columns that are so together."""
        return tuple((key,) if isinstance(key, str) else key for key in self.unique)

    @property
    def types(self) -> dict[str, ColumnType]:
        """The type of each column."""
        return {name: rule.type for name, rule in self.columns.items()}

    def restricted_to(self, columns: Sequence[str]) -> DataContract:
        """Return the contract over some of the columns, as a request needs it: what one row cannot tell is left out.

        Raises
        ------
        ArgumentError
            If one of them is not in the contract.
        """
        for name in columns:
            if name not in self.columns:
                raise ArgumentError(f"the contract has no column {name!r}{nearest(name, self.columns)}")
        return DataContract(
            columns={name: self.columns[name] for name in columns},
            rules=tuple(rule for rule in self.rules if set(rule.columns) <= set(columns)),
        )

    def find_faults(self, rows: Sequence[Mapping[str, object]], *, most: int = 100) -> list[Fault]:
        """Find everything for which some JSON rows are refused, up to *most* faults.

        A nullable column may be left out of a row; a column that the contract does not know is a fault, since
        it is usually a misspelt one. Breaking a rule whose severity is ``warn`` is none (:meth:`find_warnings`);
        a value of another type always is, since nothing can be made of it.

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
        rules = self._compile_rules(are_warnings=False)
        for index, row in enumerate(rows):
            faults += self._judge_columns(row, index)
            if not row.keys() <= self.columns.keys():
                unknown = (name for name in row if name not in self.columns)
                faults.extend(self._name_unknown(name, index) for name in islice(unknown, most))
            faults += self._judge_row(row, index, rules)
            if len(faults) >= most:
                return faults[:most]
        return faults

    def find_warnings(self, rows: Sequence[Mapping[str, object]], *, most: int = 100) -> list[Fault]:
        """Find where rows that have passed :meth:`find_faults` break rules whose severity is ``warn``.

        Examples
        --------
        >>> contract = DataContract(columns={"age": ColumnRule(type="number", maximum=120, severity="warn")})
        >>> contract.find_faults([{"age": 130}]), [str(fault) for fault in contract.find_warnings([{"age": 130}])]
        ([], ["row 0, column 'age': found 130, expected at most 120"])
        """
        lenient = {name: rule for name, rule in self.columns.items() if rule.severity == "warn"}
        rules = self._compile_rules(are_warnings=True)
        if not lenient and not rules:
            return []
        faults: list[Fault] = []
        for index, row in enumerate(rows):
            for name, rule in lenient.items():
                if name not in row and not rule.nullable:
                    faults.append(Fault(name, "nothing", rule.type, row=index))
                elif name in row and (fault := rule.find_breach(row[name])):
                    faults.append(Fault(name, *fault, row=index))
            faults += self._judge_row(row, index, rules)
            if len(faults) >= most:
                return faults[:most]
        return faults

    def _judge_columns(self, row: Mapping[str, object], index: int) -> list[Fault]:
        faults = []
        for name, rule in self.columns.items():
            fault: tuple[str, str] | None
            if name in row:
                fault = rule.find_misfit(row[name])
                if fault is None and rule.severity != "warn":
                    fault = rule.find_breach(row[name])
            else:
                fault = None if rule.nullable or rule.severity == "warn" else ("nothing", rule.type)
            if fault is not None:
                faults.append(Fault(name, *fault, row=index))
        return faults

    def _name_unknown(self, column: str, index: int) -> Fault:
        expected = f"only known columns{nearest(column, self.columns)}"
        return Fault(cut_text(column), "an unknown column", expected, row=index)

    def _compile_rules(self, *, are_warnings: bool) -> list[tuple[RowRule, RowExpression]]:
        types = self.types
        return [(rule, rule.compile(types)) for rule in self.rules if (rule.severity == "warn") is are_warnings]

    def _judge_row(
        self, row: Mapping[str, object], index: int, rules: Sequence[tuple[RowRule, RowExpression]]
    ) -> list[Fault]:
        faults = []
        for rule, expression in rules:
            # A value of another type is a fault already; the rule has nothing to say about it.
            if any(self.columns[name].find_misfit(row.get(name)) for name in expression.columns):
                continue
            if expression.evaluate(row) is False:
                found = ", ".join(f"{name} {self.columns[name].show(row.get(name))}" for name in expression.columns)
                faults.append(Fault(None, found, f"{rule.expression} (rule {rule.name!r})", row=index))
        return faults
