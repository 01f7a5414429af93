"""Bodies of `everfit contract`: infer one from data, show it, and compare."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import ArgumentError, nearest
from console.contract_sides import (
    Side,
    find_named_pipeline,
    open_data,
    open_pipeline_data,
    read_contract,
    read_side,
)
from console.installation import read_settings

if TYPE_CHECKING:
    import duckdb

    from base.changes.change import Change
    from base.inference.contracts import InferredContract
    from console.output import Output


def infer_command(
    source: str, *, output_file: str | None, target: str | None, time: str | None, force: bool, output: Output
) -> None:
    """Infer a contract, and print it or write it to a file.

    Raises
    ------
    ArgumentError
        If a column is not there, or the file is.
    """
    from base.inference.contract_text import compose_contract, write_contract

    file = None if output_file is None else Path(output_file)
    if file is not None and file.exists() and not force:
        raise ArgumentError(f"file {str(file)!r} is there already; choose another one, or --force to replace it")
    if file is not None and not file.absolute().parent.is_dir():
        raise ArgumentError(f"there is no folder {str(file.absolute().parent)!r} to write {file.name!r} in")
    settings = read_settings()
    pipeline = find_named_pipeline(source, settings)
    if pipeline is not None:
        with open_pipeline_data(pipeline, settings) as connection:
            inferred = _infer(connection, target=target or pipeline.spec.target_column, time=time or pipeline.spec.time)
    else:
        with open_data(source, settings) as connection:
            inferred = _infer(connection, target=target, time=time)
    if file is None:
        output.say(compose_contract(inferred.contract, notes=inferred.notes, advice=inferred.advice).rstrip())
    else:
        write_contract(inferred.contract, file, notes=inferred.notes, advice=inferred.advice)
        output.say(f"{file} says what {len(inferred.contract.columns)} columns must be, from {inferred.n_rows:,} rows")
        for text in inferred.advice:
            output.say(f"  {text}")
        output.say("Read it, change what you know better, and name it under validate_data.contract.")
    output.result(
        {
            "file": None if file is None else str(file),
            "n_rows": inferred.n_rows,
            "contract": inferred.contract.model_dump(mode="json", exclude_defaults=True),
            "notes": inferred.notes,
            "advice": list(inferred.advice),
        }
    )


def show_command(name: str, *, output: Output) -> None:
    """Show the contract of a file or a pipeline as a table."""
    contract = read_contract(name, read_settings())
    if contract is None:
        raise ArgumentError(
            f"{name!r} is no contract's file and no pipeline; `everfit contract infer` makes one of data"
        )
    output.table(
        ["column", "type", "null", "must be", "if not", "marks"],
        [
            [
                column,
                rule.type,
                "yes" if rule.nullable else "no",
                _describe_rule(rule.model_dump(mode="json", exclude_none=True)),
                rule.severity,
                ", ".join(
                    [
                        *(["sensitive"] if rule.sensitive else []),
                        *([f"personal: {rule.personal}"] * bool(rule.personal)),
                    ]
                ),
            ]
            for column, rule in contract.columns.items()
        ],
    )
    for key in contract.keys:
        output.say(f"unique: {', '.join(key)} ({contract.unique_severity})")
    if contract.distinct_rows is not None:
        output.say(f"no row repeats another one ({contract.distinct_rows})")
    for row_rule in contract.rules:
        output.say(f"rule {row_rule.name}: {row_rule.expression} ({row_rule.severity})")
    for expectation in contract.expectations:
        output.say(f"expectation {expectation.type} {expectation.arguments} ({expectation.severity})")
    output.result(contract.model_dump(mode="json"))


def diff_command(before: str, after: str, *, output: Output) -> None:
    """Compare two contracts, pipelines, snapshots or sources; differences are no failure."""
    settings = read_settings()
    one, other = read_side(before, settings), read_side(after, settings)
    changes = _compare(one, other)
    if not changes:
        output.say(f"No difference between {one.what} {before} and {other.what} {after}.")
    else:
        output.table(
            ["what", "column", "before", "now", "detail"],
            [[change.kind, change.column, change.before, change.now, change.detail] for change in changes],
        )
        counts = Counter(change.kind for change in changes)
        output.say()
        output.say(", ".join(f"{count} x {kind}" for kind, count in counts.items()))
    output.result(
        {
            "before": {"name": before, "is": one.what},
            "now": {"name": after, "is": other.what},
            "changes": [change.model_dump() for change in changes],
        }
    )


def _infer(connection: duckdb.DuckDBPyConnection, *, target: str | None, time: str | None) -> InferredContract:
    from base.changes.profiled_rows import VIEW
    from base.changes.profiles import view_types
    from base.inference.contracts import infer_from_view

    types = view_types(connection, VIEW)
    for option, column in (("--target", target), ("--time", time)):
        if column is not None and column not in types:
            raise ArgumentError(
                f"{option} {column!r} is no column{nearest(column, types)}; there are {', '.join(types)}"
            )
    if time is not None and types[time] != "time":
        raise ArgumentError(
            f"--time {time!r} holds {types[time]}, not moments; name the pipeline instead, which reads them as moments"
        )
    return infer_from_view(connection, VIEW, target=target, time=time)


def _compare(one: Side, other: Side) -> list[Change]:
    from base.changes.contract_diff import compare_contracts, compare_data, judge_profile
    from base.changes.schema import compare_tables

    if one.contract is not None and other.contract is not None:
        return compare_contracts(one.contract, other.contract)
    if one.profile and other.profile and one.sample is not None and other.sample is not None:
        return compare_data(one.profile, other.profile, compare_tables(one.sample, other.sample))
    if one.contract is not None and other.profile is not None:
        return judge_profile(one.contract, other.profile)
    raise ArgumentError(f"{other.name!r} is a contract and {one.name!r} is data; name the contract first")


def _describe_rule(rule: dict[str, object]) -> str:
    parts = ("minimum", "maximum", "earliest", "latest", "categories", "max_length")
    return ", ".join(
        f"{part} {value:g}" if isinstance(value := rule[part], float) else f"{part} {_shorten(value)}"
        for part in parts
        if part in rule
    )


def _shorten(value: object) -> str:
    if not isinstance(value, list):
        return str(value)
    return ", ".join(map(str, value[:5])) + (f" and {len(value) - 5} more" if len(value) > 5 else "")
