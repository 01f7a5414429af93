"""Validate data: refuse what cannot be trained on, set bad rows aside with their reasons."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.artifacts import ArtifactStore
from base.contract import ColumnRule, DataContract
from base.documents import as_document
from base.errors import DataRefused, Fault, nearest
from base.expectations import (
    ExpectationResult,
    ExpectationsFailed,
    ExpectationsProcess,
    compile_suite,
    take_expectations,
)
from base.imports_ahead import import_ahead
from base.pipeline import Pipeline
from base.references import Snapshot, ValidatedData
from base.rows import load_rows
from tasks.execution import RunReference, execute_step, open_context
from tasks.frames import store_rows, store_table

REASON = "quarantine_reason"
# What the next steps need, in their order: this process has nothing to do while another one judges.
_NEEDED_NEXT = ("sklearn.ensemble", "sklearn.compose", "sklearn.preprocessing", "skops.io")
_ACCEPTED = {"number": {"number", "integer"}, "integer": {"integer", "number"}}


def validate_data(
    snapshot: Snapshot, pipeline: Pipeline, artifacts: ArtifactStore, expectations: ExpectationsProcess
) -> ValidatedData:
    """Judge a snapshot by the contract, and part the good rows from the bad.

    The columns and their types are judged first, on the schema. Great Expectations then judges the values;
    where an expectation does not hold, the rows that break it are found and set aside. A row without a target or
    a time is set aside as well: it can teach nothing. Rows whose target is still to come are no fault, and do not
    count towards the limit. An infinite number counts as missing, here as in every feature.

    Raises
    ------
    DataRefused
        If a column is missing or of another type, the target is all null or has one class, values that must
        be unique are not, too few rows are left, or too large a share had to be set aside.
    """
    table = load_rows(artifacts, snapshot.rows)
    contract = pipeline.contract
    what = f"the data of pipeline {pipeline.name!r}"
    _refuse_if(
        what, _schema_faults(table, contract, snapshot), "Correct the source, or the contract if the change is meant."
    )
    _refuse_if(
        what, _target_faults(table, pipeline), "Look at the target's column, or name another one in the definition."
    )
    results = _run_expectations(snapshot, pipeline, artifacts, expectations)
    _refuse_if(what, _uniqueness_faults(results), "Remove the duplicates at the source, or the rule from 'unique'.")
    reasons = _reasons(table, pipeline, [result for result in results if not result.success])
    bad = np.zeros(table.num_rows, dtype=bool) if reasons is None else (reasons != "").astype(bool)
    counts = {} if reasons is None else pd.Series(reasons[bad]).value_counts().to_dict()
    _refuse_if(
        what,
        _quarantine_faults(counts, table.num_rows, pipeline),
        "Correct those rows at the source; raise the limits only if such rows are meant.",
    )
    good, quarantined = snapshot.rows, None
    if reasons is not None and bad.any():
        good = store_rows(artifacts, table.filter(pa.array(~bad)), time=snapshot.time)
        aside = table.select([name for name in table.column_names if name != REASON]).filter(pa.array(bad))
        quarantined = store_table(artifacts, aside.append_column(REASON, pa.array(reasons[bad].tolist())))
    report = {
        "rows": table.num_rows,
        "quarantined": counts,
        "new_columns": [name for name in table.column_names if contract and name not in contract.columns],
        "expectations": [result.model_dump(mode="json") for result in results],
    }
    return ValidatedData(
        good=good,
        n_rows=table.num_rows - int(bad.sum()),
        quarantined=quarantined,
        reasons={str(reason): int(count) for reason, count in counts.items()},
        report=artifacts.put_bytes(json.dumps(as_document(report)).encode(), suffix=".json"),
    )


def find_violations(column: pd.Series[Any], rule: ColumnRule) -> dict[str, npt.NDArray[np.bool_]]:
    """Find the rows of a column that break each part of its rule.

    Returns
    -------
    dict of reason to boolean array of shape (n_rows,)
    """
    found: dict[str, npt.NDArray[np.bool_]] = {}
    if not rule.nullable:
        found["is null"] = column.isna().to_numpy(dtype=bool)
    if rule.minimum is not None:
        found[f"is below {rule.minimum:g}"] = (column < rule.minimum).fillna(False).to_numpy(dtype=bool)
    if rule.maximum is not None:
        found[f"is above {rule.maximum:g}"] = (column > rule.maximum).fillna(False).to_numpy(dtype=bool)
    if rule.categories is not None:
        found["is none of its categories"] = (column.notna() & ~column.isin(rule.categories)).to_numpy(dtype=bool)
    return found


def _schema_faults(table: pa.Table, contract: DataContract | None, snapshot: Snapshot) -> list[Fault]:
    faults = []
    for name, rule in contract.columns.items() if contract else ():
        if name not in snapshot.columns:
            new = [column for column in snapshot.columns if contract and column not in contract.columns]
            faults.append(Fault(name, f"no such column{nearest(name, new)}", f"{rule.type} column"))
            continue
        found = snapshot.columns[name]
        column = table[name]
        if column.null_count == len(column) or found == rule.type:
            continue
        if found not in _ACCEPTED.get(rule.type, {rule.type}):
            example = next((value for value in column.slice(0, 1000).to_pylist() if value is not None), None)
            faults.append(Fault(name, f"{found} (such as {example!r})", rule.type))
        elif rule.type == "integer" and (broken := _first_fraction(column)) is not None:
            faults.append(Fault(name, f"number (such as {broken!r})", "integer"))
    return faults


def _first_fraction(column: pa.ChunkedArray) -> float | None:
    fractions = column.filter(pc.fill_null(pc.not_equal(pc.floor(column), column), fill_value=False))
    return float(fractions[0].as_py()) if len(fractions) else None


def _target_faults(table: pa.Table, pipeline: Pipeline) -> list[Fault]:
    name, spec = pipeline.spec.target_column, pipeline.spec
    if name not in table.column_names:
        return [Fault(name, f"no such column{nearest(name, table.column_names)}", "the target")]
    column = table[name]
    if column.null_count == len(column):
        return [Fault(name, "null in every row", "a target", n_rows=len(column))]
    if spec.task == "regression" and not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return [Fault(name, f"values of type {column.type}", "numbers, since the task is regression")]
    if pa.types.is_temporal(column.type):
        return [Fault(name, "moments", "classes; compute them by an expression, or in the source")]
    distinct = pc.count_distinct(column).as_py()
    if distinct < 2:
        value = pc.drop_null(column)[0].as_py()
        return [Fault(name, f"{value!r} in every row that has a target", "at least two values", n_rows=len(column))]
    if spec.task == "classification" and distinct > max(50, len(column) // 20):
        return [Fault(name, f"{distinct:,} distinct values", "classes; for a quantity the task is regression")]
    if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(pc.drop_null(column))).as_py():
        return [Fault(name, "infinity", "finite numbers")]
    return []


def _run_expectations(
    snapshot: Snapshot, pipeline: Pipeline, artifacts: ArtifactStore, expectations: ExpectationsProcess
) -> list[ExpectationResult]:
    contract = pipeline.contract or DataContract(columns={pipeline.spec.target_column: ColumnRule(type="number")})
    known = [name for name in contract.columns if name in snapshot.columns]
    contract = contract.model_copy(update={"columns": {name: contract.columns[name] for name in known}})
    suite = compile_suite(contract, name=pipeline.name, min_rows=pipeline.spec.validate_data.min_rows)
    if expectations.is_apart:
        import_ahead(*_NEEDED_NEXT)
    results = expectations.run(suite, artifacts.local_path(snapshot.rows.segments[0].artifact))
    if broken := [result for result in results if result.error]:
        raise ExpectationsFailed(
            f"Great Expectations could not judge {broken[0].type} {broken[0].arguments}: {broken[0].error}; "
            "correct the contract"
        )
    return results


def _uniqueness_faults(results: list[ExpectationResult]) -> list[Fault]:
    return [
        Fault(
            str(result.arguments["column"]),
            f"duplicates, such as {', '.join(sorted({str(value) for value in result.examples})[:3])}",
            "unique values",
            n_rows=result.n_unexpected,
        )
        for result in results
        if result.type == "expect_column_values_to_be_unique" and not result.success
    ]


def _reasons(table: pa.Table, pipeline: Pipeline, failed: list[ExpectationResult]) -> npt.NDArray[np.object_] | None:
    """Name, for each row, the first thing that is wrong with it; None when nothing is wrong with any."""
    spec, contract = pipeline.spec, pipeline.contract
    columns = {str(result.arguments["column"]) for result in failed if "column" in result.arguments}
    needed = {spec.target_column, *([spec.time] if spec.time else [])}
    columns |= {name for name in needed if table[name].null_count}
    if not columns:
        return None
    reasons = np.full(table.num_rows, "", dtype=object)
    for name in sorted(columns):
        rule = contract.columns.get(name) if contract else None
        rule = rule or ColumnRule(type="number")
        if name in needed:
            rule = rule.model_copy(update={"nullable": False})
        for problem, rows in find_violations(table[name].to_pandas(), rule).items():
            reasons[rows & (reasons == "")] = f"{name} {problem}"
    return reasons


def _quarantine_faults(counts: dict[Any, int], n_rows: int, pipeline: Pipeline) -> list[Fault]:
    spec = pipeline.spec.validate_data
    unlabelled = f"{pipeline.spec.target_column} is null"
    broken = {str(reason): int(count) for reason, count in counts.items() if reason != unlabelled}
    n_labelled = n_rows - int(counts.get(unlabelled, 0))
    share = sum(broken.values()) / max(1, n_labelled)
    if share > spec.max_quarantined_share:
        listed = [Fault(None, reason, "the contract to hold", n_rows=count) for reason, count in broken.items()]
        limit = f"at most {spec.max_quarantined_share:.1%} (validate_data.max_quarantined_share)"
        return [Fault(None, f"{share:.1%} of the rows break the contract", limit), *listed[:10]]
    n_good = n_labelled - sum(broken.values())
    if n_good < spec.min_rows:
        without = f"; {n_rows - n_labelled:,} more have no target yet" if n_rows > n_labelled else ""
        return [Fault(None, f"{n_good} good rows{without}", f"at least {spec.min_rows} (validate_data.min_rows)")]
    return []


def _refuse_if(what: str, faults: list[Fault], way_out: str) -> None:
    if faults:
        raise DataRefused(what, faults, way_out)


@task(name="validate data", cache_policy=NO_CACHE)
def validate_data_step(run: RunReference, snapshot: Snapshot) -> ValidatedData:
    """Judge a snapshot by its pipeline's contract, or reuse the judgement of the same rows."""
    context = open_context(run)
    spec, contract = context.pipeline.spec, context.pipeline.contract

    def work() -> ValidatedData:
        with take_expectations() as expectations:
            return validate_data(snapshot, context.pipeline, context.registry.artifacts, expectations)

    try:
        return execute_step(
            context,
            "validate_data",
            work,
            output=ValidatedData,
            parameters={
                "validate_data": spec.validate_data.model_dump(mode="json"),
                "contract": None if contract is None else contract.model_dump(mode="json"),
                "task": spec.task,
                "target": spec.target_column,
            },
            inputs={"snapshot": snapshot.digest},
            log=get_run_logger(),
        )
    finally:
        take_expectations().close()
