"""`everfit contract`: inferred from data, shown, and compared; each difference named for what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from base.contract import DataContract
from base.definition import read_model
from base.settings import Settings
from console.cli import run
from registry.snapshots import record_snapshot
from registry.store import open_registry
from tasks.frames import store_rows
from tests.pipelines import make_trips, write_pipeline


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVERFIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Any:
    def answer(*arguments: str, code: int = 0) -> Any:
        assert run(["contract", *arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return answer


def test_a_contract_is_inferred_from_a_file_and_read_back(home: Path, ask: Any) -> None:
    make_trips(2_000).to_parquet("trips.parquet")

    told = ask("infer", "trips.parquet", "--time", "at", "--target", "late", "--output", "contract.yaml")

    contract = read_model(home / "contract.yaml", DataContract)
    assert told["n_rows"] == 2_000
    assert set(told["notes"]) == set(contract.columns)
    assert contract.columns["company"].categories == ("blue", "green", "red")
    assert contract.unique == ("at",)
    assert ask("diff", "contract.yaml", "trips.parquet")["changes"] == []


def test_a_pipeline_is_read_as_its_definition_says(home: Path, ask: Any) -> None:
    trips = make_trips(300)
    write_pipeline(home / "trips", trips.assign(at=trips["at"].dt.strftime("%Y-%m-%d %H:%M")))

    columns = ask("infer", "trips/pipeline.yaml")["contract"]["columns"]

    assert columns["at"]["type"] == "time"
    assert "nullable" not in columns["late"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["infer", "none.parquet"], "no such file"),
        (["infer", "trips.parquet", "--time", "when"], "--time 'when' is no column"),
        (["infer", "trips.parquet", "--time", "distance"], "--time 'distance' holds number"),
        (["infer", "trips.parquet", "--target", "lat"], "--target 'lat' is no column; did you mean 'late'?"),
        (["infer", "trips.parquet", "--output", "trips.parquet"], "is there already"),
        (["infer", "trips.parquet", "--output", "no/contract.yaml"], "there is no folder"),
        (["infer", "features:load"], "is a function; name the pipeline"),
        (["show", "trips.parquet"], "is no contract's file and no pipeline"),
        (["diff", "trips.parquet", "contract.yaml"], "name the contract first"),
        (["diff", "broken.yaml", "contract.yaml"], "key 'columns.a.type' is 'float'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(home: Path, ask: Any, arguments: list[str], told: str) -> None:
    make_trips(100).to_parquet("trips.parquet")
    (home / "contract.yaml").write_text("columns: {a: {type: number}}\n")
    (home / "broken.yaml").write_text("columns: {a: {type: float}}\n")

    assert told in ask(*arguments, code=2)["error"]


def test_a_contract_is_shown_as_a_table(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "contract.yaml").write_text(
        "columns:\n  fare: {type: number, minimum: 0, severity: warn}\n  who: {type: text, personal: hash}\n"
        "unique: who\ndistinct_rows: quarantine\nrules: [{name: paid, expression: fare > 0}]\n"
    )

    assert run(["contract", "show", "contract.yaml"]) == 0

    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["column", "type", "null", "must", "be", "if", "not", "marks"],
        ["fare", "number", "yes", "minimum", "0", "warn"],
        ["who", "text", "yes", "quarantine", "personal:", "hash"],
        ["unique:", "who", "(refuse)"],
        ["no", "row", "repeats", "another", "one", "(quarantine)"],
        ["rule", "paid:", "fare", ">", "0", "(quarantine)"],
    ]


def test_contracts_differ_by_what_they_demand(home: Path, ask: Any) -> None:
    (home / "old.yaml").write_text(
        "columns:\n  fare: {type: number, minimum: 0}\n  zone: {type: text, categories: [a, b]}\n  gone: {type: time}\n"
        "  company: {type: text}\n"
    )
    (home / "new.yaml").write_text(
        "columns:\n  fare: {type: number, minimum: 0, maximum: 90, nullable: false}\n"
        "  zone: {type: text, categories: [b, c]}\n  company_name: {type: text}\n  tips: {type: number}\n"
        "rules: [{name: paid, expression: fare > 0}]\n"
    )

    changes = ask("diff", "old.yaml", "new.yaml")["changes"]

    assert [(change["kind"], change["column"]) for change in changes] == [
        ("renamed column", "company"),
        ("missing column", "gone"),
        ("new column", "tips"),
        ("nullability", "fare"),
        ("range", "fare"),
        ("new categories", "zone"),
        ("vanished categories", "zone"),
        ("rule", "paid"),
    ]


def test_data_are_held_against_a_contract(home: Path, ask: Any) -> None:
    trips = make_trips(500)
    trips.to_parquet("trips.parquet")
    ask("infer", "trips.parquet", "--output", "contract.yaml")
    trips.assign(distance=trips["distance"] * 1000, late="yes").rename(columns={"is_shared": "shared"}).to_csv(
        "new.csv", index=False
    )

    changes = ask("diff", "contract.yaml", "new.csv")["changes"]

    assert [(change["kind"], change["column"], change["other"]) for change in changes] == [
        ("renamed column", "is_shared", "shared"),
        ("range", "distance", None),
        ("retyped column", "late", None),
    ]


def test_snapshots_are_compared_by_what_changed_in_them(home: Path, ask: Any) -> None:
    trips = make_trips(600)
    write_pipeline(home / "trips", trips)
    registry = open_registry(Settings(home=home / "home"))
    digests = [_record(home, registry, rows) for rows in (trips, trips.assign(distance=trips["distance"] / 1000))]
    registry.database.close()

    changes = ask("diff", f"trips@{digests[0][:8]}", "trips@latest")["changes"]

    assert [(change["kind"], change["column"], change["detail"]) for change in changes] == [
        ("unit jump", "distance", "x0.001")
    ]


def _record(home: Path, registry: Any, rows: pd.DataFrame) -> str:
    from base.definition import read_pipeline
    from base.references import Snapshot
    from base.sources import frame_to_table, table_types
    from registry.pipelines import register_pipeline

    register_pipeline(registry, read_pipeline(home / "trips"))
    table = frame_to_table(rows)
    snapshot = Snapshot(rows=store_rows(registry.artifacts, table, time="at"), columns=table_types(table))
    with registry.database.write() as session:
        record_snapshot(session, "trips", snapshot, source="test", state={}, n_new=len(rows))
    return snapshot.digest
