"""Expectations that a contract names itself, of Great Expectations or of the user's code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from base.contract import ExpectationRule
from base.errors import DefinitionError, EverfitError, nearest
from base.expectations.counted_suite import SuiteCounts, counting_engine
from base.expectations.results import ExpectationResult, RowsFile
from base.expectations.suite_runs import columns_of_arguments, frame_engine, frame_of, read_result, validate
from base.user_code import UserCode

if TYPE_CHECKING:
    import pandas as pd

_BATCH_ROWS = 262_144
_N_EXAMPLES = 5
# They judge a row by other rows, so that they need all rows at once.
_NOT_ROW_BY_ROW = (
    "expect_column_values_to_be_unique",
    "expect_compound_columns_to_be_unique",
    "expect_column_values_to_be_increasing",
    "expect_column_values_to_be_decreasing",
    "expect_column_values_to_not_be_outliers",
    "expect_column_value_z_scores_to_be_less_than",
)


def run_named(
    rules: Sequence[ExpectationRule], files: Sequence[RowsFile], code: Mapping[str, bytes]
) -> list[ExpectationResult]:
    """Judge each expectation over the rows of some files.

    Those of Great Expectations that judge row by row run in batches; all others, and the user's own, see the whole
    of the columns that they name. Expectations of a table are judged by its counts.

    Raises
    ------
    DefinitionError
        If an expectation is not known, its arguments are not its own, it names no column that there is, or is to
        set rows aside but cannot tell which.
    """
    return [_run(rule, files, UserCode(code)) for rule in rules]


def find_expectation(rule: ExpectationRule, code: UserCode) -> Any:
    """Return an expectation's class; an unknown one is an error, where Great Expectations would pass over it.

    Raises
    ------
    DefinitionError
        Naming the nearest that is known.
    """
    import great_expectations.expectations.core  # noqa: F401  (it registers them)
    from great_expectations.expectations.expectation import Expectation
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    if ":" in rule.type:
        try:
            found = code.function(rule.type)
        except EverfitError as error:
            raise DefinitionError(f"expectation {rule.type!r}: {error}") from error
        if not (isinstance(found, type) and issubclass(found, Expectation)):
            raise DefinitionError(f"expectation {rule.type!r} is no class of Great Expectations' Expectation")
        return found
    known = list_registered_expectation_implementations()
    if rule.type not in known:
        raise DefinitionError(
            f"expectation {rule.type!r} is none that Great Expectations knows{nearest(rule.type, known)}"
        )
    return get_expectation_impl(rule.type)


def _run(rule: ExpectationRule, files: Sequence[RowsFile], code: UserCode) -> ExpectationResult:
    kind = find_expectation(rule, code)
    try:
        configuration = kind(**rule.arguments).configuration
    except Exception as error:
        raise DefinitionError(f"expectation {rule.type!r} refuses its arguments {rule.arguments!r}: {error}") from error
    if rule.severity == "quarantine" and not _is_map(kind):
        raise DefinitionError(
            f"expectation {rule.type!r} judges the rows together and cannot say which are bad; its severity is "
            "'quarantine', expected 'refuse' or 'warn'"
        )
    if rule.type.startswith("expect_table_"):
        return _run_on_counts(configuration, files)
    columns = _columns(rule, files)
    format_name = "COMPLETE" if rule.severity == "quarantine" else "SUMMARY"
    result_format = {"result_format": format_name, "partial_unexpected_count": _N_EXAMPLES}
    is_row_by_row = _is_map(kind) and ":" not in rule.type and rule.type not in _NOT_ROW_BY_ROW
    results, places = [], []
    for frame, place in _frames(files, columns, is_row_by_row=is_row_by_row):
        (result,) = validate([configuration], frame_engine(frame), result_format=result_format)
        results.append(result)
        rows = (result.get("result") or {}).get("unexpected_index_list") or []
        places += [place[row] for row in rows]
    return _merge(rule, results, places)


def _is_map(kind: Any) -> bool:
    from great_expectations.expectations import expectation as kinds

    maps = (kinds.ColumnMapExpectation, kinds.ColumnPairMapExpectation, kinds.MulticolumnMapExpectation)
    return issubclass(kind, maps)


def _columns(rule: ExpectationRule, files: Sequence[RowsFile]) -> list[str]:
    import pyarrow.parquet as pq

    present = list(dict.fromkeys(name for file in files for name in pq.read_schema(file.path).names))
    named = sorted(columns_of_arguments(rule.arguments))
    for name in named:
        if name not in present:
            raise DefinitionError(
                f"expectation {rule.type!r} names {name!r}, which is not a column{nearest(name, present)}"
            )
    return named or present


def _frames(
    files: Sequence[RowsFile], columns: Sequence[str], *, is_row_by_row: bool
) -> Iterator[tuple[pd.DataFrame, list[tuple[int, int]]]]:
    """Read frames with a plain index, and beside each where its rows stand: the file's index and the position."""
    import pyarrow as pa

    tables, places = [], []
    for table, place in _batches(files, columns):
        if is_row_by_row:
            yield frame_of(table), place
        else:
            tables.append(table)
            places += place
    if tables:
        yield frame_of(pa.concat_tables(tables, promote_options="permissive")), places


