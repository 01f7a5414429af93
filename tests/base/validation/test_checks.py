"""A law: DuckDB, Great Expectations on the frame and plain masks count the same rows, and name them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.artifacts import ArtifactStore
from base.contract import ColumnRule, DataContract, RowRule
from base.expectations.suite_runs import judge_counts, run_suite
from base.expectations.suites import compile_suite, count_for_suite
from base.references import Rows, Segment
from base.rows.duck import open_duckdb
from base.rows.reading import view_rows
from base.rows.tables import normalise, table_types
from base.validation.checks import MASK, compile_checks
from base.validation.duplicates import find_duplicates, keys_of
from base.validation.judgement import SegmentJudgement, TargetKind, judge_segment, select_segment

_NUMBERS = st.one_of(st.none(), st.floats(-20, 20), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 5.0]))
_INTEGERS = st.one_of(st.none(), st.integers(-20, 20), st.just(2**60))
_TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "A", "", " a", "é", "nan", "None", "it's"]))
_TRUTHS = st.one_of(st.none(), st.booleans())
_MOMENTS = st.one_of(st.none(), st.datetimes().map(lambda moment: moment.replace(year=2013)))
_BOUNDS = st.one_of(st.none(), st.sampled_from([-5.0, 0.0, 5.0]))
_TYPES = {
    "number": (_NUMBERS, pa.float64()),
    "integer": (_INTEGERS, pa.int64()),
    "text": (_TEXTS, pa.string()),
    "boolean": (_TRUTHS, pa.bool_()),
    "time": (_MOMENTS, pa.timestamp("us", "UTC")),
}


@st.composite
def _rules(draw: st.DrawFn, kind: str) -> ColumnRule:
    rule: dict[str, Any] = {"type": kind, "nullable": draw(st.booleans())}
    if kind in ("number", "integer"):
        low, high = draw(_BOUNDS), draw(_BOUNDS)
        rule |= {"minimum": low, "maximum": high} if low is None or high is None or low <= high else {"minimum": low}
    if kind == "text" and draw(st.booleans()):
        rule["categories"] = tuple(draw(st.sets(st.sampled_from(["a", "b", "", "nan", "it's"]), min_size=1)))
    if kind == "text" and draw(st.booleans()):
        rule["max_length"] = 1
    if kind == "time" and draw(st.booleans()):
        rule["earliest"] = "2013-06-01T00:00:00Z"
    return ColumnRule.model_validate(rule)


@st.composite
def _tables(draw: st.DrawFn) -> tuple[pa.Table, DataContract]:
    kinds = draw(st.lists(st.sampled_from(sorted(_TYPES)), min_size=1, max_size=3))
    n_rows = draw(st.integers(1, 25))
    columns, rules = {}, {}
    for index, kind in enumerate(kinds):
        values, arrow = _TYPES[kind]
        name = f'c{index} "x"'
        columns[name] = pa.array(draw(st.lists(values, min_size=n_rows, max_size=n_rows)), type=arrow)
        rules[name] = draw(_rules(kind))
    numbers = [name for name, rule in rules.items() if rule.type in ("number", "integer")]
    over_rows = [RowRule(name="small", expression=f"`{name}` * 2 < 10 or `{name}` > 15") for name in numbers[:1]]
    unique = draw(st.sampled_from([(), (next(iter(rules)),), (tuple(rules),)]))
    contract = DataContract(columns=rules, rules=tuple(over_rows), unique=unique)
    return normalise(pa.table(columns)), contract


@pytest.mark.slow
@given(case=_tables())
@settings(max_examples=60)
def test_duckdb_great_expectations_and_masks_count_the_same(
    case: tuple[pa.Table, DataContract], tmp_path_factory: pytest.TempPathFactory
) -> None:
    table, contract = case
    store, rows = _store(table, tmp_path_factory.getbasetemp())
    types = table_types(table)
    checks = compile_checks(contract, types, needed=())
    suite = compile_suite(contract, name="x", min_rows=1, columns=types)

    with open_duckdb() as connection:
        target = table.column_names[0]
        found = judge_segment(
            connection,
            store,
            select_segment(connection, store, rows.segments[0], types),
            checks,
            table="broken",
            also=types,
            target=target,
            kind=TargetKind(types[target], is_class=False),
        )
        view_rows(connection, store, rows, name="all")
        duplicates = [
            find_duplicates(connection, "all", key, contract.columns) for key in keys_of(contract, list(types))
        ]

    frame = table.to_pandas()
    masks: dict[str, Any] = {}
    for name, rule in contract.columns.items():
        masks |= {f"{name} {reason}": rows for reason, rows in _find_violations(frame[name], rule).items()}
    plain = {check.reason: found.broken[check.reason] for check in checks if not check.reason.startswith("rule")}
    assert plain == {reason: int(rows.sum()) for reason, rows in masks.items()}
    counts = count_for_suite(table.num_rows, checks, found.broken, found.examples, found.nulls, duplicates)
    by_counts, by_frame = judge_counts(suite, counts), run_suite(suite, tmp_path_factory.getbasetemp() / "rows.parquet")
    assert [_verdict(result) for result in by_counts] == [_verdict(result) for result in by_frame]
    assert not any(result.error for result in (*by_counts, *by_frame))
    _check_positions(store, found, masks, checks)


def _check_positions(store: ArtifactStore, found: SegmentJudgement, masks: dict[str, Any], checks: Any) -> None:
    over_rows = any(check.reason.startswith("rule") and found.broken[check.reason] for check in checks)
    bad = np.flatnonzero(np.logical_or.reduce(list(masks.values()))) if masks else np.array([])
    named = [] if found.positions is None else pq.read_table(store.local_path(found.positions))["position"].to_pylist()
    assert set(bad.tolist()) <= set(named)
    assert over_rows or len(named) == len(bad)
    assert sum(found.first_reasons.values()) == len(named)


def _verdict(result: Any) -> tuple[str, str, bool, int]:
    return result.type, str(result.arguments), result.success, result.n_unexpected


def _find_violations(column: pd.Series[Any], rule: ColumnRule) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not rule.nullable:
        found["is null"] = column.isna().to_numpy(dtype=bool)
    if rule.minimum is not None:
        found[f"is below {rule.minimum:g}"] = (column < rule.minimum).fillna(False).to_numpy(dtype=bool)
    if rule.maximum is not None:
        found[f"is above {rule.maximum:g}"] = (column > rule.maximum).fillna(False).to_numpy(dtype=bool)
    if rule.earliest is not None:
        before = (pd.to_datetime(column, utc=True) < rule.earliest).fillna(False)
        found[f"is before {rule.earliest.isoformat()}"] = before.to_numpy(dtype=bool)
    if rule.categories is not None:
        found["is none of its categories"] = (column.notna() & ~column.isin(rule.categories)).to_numpy(dtype=bool)
    if (longest := rule.max_length) is not None:
        longer = column.map(lambda text: text is not None and len(text) > longest)
        found[f"is longer than {longest:,} characters"] = longer.to_numpy(dtype=bool)
    return found


def _store(table: pa.Table, folder: Path) -> tuple[ArtifactStore, Rows]:
    file = folder / "rows.parquet"
    pq.write_table(table, file)
    store = ArtifactStore(str(folder / "store"))
    return store, Rows(segments=(Segment(artifact=store.put_file(file), n_stored=table.num_rows),))


def test_a_personal_value_is_masked_wherever_it_would_be_shown() -> None:
    contract = DataContract(
        columns={
            "mail": ColumnRule(type="text", nullable=False, personal="hash"),
            "age": ColumnRule(type="integer", minimum=0),
        },
        rules=(RowRule(name="both", expression="mail is not null or age is null"),),
    )

    checks = compile_checks(contract, {"mail": "text", "age": "integer"}, needed=())

    shown = {check.reason: check.value for check in checks}
    assert shown["mail is null"] == f"'{MASK}'"
    assert '"mail"' not in shown["rule 'both' does not hold"]
    assert '"age"' in shown["age is below 0"]


@given(
    segments=st.lists(
        st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 2)), max_size=8),
        min_size=2,
        max_size=4,
    )
)
@settings(max_examples=25)
def test_comparing_only_new_segments_finds_what_comparing_all_finds(
    segments: list[list[tuple[str | None, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = ArtifactStore(str(tmp_path_factory.getbasetemp() / "segments"))
    stored = []
    for number, rows in enumerate(segments):
        file = tmp_path_factory.getbasetemp() / f"segment-{number}.parquet"
        texts, numbers = pa.array([text for text, _ in rows], pa.string()), pa.array([n for _, n in rows], pa.int64())
        pq.write_table(pa.table({"a": texts, "b": numbers}), file)
        stored.append(Segment(artifact=store.put_file(file), n_stored=len(rows)))
    columns = {"a": ColumnRule(type="text"), "b": ColumnRule(type="integer")}
    contract = DataContract(columns=columns, unique=(("a", "b"),), unique_severity="quarantine", distinct_rows="warn")

    with open_duckdb() as connection:
        for key in keys_of(contract, ["a", "b"]):
            view_rows(connection, store, Rows(segments=tuple(stored[:-1])), name="before")
            before = find_duplicates(connection, "before", key, columns)
            view_rows(connection, store, Rows(segments=tuple(stored)), name="now")
            grown = find_duplicates(connection, "now", key, columns, before=before, first_new=len(stored) - 1)
            whole = find_duplicates(connection, "now", key, columns)

            assert (grown.n_rows, grown.n_involved, grown.rows) == (whole.n_rows, whole.n_involved, whole.rows)
            frame = pd.DataFrame([row for rows in segments for row in rows], columns=["a", "b"])
            frame = frame if key.is_whole_row else frame.dropna(how="all")
            assert whole.n_rows == int(frame.duplicated().sum())
            assert whole.n_involved == int(frame.duplicated(keep=False).sum())
