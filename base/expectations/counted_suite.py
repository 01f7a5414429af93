"""Let Great Expectations judge a suite by counts that another engine made, without a frame of the rows.

Great Expectations computes metrics, such as "how many values lie outside", and then judges them. Here the metrics
are given: an execution engine answers from a table of counts, and the suite, its expectations and their verdicts
are Great Expectations' own. docs/decisions/0007-counts-for-great-expectations.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from base.validation.checks import metric_key

ROW_RULE = "expect_rows_to_hold"
"""The expectation that a contract's row rule becomes; Great Expectations has none over rows of a frame."""


class SuiteCounts(BaseModel):
    """What a suite is judged by: rows, and how many are unexpected by :func:`~base.validation.checks.metric_key`."""

    model_config = ConfigDict(frozen=True)

    n_rows: int
    unexpected: dict[str, int]
    examples: dict[str, tuple[str, ...]] = {}
    columns: tuple[str, ...] = ()


class CountMissing(KeyError):
    """The suite asks for a count that nobody made."""


def counting_engine(counts: SuiteCounts) -> Any:
    """Make an execution engine of Great Expectations that looks every metric up in *counts*."""
    import pandas as pd
    from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine

    class CountingEngine(PandasExecutionEngine):
        def resolve_metrics(
            self,
            metrics_to_resolve: Iterable[Any],
            metrics: Any = None,
            runtime_configuration: Any = None,
        ) -> dict[Any, Any]:
            return {metric.id: _look_up(metric, counts) for metric in metrics_to_resolve}

    return CountingEngine(batch_data_dict={"rows": pd.DataFrame()})


def define_row_rule() -> None:
    """Make Great Expectations know :data:`ROW_RULE`; its metaclass keeps every class that is made."""
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        get_expectation_impl(ROW_RULE)
    except ExpectationNotFoundError:
        _define_row_rule()


def _look_up(metric: Any, counts: SuiteCounts) -> Any:
    name, _, kind = metric.metric_name.rpartition(".")
    domain = dict(metric.metric_domain_kwargs)
    if metric.metric_name == "table.row_count" or kind == "filtered_row_count":
        return counts.n_rows
    if metric.metric_name == "table.rows_broken":
        return counts.unexpected[metric_key(metric.metric_name, metric.metric_value_kwargs["name"])]
    columns = domain.get("column_list") or [domain.get("column")]
    if kind == "unexpected_count":
        return counts.unexpected[metric_key(name, *columns)]
    if kind == "unexpected_values":
        return list(counts.examples.get(metric_key(name, *columns), ()))
    if metric.metric_name in ("table.columns", "table.column_count"):
        return list(counts.columns) if kind == "columns" else len(counts.columns)
    if kind in ("condition", "map") or metric.metric_name == "table.column_types":
        return []  # asked for on the way to a count, which is there
    raise CountMissing(f"no count for {metric.metric_name}")


def _define_row_rule() -> None:
    from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
    from great_expectations.expectations.expectation import BatchExpectation
    from great_expectations.expectations.metrics.metric_provider import metric_value
    from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

    from base.validation.row_expressions import compile_expression

    class TableRowsBroken(TableMetricProvider):
        metric_name = "table.rows_broken"
        value_keys = ("name", "expression", "types")

        @metric_value(engine=PandasExecutionEngine)
        def _pandas(cls, execution_engine: Any, metric_domain_kwargs: Any, metric_value_kwargs: Any, **_: Any) -> int:  # noqa: N805
            frame, _domain, _accessor = execution_engine.get_compute_domain(metric_domain_kwargs, "table")
            rule = compile_expression(metric_value_kwargs["expression"], metric_value_kwargs["types"])
            rows = frame[list(rule.columns)].astype(object)
            return sum(rule.evaluate(row) is False for row in rows.where(rows.notna(), None).to_dict("records"))

    class ExpectRowsToHold(BatchExpectation):
        name: str
        expression: str
        types: dict[str, str]

        metric_dependencies = ("table.rows_broken",)
        success_keys = ("name", "expression", "types")
        domain_keys = ("batch_id", "table")

        def _validate(self, metrics: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
            broken = int(metrics["table.rows_broken"])
            return {"success": broken == 0, "result": {"unexpected_count": broken}}