def _batches(files: Sequence[RowsFile], columns: Sequence[str]) -> Iterator[tuple[Any, list[tuple[int, int]]]]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    for index, file in enumerate(files):
        with pq.ParquetFile(file.path, pre_buffer=False, buffer_size=1 << 20) as stored:
            counts = np.ones(stored.metadata.num_rows, dtype=bool)
            for dropped in file.dropped:
                counts[pq.read_table(dropped)["position"].to_numpy()] = False
            start = 0
            present = [name for name in columns if name in stored.schema_arrow.names]
            for batch in stored.iter_batches(_BATCH_ROWS, columns=present):
                table = pa.Table.from_batches([batch])
                for name in columns:
                    if name not in present:
                        table = table.append_column(name, pa.nulls(table.num_rows, pa.float64()))
                mask = counts[start : start + table.num_rows]
                yield table.filter(pa.array(mask)), [(index, start + int(at)) for at in np.flatnonzero(mask)]
                start += table.num_rows


def _run_on_counts(configuration: Any, files: Sequence[RowsFile]) -> ExpectationResult:
    import pyarrow.parquet as pq

    columns = tuple(dict.fromkeys(name for file in files for name in pq.read_schema(file.path).names))
    n_rows = sum(pq.read_metadata(file.path).num_rows for file in files)
    n_rows -= sum(pq.read_metadata(dropped).num_rows for file in files for dropped in file.dropped)
    engine = counting_engine(SuiteCounts(n_rows=n_rows, unexpected={}, columns=columns))
    (result,) = validate([configuration], engine, result_format={"result_format": "BASIC"})
    return read_result(result)


def _merge(
    rule: ExpectationRule, results: Sequence[dict[str, Any]], places: Sequence[tuple[int, int]]
) -> ExpectationResult:
    """Add the batches' counts up; one that tolerates a share ("mostly") tolerates it of all rows."""
    read = [read_result(result) for result in results]
    found = [result.get("result") or {} for result in results]
    errors = [result.error for result in read if result.error]
    n_unexpected = sum(result.n_unexpected for result in read)
    success = all(result.success for result in read)
    if not errors and len(results) > 1:
        n_judged = sum((one.get("element_count") or 0) - (one.get("missing_count") or 0) for one in found)
        success = n_unexpected <= (1 - float(rule.arguments.get("mostly", 1))) * n_judged
    return ExpectationResult(
        type=rule.type,
        arguments=rule.arguments,
        success=success,
        n_unexpected=n_unexpected,
        observed=read[0].observed if len(read) == 1 else None,
        examples=tuple(example for result in read for example in result.examples)[:_N_EXAMPLES],
        rows=() if success else tuple(places),
        error=errors[0] if errors else None,
    )
