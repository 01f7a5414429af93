"""A contract as a Great Expectations suite, and what it is judged by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from base.contract import ColumnType, DataContract, Severity
from base.expectations.counted_suite import ROW_RULE, SuiteCounts
from base.expectations.results import ExpectationResult
from base.validation.checks import RowCheck, metric_key
from base.validation.duplicates import Duplicates, Key

_SEVERITIES: dict[Severity, str] = {"refuse": "critical", "quarantine": "warning", "warn": "info"}
_UNIQUE, _COMPOUND = "column_values.unique", "compound_columns.unique"

_METRICS = {
    "column_values_to_not_be_null": "column_values.nonnull",
    "column_values_to_be_between": "column_values.between",
    "column_values_to_be_in_set": "column_values.in_set",
    "column_value_lengths_to_be_between": "column_values.value_length.between",
    "column_values_to_be_unique": _UNIQUE,
    "compound_columns_to_be_unique": _COMPOUND,
}


def compile_suite(
    contract: DataContract, *, name: str, min_rows: int, columns: Mapping[str, ColumnType] | None = None
) -> dict[str, Any]:
    """Write a contract as a Great Expectations suite, in its JSON form.

    Types are not in it: they are judged on the schema, before a row is read. Neither are the expectations that
    the contract names itself: they run on frames (:mod:`base.expectations.named`).

    Parameters
    ----------
    columns : mapping, optional
        The columns that there are; without it, all that the contract names.

    Examples
    --------
    >>> from base.contract import ColumnRule
    >>> contract = DataContract(columns={"age": ColumnRule(type="number", nullable=False, minimum=0)})
    >>> suite = compile_suite(contract, name="people", min_rows=1)
    >>> [expectation["type"].removeprefix("expect_") for expectation in suite["expectations"]]
    ['table_row_count_to_be_between', 'column_values_to_not_be_null', 'column_values_to_be_between']
    """
    present = contract.types if columns is None else dict(columns)
    expectations = [_expect("table_row_count_to_be_between", "refuse", min_value=min_rows)]
    for column, rule in contract.columns.items():
        if column not in present:
            continue
        severity = rule.severity
        if not rule.nullable:
            expectations.append(_expect("column_values_to_not_be_null", severity, column=column))
        if rule.personal is not None:
            continue
        low = rule.minimum if rule.earliest is None else rule.earliest.isoformat()
        high = rule.maximum if rule.latest is None else rule.latest.isoformat()
        if low is not None or high is not None:
            expectations.append(
                _expect("column_values_to_be_between", severity, column=column, min_value=low, max_value=high)
            )
        if rule.categories is not None:
            values = list(rule.categories)
            expectations.append(_expect("column_values_to_be_in_set", severity, column=column, value_set=values))
        if rule.max_length is not None:
            longest = rule.max_length
            expectations.append(
                _expect("column_value_lengths_to_be_between", severity, column=column, max_value=longest)
            )
    for row_rule in contract.rules:
        if set(row_rule.columns) <= present.keys():
            types = {column: contract.types[column] for column in row_rule.columns}
            arguments = {"name": row_rule.name, "expression": row_rule.expression, "types": types}
            expectations.append({**_expect("", row_rule.severity), "type": ROW_RULE, "kwargs": arguments})
    for key in contract.keys:
        if set(key) <= present.keys():
            expectations.append(_expect_unique(key, contract.unique_severity))
    if contract.distinct_rows is not None:
        expectations.append(_expect_unique(tuple(present), contract.distinct_rows, ignored="never"))
    return {"name": name, "expectations": expectations}


def count_for_suite(
    n_rows: int,
    checks: Sequence[RowCheck],
    broken: Mapping[str, int],
    examples: Mapping[str, Sequence[str]],
    nulls: Mapping[str, int],
    duplicates: Iterable[Duplicates],
) -> SuiteCounts:
    """Gather what DuckDB has counted under the names that Great Expectations gives its metrics."""
    unexpected = {metric_key("column_values.nonnull", column): count for column, count in nulls.items()}
    shown: dict[str, tuple[str, ...]] = {}
    for check in checks:
        if check.metric != metric_key("column_values.nonnull", *check.columns):
            unexpected[check.metric] = unexpected.get(check.metric, 0) + broken.get(check.reason, 0)
            shown[check.metric] = (*shown.get(check.metric, ()), *examples.get(check.reason, ()))
    for found in duplicates:
        metric = unique_metric(found.key)
        unexpected[metric], shown[metric] = found.n_involved, found.examples
    return SuiteCounts(n_rows=n_rows, unexpected=unexpected, examples=shown)


def find_metric(result: ExpectationResult) -> str | None:
    """Name the metric that a result was judged by; None for those that count no rows that break something."""
    if result.type == ROW_RULE:
        return metric_key("table.rows_broken", str(result.arguments["name"]))
    metric = _METRICS.get(result.type.removeprefix("expect_"))
    columns = result.arguments.get("column_list") or [result.arguments.get("column")]
    return None if metric is None else metric_key(metric, *columns)


def unique_metric(key: Key) -> str:
    """Name the metric that counts rows which share a key's values."""
    return metric_key(_UNIQUE if len(key.columns) == 1 else _COMPOUND, *key.columns)


def _expect_unique(
    key: tuple[str, ...], severity: Severity, *, ignored: str = "all_values_are_missing"
) -> dict[str, Any]:
    if len(key) == 1:
        return _expect("column_values_to_be_unique", severity, column=key[0])
    return _expect("compound_columns_to_be_unique", severity, column_list=list(key), ignore_row_if=ignored)


def _expect(kind: str, severity: Severity, **arguments: Any) -> dict[str, Any]:
    kwargs = {key: value for key, value in arguments.items() if value is not None}
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": _SEVERITIES[severity]}
