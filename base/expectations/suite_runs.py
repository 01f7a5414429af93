"""Run Great Expectations: a suite over counts or over a file, and single expectations over the columns they name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import EverfitError
from base.expectations.counted_suite import SuiteCounts, counting_engine, define_row_rule
from base.expectations.results import ExpectationResult

if TYPE_CHECKING:
    import pandas as pd

_N_EXAMPLES = 5


class ExpectationsFailed(EverfitError):
    """Great Expectations could not judge the data: not a verdict on the data, but the lack of one."""


def judge_counts(suite: dict[str, Any], counts: SuiteCounts) -> list[ExpectationResult]:
    """Judge a suite by counts that were made elsewhere.

    Raises
    ------
    ExpectationsFailed
        If the suite holds an expectation that this Great Expectations does not know: it would drop it with
        a line in its log, and the suite would pass.
    """
    return _validate(_load(suite), counting_engine(counts), "BASIC")


def run_suite(suite: dict[str, Any], file: Path) -> list[ExpectationResult]:
    """Run a suite over a Parquet file, whole in memory; raises as :func:`judge_counts` does."""
    loaded = _load(suite)
    columns: set[str] = set()
    for item in suite["expectations"]:
        columns |= columns_of_arguments(item["kwargs"])
    return _validate(loaded, frame_engine(read_columns(file, sorted(columns))), "SUMMARY")


def frame_engine(frame: pd.DataFrame) -> Any:
    """Make Great Expectations' engine over a frame."""
    from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine

    return PandasExecutionEngine(batch_data_dict={"rows": frame})


def columns_of_arguments(arguments: dict[str, Any]) -> set[str]:
    """List the columns that an expectation's arguments name."""
    named = {str(arguments[key]) for key in ("column", "column_A", "column_B") if key in arguments}
    return named.union(arguments.get("column_list", ()), arguments.get("types", ()))


def validate(configurations: Iterable[Any], engine: Any, *, result_format: dict[str, Any]) -> list[dict[str, Any]]:
    """Judge expectations by an engine; results are Great Expectations' own JSON."""
    from great_expectations.validator.validator import Validator

    validator = Validator(execution_engine=engine)
    validator.metrics_calculator.show_progress_bars = False
    results = validator.graph_validate(
        configurations=list(configurations), runtime_configuration={"result_format": result_format}
    )
    return [result.to_json_dict() for result in results]


def read_columns(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read some columns of a Parquet file as a frame."""
    import pyarrow.parquet as pq

    return frame_of(pq.read_table(file, columns=list(columns)))


def frame_of(table: Any) -> pd.DataFrame:
    """Turn an Arrow table into a frame in which integers stay integers."""
    import pandas as pd
    import pyarrow as pa

    frame: pd.DataFrame = table.to_pandas()
    for name in table.column_names:
        # With gaps, integers would become doubles, and two long identifiers one.
        if pa.types.is_integer(table[name].type) and table[name].null_count:
            frame[name] = table[name].to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame


def read_result(result: dict[str, Any]) -> ExpectationResult:
    """Read one of Great Expectations' results."""
    config, found = result["expectation_config"], result.get("result") or {}
    info = result.get("exception_info") or {}
    # The information about exceptions has two shapes: flat, or one entry for each metric.
    faults = [info] if "raised_exception" in info else list(info.values())
    error = next((fault["exception_message"] for fault in faults if fault.get("raised_exception")), None)
    kwargs = {key: value for key, value in config["kwargs"].items() if key != "batch_id"}
    examples: Sequence[Any] = found.get("partial_unexpected_list") or []
    return ExpectationResult(
        type=config["type"],
        arguments=kwargs,
        success=bool(result["success"]),
        n_unexpected=int(found.get("unexpected_count") or 0),
        observed=found.get("observed_value"),
        examples=tuple(value if isinstance(value, str | int | float | bool) else str(value) for value in examples),
        error=error,
    )


def _load(suite: dict[str, Any]) -> Any:
    from great_expectations.core.expectation_suite import ExpectationSuite

    define_row_rule()
    loaded = ExpectationSuite(**suite)
    if len(loaded.expectations) != len(suite["expectations"]):
        known = {expectation.configuration.type for expectation in loaded.expectations}
        lost = sorted({expectation["type"] for expectation in suite["expectations"]} - known)
        raise ExpectationsFailed(f"Great Expectations does not know {', '.join(lost)}; correct the name")
    return loaded


def _validate(suite: Any, engine: Any, result_format: str) -> list[ExpectationResult]:
    asked = {"result_format": result_format, "partial_unexpected_count": _N_EXAMPLES}
    return [read_result(result) for result in validate(suite.expectation_configurations, engine, result_format=asked)]
