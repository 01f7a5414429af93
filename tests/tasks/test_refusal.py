"""Refused data leave a page, the rows at fault, and a likely new name for a column that is gone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from base.artifacts import ArtifactStore
from base.expectations.asking import ExpectationsProcess
from base.references import Rows, Snapshot, ValidatedData
from base.rows.tables import frame_to_table, table_types
from base.validation.quarantine import BROKEN
from tasks.data_validation import validate_data
from tasks.frames import load_table, store_rows
from tasks.refusal import ValidationRefused
from tests.pipelines import CONTRACT, make_pipeline, make_trips


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "store"))


def _snapshot(store: ArtifactStore, frame: pd.DataFrame, **more: Any) -> Snapshot:
    table = frame_to_table(frame)
    return Snapshot(rows=store_rows(store, table, time="at"), columns=table_types(table), **more)


def _contract(**rules: dict[str, Any]) -> dict[str, Any]:
    columns = {name: rule | rules.get(name, {}) for name, rule in CONTRACT["columns"].items()}
    return {"columns": columns}


def _validate(
    folder: Path, store: ArtifactStore, frame: pd.DataFrame, contract: dict[str, Any] = CONTRACT, **more: Any
) -> ValidatedData:
    pipeline = make_pipeline(folder / "trips", None, contract=contract)
    return validate_data(_snapshot(store, frame), pipeline, store, ExpectationsProcess(), **more)


def _refuse(*arguments: Any, **more: Any) -> ValidationRefused:
    with pytest.raises(ValidationRefused) as caught:
        _validate(*arguments, **more)
    return caught.value


def _page(store: ArtifactStore, refused: ValidationRefused) -> str:
    assert refused.kept.page is not None
    assert str(store.local_path(refused.kept.page)) in str(refused)
    return store.read_bytes(refused.kept.page).decode()


def test_rows_that_break_a_rule_which_refuses_are_kept_with_all_that_they_break(
    store: ArtifactStore, tmp_path: Path
) -> None:
    trips = make_trips(400)
    trips.loc[[3, 7], "distance"] = -1.5
    trips.loc[[7, 9], "company"] = "mauve"

    refused = _refuse(tmp_path, store, trips, _contract(distance={"severity": "refuse"}))

    assert refused.kept.reasons == {"company is none of its categories": 2, "distance is below 0": 1}
    assert "The 3 rows at fault are listed by `everfit data quarantine trips`" in str(refused)
    assert refused.kept.quarantined is not None
    rows = load_table(store, refused.kept.quarantined).to_pylist()
    assert [[entry["reason"] for entry in row[BROKEN]] for row in rows] == [
        ["distance is below 0"],
        ["company is none of its categories", "distance is below 0"],
        ["company is none of its categories"],
    ]
    page = _page(store, refused)
    assert "These data are refused" in page
    assert "distance" in page


def test_too_large_a_share_leaves_its_rows_and_the_page(store: ArtifactStore, tmp_path: Path) -> None:
    trips = make_trips(400)
    trips.loc[:99, "distance"] = -1.5

    refused = _refuse(tmp_path, store, trips)

    assert refused.kept.n_quarantined == 100
    assert "25.0% of the rows break the contract" in _page(store, refused)


def test_a_target_of_one_value_leaves_a_page_with_every_rule(store: ArtifactStore, tmp_path: Path) -> None:
    trips = make_trips(400).assign(late=pd.array([True] * 400, dtype="boolean"))
    trips.loc[3, "distance"] = -1.5

    refused = _refuse(tmp_path, store, trips)

    assert refused.kept.reasons == {"distance is below 0": 1}
    assert "at least two values" in _page(store, refused)


def test_a_renamed_column_is_told_by_the_values_of_the_rows_before(store: ArtifactStore, tmp_path: Path) -> None:
    before = _validate(tmp_path, store, make_trips(400))
    trips = make_trips(400, seed=1).rename(columns={"distance": "mileage_km"})

    refused = _refuse(tmp_path, store, trips, previous=before)

    assert "renamed column 'distance': 'mileage_km' now (likely:" in str(refused)
    assert refused.kept.quarantined is None
    page = _page(store, refused)
    assert "Likely renames" in page
    assert "mileage_km" in page


def test_without_rows_before_a_column_is_told_by_its_categories(store: ArtifactStore, tmp_path: Path) -> None:
    trips = make_trips(400).rename(columns={"company": "firm"}).assign(note="x")

    assert "renamed column 'company': 'firm' now (likely: no other holds" in str(_refuse(tmp_path, store, trips))


def test_a_column_of_other_values_is_no_rename(store: ArtifactStore, tmp_path: Path) -> None:
    before = _validate(tmp_path, store, make_trips(400))
    trips = make_trips(400).drop(columns="company").assign(colour=[f"shade {n}" for n in range(400)])

    assert "renamed" not in str(_refuse(tmp_path, store, trips, previous=before))


def test_personal_values_stand_neither_in_the_page_nor_in_the_message(store: ArtifactStore, tmp_path: Path) -> None:
    trips = make_trips(400)
    trips["company"] = [None, *(f"zebra {number}" for number in range(399))]
    rule = {"personal": "hash", "nullable": False, "severity": "refuse", "categories": None}

    refused = _refuse(tmp_path, store, trips, _contract(company=rule))

    assert "zebra" not in str(refused) + _page(store, refused)


def test_rows_without_a_partner_are_told_on_the_page(store: ArtifactStore, tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "trips", None)
    snapshot = _snapshot(store, make_trips(400), unmatched={"companies": 12})

    validated = validate_data(snapshot, pipeline, store, ExpectationsProcess())

    assert validated.page is not None
    page = store.read_bytes(validated.page).decode()
    assert re.search(r"companies</td>\s*<td[^>]*>12<", page), page[:20]


def test_no_good_row_is_left_by_a_refusal(store: ArtifactStore, tmp_path: Path) -> None:
    trips = make_trips(400)
    trips.loc[:99, "distance"] = -1.5

    assert _refuse(tmp_path, store, trips).kept.good == Rows(segments=())
