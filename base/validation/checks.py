"""The rules of a contract as SQL: for each, the condition that holds for a row which breaks it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from base.contract import ColumnRule, ColumnType, DataContract, Severity
from base.rows.duck import quote_name, quote_text

MASK = "•••"
"""What stands in pages and messages for a value of a personal column."""

_LONGEST_SHOWN = 60
_SQL_TYPES: dict[ColumnType, str] = {
    "number": "DOUBLE",
    "integer": "BIGINT",
    "text": "VARCHAR",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMPTZ",
}
_LONG_NAMES: dict[ColumnType, str] = {"time": "TIMESTAMP WITH TIME ZONE"}


@dataclass(frozen=True)
class RowCheck:
    """One thing that a row can break.

    Attributes
    ----------
    reason : str
        What is said of a row that breaks it, such as ``distance is below 0``.
    metric : str
        The metric of Great Expectations that counts such rows; the two sides of a range share one.
    condition : str
        SQL over the row's columns, true where it is broken; what a null leaves open may be null.
    value : str
        SQL that shows the evidence as text, masked where a column is personal.
    """

    reason: str
    metric: str
    columns: tuple[str, ...]
    condition: str
    value: str
    expected: str
    severity: Severity
    is_type: bool = False

    @property
    def column(self) -> str | None:
        """The column whose value is the evidence; None where several are."""
        return self.columns[0] if len(self.columns) == 1 else None


def compile_checks(
    contract: DataContract | None, types: Mapping[str, ColumnType], *, needed: Collection[str]
) -> tuple[RowCheck, ...]:
    """Write a contract's rules as checks: by column in alphabetical order, then the rules over several columns.

    Parameters
    ----------
    types : mapping of column to type
        The columns that there are; rules of others are left out.
    needed : collection of str
        Columns without which a row teaches nothing, the target and the time: null there always sets the row aside.

    Examples
    --------
    >>> contract = DataContract(columns={"age": ColumnRule(type="integer", nullable=False, maximum=120)})
    >>> for check in compile_checks(contract, {"age": "integer"}, needed=()):
    ...     print(check.reason, "|", check.condition)
    age is null | ("age" IS NULL)
    age is above 120 | ("age" > 120.0::DOUBLE)
    """
    checks = []
    known = {} if contract is None else contract.columns
    for name in sorted({*known, *needed} & types.keys()):
        rule = known.get(name) or ColumnRule(type=types[name])
        if rule.personal is not None:
            # Extraction has made hashes of the values: nothing but their absence can be told.
            rule = ColumnRule(type=types[name], nullable=rule.nullable, severity=rule.severity, personal=rule.personal)
        checks += _column_checks(name, rule, types[name], is_needed=name in needed)
    for row_rule in () if contract is None else contract.rules:
        expression = row_rule.compile({name: known[name].type for name in known})
        if not set(expression.columns) <= types.keys():
            continue
        checks.append(
            RowCheck(
                reason=f"rule {row_rule.name!r} does not hold",
                metric=metric_key("table.rows_broken", row_rule.name),
                columns=expression.columns,
                condition=f"(NOT {expression.sql})",
                value=show_columns(expression.columns, known),
                expected=row_rule.expression,
                severity=row_rule.severity,
            )
        )
    return tuple(checks)


def metric_key(metric: str, *names: str) -> str:
    """Name what a metric of Great Expectations is about."""
    return "|".join((metric, *names))


def show_columns(columns: Collection[str], rules: Mapping[str, ColumnRule]) -> str:
    """Write SQL that shows some columns' values as one text; those of personal columns are masked."""
    if len(columns) == 1:
        (name,) = columns
        return _show(name, rules)
    shown = [f"{quote_text(f'{name}=')} || coalesce({_show(name, rules)}, 'null')" for name in columns]
    return " || ', ' || ".join(shown) or "''"


