"""`everfit data list`, `show`, `diff`, `quarantine` and `gc`."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from base.documents import as_document
from base.references import Rows, Snapshot, ValidatedData
from base.rows.reading import drop_positions
from base.rows.tables import normalise, table_types
from base.times import utc_now
from registry.runs import StepKey, begin_run, finish_run, record_step, this_process
from registry.snapshots import record_snapshot
from registry.store import Registry
from registry.tables import PipelineRow, PipelineVersion
from tasks.frames import store_rows, store_table
from tests.console.conftest import Everfit
from tests.registry.samples import LEASE

_START = datetime(2024, 1, 1, tzinfo=UTC)
_CONTRACT = {
    "columns": {
        "at": {"type": "time"},
        "ride": {"type": "integer"},
        "rider": {"type": "text", "personal": "hash"},
        "fare": {"type": "number", "minimum": 0},
    },
    "unique": ["ride"],
}


def _rides(first: int, n_rows: int, **columns: Any) -> pa.Table:
    numbers = list(range(first, first + n_rows))
    rides = {
        "at": [_START + timedelta(hours=number) for number in numbers],
        "ride": numbers,
        "rider": [f"person {number % 7}" for number in numbers],
        "fare": [float(number % 50) for number in numbers],
    }
    return normalise(pa.table(rides | columns))


@pytest.fixture
def snapshots(registry: Registry) -> list[Snapshot]:
    """Two snapshots of ``rides``: the newer has more rows, and one that was corrected."""
    version = PipelineVersion(digest="d" * 64, pipeline="rides", package={"spec": {}, "contract": _CONTRACT})
    with registry.database.write() as session:
        session.add(PipelineRow(name="rides", definition="/nowhere/pipeline.yaml"))
        session.flush()
        session.add(version)
    january, more = _rides(0, 400), _rides(400, 200)
    corrected = _rides(5, 1, fare=[500.0])
    old, new, fixed = (
        store_rows(registry.artifacts, table, time="at").segments[0] for table in (january, more, corrected)
    )
    types = table_types(january)
    whole = Rows(segments=(drop_positions(registry.artifacts, old, [5]), new, fixed), time="at")
    before = Snapshot(rows=Rows(segments=(old,), time="at"), columns=types, first=old.first, watermark=old.last)
    after = Snapshot(rows=whole, columns=types, first=old.first, watermark=new.last, parent=before.digest)
    state = {"watermark": "2024-01-25", "url": "postgresql://me:hush@db/rides", "api_token": "hush"}
    with registry.database.write() as session:
        record_snapshot(session, "rides", before, source="s", state=state, n_new=400)
        record_snapshot(session, "rides", after, source="s", state=state, n_new=201)
    return [before, after]


def test_looking_for_snapshots_leaves_no_registry_behind(everfit: Everfit, tmp_path: Path) -> None:
    finished = everfit("data", "list")

    assert (finished.code, list(tmp_path.iterdir())) == (0, [])
    assert everfit("data", "list", "--json").document == []
    assert everfit("data", "gc", "--json").document["freed_bytes"] == 0


def test_snapshots_are_listed_with_what_they_hold(everfit: Everfit, snapshots: list[Snapshot]) -> None:
    after, before = everfit("data", "list", "rides", "--json").document

    assert (before["digest"], before["rows"], before["new_rows"], before["parent"]) == (
        snapshots[0].digest,
        400,
        400,
        None,
    )
    assert (after["rows"], after["new_rows"], after["parent"]) == (600, 201, before["digest"])
    assert (after["first"], after["last"]) == ("2024-01-01T00:00:00+00:00", "2024-01-25T23:00:00+00:00")
    assert after["bytes"] > before["bytes"] > 0
    assert before["digest"][:12] in everfit("data", "list").out


def test_a_snapshot_is_shown_with_its_columns_segments_and_parents(everfit: Everfit, snapshots: list[Snapshot]) -> None:
    shown = everfit("data", "show", "rides", "--rows", "6", "--json").document

    columns = {column["column"]: column for column in shown["columns"]}
    assert (columns["ride"]["type"], columns["ride"]["distinct"], columns["fare"]["maximum"]) == ("integer", 600, 500)
    assert [(segment["rows"], segment["dropped"]) for segment in shown["segments"]] == [(399, 1), (200, 0), (1, 0)]
    assert [parent["digest"] for parent in shown["parents"]] == [snapshots[0].digest]
    # In the order of time, the corrected row in its place.
    assert [(row["ride"], row["fare"]) for row in shown["first_rows"]][-2:] == [(4, 4.0), (5, 500.0)]


def test_nothing_personal_and_no_secret_is_shown(everfit: Everfit, snapshots: list[Snapshot]) -> None:
    digest = snapshots[0].digest[:8]

    said = [
        everfit(*arguments, *more)
        for arguments in (
            ["data", "show", "rides", digest, "--rows", "20"],
            ["data", "diff", "rides", digest, "latest", "--html", "diff.html"],
            ["data", "profile", "rides", "--target", "fare", "--output", "profile.html"],
        )
        for more in ([], ["--json"])
    ]

    texts = [finished.out + finished.err for finished in said]
    texts += [Path(name).read_text() for name in ("diff.html", "profile.html")]
    assert [finished.code for finished in said] == [0] * 6
    for secret in ("person 3", "hush"):
        assert [text for text in texts if secret in text] == []
    assert "•••" in texts[0]
    assert "2024-01-25" in texts[0]


def test_a_difference_names_rows_values_and_columns(everfit: Everfit, snapshots: list[Snapshot]) -> None:
    finished = everfit("data", "diff", "rides", snapshots[0].digest[:8], "--html", "diff.html", "--json")

    found = finished.document
    assert (found["key"], found["added"], found["removed"], found["changed"], found["unchanged"]) == (
        ["ride"],
        200,
        0,
        1,
        399,
    )
    assert found["examples"] == [{"key": {"ride": 5}, "column": "fare", "before": 5.0, "after": 500.0}]
    moved = {column["column"] for column in found["columns"] if column["is_moved"]}
    assert moved == {"at", "ride"}
    page = Path("diff.html").read_text()
    assert "<svg" in page
    assert "ride" in page


def test_without_a_key_a_change_is_a_removal_and_an_addition(
    everfit: Everfit, registry: Registry, snapshots: list[Snapshot]
) -> None:
    with registry.database.write() as session:
        version = PipelineVersion(digest="e" * 64, pipeline="rides", package={"spec": {}, "contract": None})
        session.add(version)

    found = everfit("data", "diff", "rides", snapshots[0].digest[:8], "--json").document

    assert (found["key"], found["added"], found["removed"], found["changed"]) == ([], 201, 1, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "ride"], "there is no pipeline 'ride'; registered are rides; did you mean 'rides'?"),
        (["show", "rides", "0000"], "pipeline 'rides' has no snapshot '0000'"),
        (["diff", "rides", "latest", "latest", "--key", "rid"], "did you mean 'ride'?"),
        (["diff", "rides", "latest", "latest", "--html", "no/such/page.html"], "make it first"),
        (["quarantine", "rides"], "has no run that has validated data"),
        (["quarantine", "rides", "--output", "rows.xlsx"], "expected a name that ends with .csv, .jsonl, .parquet"),
        (["gc", "--older-than", "soon"], "expected a duration such as '7 days'"),
        (["profile", "rides", "--target", "fair"], "--target 'fair' is no column"),
        (["profile", "rides", "--time", "when"], "--time 'when' is no column"),
        (["profile", "nothing.csv"], "nothing.csv"),
    ],
)
def test_a_wrong_argument_is_named_with_the_way_out(
    everfit: Everfit, snapshots: list[Snapshot], arguments: list[str], message: str
) -> None:
    finished = everfit("data", *arguments)

    assert finished.code == 2
    assert message in finished.err


def _quarantine(registry: Registry, table: pa.Table, reasons: dict[str, int], *, step: str = "validate_data") -> str:
    rows = Rows(segments=())
    validated = ValidatedData(
        good=rows,
        n_rows=597,
        quarantined=store_table(registry.artifacts, table),
        reasons=reasons,
        report=registry.artifacts.put_bytes(b"{}", suffix=".json"),
    )
    with registry.database.write() as session:
        version = session.get_one(PipelineVersion, "d" * 64)
        run, _ = begin_run(session, version, parameters={}, trigger="test", owner=this_process(), lease=LEASE)
        key = StepKey(code="c", parameters="p", inputs={}, environment="e")
        output = as_document(validated.model_dump(mode="json"))
        record_step(session, run=run, step=step, key=key, output=output, seconds=0)
        finish_run(session, run, status="kept", reason="")
    return run.id


def _broken(*entries: tuple[str, str | None, str]) -> list[dict[str, str | None]]:
    return [{"column": column, "value": value, "reason": reason} for column, value, reason in entries]


@pytest.fixture
def quarantined(registry: Registry, snapshots: list[Snapshot]) -> str:
    """A run that has set three rows aside."""
    entry = pa.struct([("column", pa.string()), ("value", pa.string()), ("reason", pa.string())])
    broken = [
        _broken(("fare", "-3.0", "fare is below 0")),
        _broken(("fare", "-4.0", "fare is below 0"), ("rider", "person 3", "rider is none of its categories")),
        _broken(("at", None, "at is null")),
    ]
    table = _rides(7, 3, fare=[-3.0, -4.0, 1.0])
    table = table.append_column("quarantine_reason", pa.array([entries[0]["reason"] for entries in broken]))
    table = table.append_column("quarantine_broken", pa.array(broken, pa.list_(entry)))
    table = table.append_column("quarantine_file", pa.array(["a" * 64] * 3))
    table = table.append_column("quarantine_position", pa.array([7, 8, 9]))
    return _quarantine(registry, table, {"fare is below 0": 2, "at is null": 1})


def test_quarantined_rows_are_listed_with_row_column_value_and_reason(everfit: Everfit, quarantined: str) -> None:
    found = everfit("data", "quarantine", "rides", "--json").document

    assert (found["run"], found["quarantined"], found["matching"]) == (quarantined, 3, 3)
    assert [(row["row"], row["column"], row["value"], row["reason"]) for row in found["shown"]] == [
        (7, "fare", "-3.0", "fare is below 0"),
        (8, "fare", "-4.0", "fare is below 0"),
        (8, "rider", "•••", "rider is none of its categories"),
        (9, "at", None, "at is null"),
    ]


def test_the_rows_of_a_refused_run_are_listed_too(everfit: Everfit, registry: Registry, quarantined: str) -> None:
    table = _rides(7, 1, fare=[-3.0]).append_column("quarantine_reason", pa.array(["fare is below 0"]))
    refused = _quarantine(registry, table, {"fare is below 0": 1}, step="validate_data refused")

    finished = everfit("data", "quarantine", "rides")
    assert f"run {refused}: refused; 1 rows are at fault" in finished.out
    assert everfit("data", "quarantine", "rides", "--json").document["refused"]
    assert not everfit("data", "quarantine", "rides", "--run", quarantined, "--json").document["refused"]


def test_quarantined_rows_are_chosen_by_any_of_their_reasons(everfit: Everfit, quarantined: str) -> None:
    found = everfit(
        "data", "quarantine", "rides", "--reason", "categories", "--run", quarantined[:10], "--json"
    ).document

    assert found["matching"] == 1
    assert [row["column"] for row in found["shown"]] == ["rider"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_quarantined_rows_are_written_whole_and_masked(everfit: Everfit, quarantined: str, suffix: str) -> None:
    finished = everfit("data", "quarantine", "rides", "--reason", "fare", "--limit", "1", "--output", f"rows{suffix}")

    file = Path(f"rows{suffix}")
    if suffix == ".jsonl":
        rows = pd.read_json(file, lines=True)
    else:
        rows = pd.read_csv(file) if suffix == ".csv" else pd.read_parquet(file)
    assert finished.code == 0
    assert rows["fare"].tolist() == [-3.0, -4.0]
    assert set(rows["rider"]) == {"•••"}
    assert "person 3" not in json.dumps(rows.astype(str).to_dict(), ensure_ascii=False)
    assert list(Path().glob(".everfit-*")) == []


def test_quarantine_of_earlier_versions_is_read_too(
    everfit: Everfit, registry: Registry, snapshots: list[Snapshot]
) -> None:
    table = _rides(7, 2).append_column("quarantine_reason", pa.array(["fare is below 0", "at is null"]))
    _quarantine(registry, table, {"fare is below 0": 1, "at is null": 1})

    found = everfit("data", "quarantine", "rides", "--reason", "null", "--json").document

    assert [(row["row"], row["reason"]) for row in found["shown"]] == [(1, "at is null")]


def test_a_collection_says_what_it_freed_and_what_is_kept_and_why(
    everfit: Everfit, registry: Registry, snapshots: list[Snapshot]
) -> None:
    # A snapshot that shares no file, so that the older ones are not needed for it.
    other = store_rows(registry.artifacts, _rides(9_000, 3), time="at")
    newest = Snapshot(rows=other, columns=table_types(_rides(0, 1)))
    with registry.database.write() as session:
        record_snapshot(session, "rides", newest, source="s", state={}, n_new=3)
    for path in registry.artifacts.local_path(other.segments[0].artifact).parents[1].rglob("*.parquet"):
        os.utime(path, (0, 0))

    dry = everfit("data", "gc", "--keep", "1", "--older-than", "0 days", "--dry-run", "--json").document
    wet = everfit("data", "gc", "--keep", "1", "--older-than", "0 days", "--json").document

    assert dry["freed_bytes"] == wet["freed_bytes"] > 0
    assert {one["digest"] for one in wet["deleted"]} == {snapshot.digest for snapshot in snapshots}
    assert [(one["digest"], one["reason"]) for one in wet["kept"]] == [
        (newest.digest, "among the newest 1 of its pipeline")
    ]
    assert "deleted by retention" in everfit("data", "show", "rides", snapshots[0].digest).err
    assert utc_now().strftime("%Y") in everfit("data", "list").out
