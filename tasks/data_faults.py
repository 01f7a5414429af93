"""What makes data as a whole unfit to train on: its columns, its target, a rule that refuses, too few good rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from base.contract import ColumnType, DataContract
from base.errors import DataRefused, Fault, nearest
from base.expectations.asking import ExpectationResult
from base.pipeline import Pipeline
from base.validation.checks import MASK, RowCheck
from base.validation.duplicates import Duplicates
from base.validation.judgement import SegmentJudgement

# A classification whose target has more values than this, and than a twentieth of the rows, is none.
_USUAL_CLASSES = 50
_NUMBERS = {"number", "integer"}
_MOST_LISTED = 10


def refuse_if(what: str, faults: Sequence[Fault], way_out: str) -> None:
    """Refuse the data if anything is wrong with it.

    Raises
    ------
    DataRefused
    """
    if faults:
        raise DataRefused(what, faults, way_out)


def find_schema_faults(
    contract: DataContract | None, types: Mapping[str, ColumnType], first_value: Callable[[str], str | None]
) -> list[Fault]:
    """Compare the columns and their types with the contract's; a column without any value has every type.

    Parameters
    ----------
    first_value : function of column to text
        Some value of the column, or None when there is none.
    """
    faults = []
    for name, rule in contract.columns.items() if contract else ():
        if rule.personal == "drop":
            continue
        if name not in types:
            new = [column for column in types if contract and column not in contract.columns]
            faults.append(Fault(name, f"no such column{nearest(name, new)}", f"{rule.type} column"))
        elif rule.personal is None and not fits(types[name], rule.type):
            value = first_value(name)
            if value is not None:
                shown = repr(value) if types[name] == "text" else value
                faults.append(Fault(name, f"{types[name]} (such as {shown})", rule.type))
    return faults


def fits(found: ColumnType, expected: ColumnType) -> bool:
    """Tell whether a column's type is one that values of the expected type can have."""
    return found == expected or {found, expected} <= _NUMBERS


def find_target_faults(
    pipeline: Pipeline,
    types: Mapping[str, ColumnType],
    judgements: Sequence[SegmentJudgement],
    count_classes: Callable[[], int],
) -> list[Fault]:
    """Judge the target's column over all segments.

    Parameters
    ----------
    count_classes : function
        Counts the target's values exactly, where the segments do not tell.
    """
    name, spec = pipeline.spec.target_column, pipeline.spec
    n_rows = sum(judgement.n_rows for judgement in judgements)
    facts = [judgement.target for judgement in judgements]
    if sum(fact.n_known for fact in facts) == 0:
        return [Fault(name, "null in every row", "a target", n_rows=n_rows)]
    kind = types[name]
    if spec.task == "regression" and kind not in _NUMBERS:
        return [Fault(name, f"values of type {kind}", "numbers, since the task is regression")]
    if kind == "time":
        return [Fault(name, "moments", "classes; compute them by an expression, or in the source")]
    values = {value for fact in facts for value in fact.values or ()}
    are_listed = all(fact.values is not None for fact in facts)
    if are_listed and len(values) < 2:
        value = repr(min(values)) if kind == "text" else min(values)
        return [Fault(name, f"{value} in every row that has a target", "at least two values", n_rows=n_rows)]
    if spec.task == "classification":
        n_classes = len(values) if are_listed else count_classes()
        if n_classes > max(_USUAL_CLASSES, n_rows // 20):
            return [Fault(name, f"{n_classes:,} distinct values", "classes; for a quantity the task is regression")]
    if any(fact.n_infinite for fact in facts):
        return [Fault(name, "infinity", "finite numbers")]
    return []


def find_whole_number_faults(
    checks: Sequence[RowCheck], broken: Mapping[str, int], examples: Mapping[str, Sequence[str]]
) -> list[Fault]:
    """Name the columns of integers that hold fractions."""
    return [
        Fault(check.column, f"number (such as {_listed(examples[check.reason][:1])})", "integer")
        for check in checks
        if check.is_type and broken[check.reason]
    ]


def find_refusals(
    checks: Sequence[RowCheck], broken: Mapping[str, int], examples: Mapping[str, Sequence[str]]
) -> list[Fault]:
    """Name the rules that refuse the whole data and are broken."""
    return [
        Fault(
            check.column,
            f"{check.reason.removeprefix(f'{check.column} ')}, such as {_listed(examples[check.reason])}",
            check.expected,
            n_rows=broken[check.reason],
        )
        for check in checks
        if check.severity == "refuse" and not check.is_type and broken[check.reason]
    ]


def find_duplicate_faults(duplicates: Sequence[Duplicates]) -> list[Fault]:
    """Name what must be unique, is not, and refuses the data."""
    return [
        Fault(
            None if found.key.is_whole_row else found.key.shown,
            "duplicates" + (f", such as {_listed(sorted(found.examples))}" if found.examples else ""),
            "rows that differ" if found.key.is_whole_row else "unique values",
            n_rows=found.n_involved,
        )
        for found in duplicates
        if found.key.severity == "refuse" and found.n_rows
    ]


def find_named_faults(failed: Sequence[ExpectationResult]) -> list[Fault]:
    """Name the expectations of the contract's own list that do not hold."""
    faults = []
    for result in failed:
        column = result.arguments.get("column")
        if result.n_unexpected:
            found = f"{result.n_unexpected:,} unexpected rows"
            found += f", such as {_listed([str(value) for value in result.examples])}" if result.examples else ""
        else:
            found = "nothing to judge" if result.observed is None else str(result.observed)
        arguments = ", ".join(f"{key}={value!r}" for key, value in result.arguments.items() if key != "column")
        faults.append(Fault(column if isinstance(column, str) else None, found, f"{result.type}({arguments})"))
    return faults


def find_quarantine_faults(counts: Mapping[str, int], n_rows: int, pipeline: Pipeline) -> list[Fault]:
    """Judge how many rows had to be set aside; rows whose target is still to come do not count."""
    spec = pipeline.spec.validate_data
    unlabelled = f"{pipeline.spec.target_column} is null"
    broken = {reason: count for reason, count in counts.items() if reason != unlabelled}
    n_labelled = n_rows - counts.get(unlabelled, 0)
    share = sum(broken.values()) / max(1, n_labelled)
    if share > spec.max_quarantined_share:
        listed = [Fault(None, reason, "the contract to hold", n_rows=count) for reason, count in broken.items()]
        limit = f"at most {spec.max_quarantined_share:.1%} (validate_data.max_quarantined_share)"
        return [Fault(None, f"{share:.1%} of the rows break the contract", limit), *listed[:_MOST_LISTED]]
    n_good = n_labelled - sum(broken.values())
    if n_good < spec.min_rows:
        without = f"; {n_rows - n_labelled:,} more have no target yet" if n_rows > n_labelled else ""
        return [Fault(None, f"{n_good} good rows{without}", f"at least {spec.min_rows} (validate_data.min_rows)")]
    return []


def _listed(values: Sequence[str]) -> str:
    if MASK in values:
        return "a personal value, which is not shown"
    return ", ".join(values[:3])