def select_as(types: Mapping[str, ColumnType], present: Mapping[str, str]) -> str:
    """Write what SELECT takes from a file so that its columns have the table's types.

    A file may be older than a column, and one without a single value may have stored it as another type.

    Parameters
    ----------
    present : mapping of column to DuckDB's type
    """
    missing = [
        f", CAST(NULL AS {_SQL_TYPES[kind]}) AS {quote_name(name)}"
        for name, kind in types.items()
        if name not in present
    ]
    other = [
        f"TRY_CAST(CAST({quote_name(name)} AS VARCHAR) AS {_SQL_TYPES[kind]}) AS {quote_name(name)}"
        for name, kind in types.items()
        if name in present and present[name] not in (_SQL_TYPES[kind], _LONG_NAMES.get(kind))
    ]
    replaced = f" REPLACE ({', '.join(other)})" if other else ""
    return f"*{replaced}{''.join(missing)}"


def _column_checks(name: str, rule: ColumnRule, found: ColumnType, *, is_needed: bool) -> list[RowCheck]:
    column, checks = quote_name(name), []
    value = _show(name, {name: rule})

    def add(
        problem: str, metric: str, condition: str, expected: str, severity: Severity, *, is_type: bool = False
    ) -> None:
        key = metric_key(f"column_values.{metric}", name)
        checks.append(RowCheck(f"{name} {problem}", key, (name,), condition, value, expected, severity, is_type))

    if is_needed or not rule.nullable:
        # Only a contract that says so refuses: targets that are still to come are no fault.
        refuses = rule.severity == "refuse" and not rule.nullable
        severity = "refuse" if refuses else "quarantine" if is_needed else rule.severity
        add("is null", "nonnull", f"({column} IS NULL)", f"{rule.type}, not null", severity)
    if rule.type == "integer" and found == "number":
        whole = f"{column} <> floor({column}) AND isfinite({column})"
        add("is not whole", "whole", f"({whole})", "integer", "refuse", is_type=True)
    for problem, sign, bound, shown, words in _bounds(rule):
        condition = f"({column} {sign} {bound})"
        add(f"{problem} {shown}", "between", condition, f"{words} {shown}", rule.severity)
    if rule.categories is not None:
        allowed = ", ".join(map(quote_text, rule.categories))
        some = ", ".join(map(repr, rule.categories[:10])) + (", …" if len(rule.categories) > 10 else "")
        condition = f"(CAST({column} AS VARCHAR) NOT IN ({allowed}))"
        add("is none of its categories", "in_set", condition, f"one of {some}", rule.severity)
    if rule.max_length is not None:
        condition = f"(length(CAST({column} AS VARCHAR)) > {rule.max_length})"
        limit = f"{rule.max_length:,} characters"
        add(f"is longer than {limit}", "value_length.between", condition, f"at most {limit}", rule.severity)
    return checks


def _bounds(rule: ColumnRule) -> list[tuple[str, str, str, str, str]]:
    found = []
    if rule.minimum is not None:
        found.append(("is below", "<", f"{float(rule.minimum)!r}::DOUBLE", f"{rule.minimum:g}", "at least"))
    if rule.maximum is not None:
        found.append(("is above", ">", f"{float(rule.maximum)!r}::DOUBLE", f"{rule.maximum:g}", "at most"))
    for problem, sign, moment, words in (
        ("is before", "<", rule.earliest, "at least"),
        ("is after", ">", rule.latest, "at most"),
    ):
        if moment is not None:
            shown = moment.isoformat()
            found.append((problem, sign, f"CAST({quote_text(shown)} AS TIMESTAMPTZ)", shown, words))
    return found


def _show(name: str, rules: Mapping[str, ColumnRule]) -> str:
    rule = rules.get(name)
    if rule is not None and rule.personal is not None:
        return quote_text(MASK)
    return f"left(CAST({quote_name(name)} AS VARCHAR), {_LONGEST_SHOWN})"
