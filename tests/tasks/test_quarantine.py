"""What a broken rule does, by its severity; which rows are set aside, with all that they break; what is reused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from base.artifacts import ArtifactStore
from base.contract import DataContract
from base.errors import DataRefused, DefinitionError
from base.expectations.asking import ExpectationsProcess
from base.pipeline import Pipeline
from base.references import Rows, Snapshot, ValidatedData
from base.rows.reading import load_rows
from base.rows.tables import frame_to_table, table_types
from base.validation.judgement import SegmentJudgement, judge_segment
from base.validation.quarantine import BROKEN, FILE, POSITION, REASON
from tasks import judged_rows
from tasks.data_validation import validate_data
from tasks.frames import load_table, store_rows
from tests.pipelines import CONTRACT, define, make_pipeline, make_trips

# Large public tables that lie beside the repository where they are at all.
_DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "store"))


def test_a_quarantined_row_tells_every_rule_that_it_breaks_and_where_it_stood(
    store: ArtifactStore, tmp_path: Path
) -> None:
    trips = _trips()
    trips.loc[3, "distance"] = -1.5
    trips.loc[3, "company"] = "mauve"

    validated = _validate(tmp_path, store, [trips[:200], trips[200:]])

    (row,) = _quarantined(store, validated)
    assert row[REASON] == "company is none of its categories"
    assert row[BROKEN] == [
        {"column": "company", "value": "mauve", "reason": "company is none of its categories"},
        {"column": "distance", "value": "-1.5", "reason": "distance is below 0"},
    ]
    segment = validated.good.segments[0]
    assert (row[FILE], row[POSITION]) == (segment.artifact.digest, 3)
    assert (segment.n_stored, segment.n_dropped) == (200, 1)
    assert load_rows(store, validated.good).num_rows == 399


def test_a_rule_that_refuses_stops_the_run_with_its_count_and_examples(store: ArtifactStore, tmp_path: Path) -> None:
    trips = _trips()
    trips.loc[3:4, "distance"] = [-1.5, -2.5]

    with pytest.raises(
        DataRefused, match=r"'distance': found is below 0, such as -1.5, -2.5 \(2 rows\), expected at l"
    ):
        _validate(tmp_path, store, [trips], _contract(distance={"severity": "refuse"}))


def test_a_rule_that_warns_is_counted_and_its_rows_stay(store: ArtifactStore, tmp_path: Path) -> None:
    trips = _trips()
    trips.loc[3:4, "distance"] = -1.5

    validated = _validate(tmp_path, store, [trips], _contract(distance={"severity": "warn"}))

    assert (validated.warnings, validated.reasons, validated.n_rows) == ({"distance is below 0": 2}, {}, 400)


@pytest.mark.parametrize(
    ("severity", "reasons", "warnings"),
    [
        ("quarantine", {"rule 'far' does not hold": 1}, {}),
        ("warn", {}, {"rule 'far' does not hold": 1}),
    ],
)
def test_a_rule_over_a_row_is_broken_by_a_plain_no(
    severity: str, reasons: dict[str, int], warnings: dict[str, int], store: ArtifactStore, tmp_path: Path
) -> None:
    trips = _trips().assign(passengers=pd.array([2] * 400, dtype="Int64"))
    trips.loc[3, ["distance", "passengers"]] = [0.5, 0]
    trips.loc[4, "passengers"] = pd.NA
    rule = {"name": "far", "expression": "passengers > 0 or distance > 1", "severity": severity}

    validated = _validate(tmp_path, store, [trips.assign(distance=trips["distance"] + 0.01)], _contract(rules=[rule]))

    assert (validated.reasons, validated.warnings) == (reasons, warnings)


def test_of_rows_that_repeat_each_other_across_segments_the_first_stays(store: ArtifactStore, tmp_path: Path) -> None:
    trips = _trips()
    again = trips.iloc[[5, 7]]

    validated = _validate(tmp_path, store, [trips, again], _contract(distinct_rows="quarantine"))

    assert validated.reasons == {"repeats another row": 2}
    assert [segment.n_dropped for segment in validated.good.segments] == [0, 2]
    assert [row["at"] for row in _quarantined(store, validated)] == again["at"].tolist()


def test_a_key_refuses_or_sets_aside_its_duplicates(store: ArtifactStore, tmp_path: Path) -> None:
    trips = _trips()
    trips = _repeat(trips, "at", "company")
    unique = {"unique": ["at", ["at", "company"]]}

    with pytest.raises(
        DataRefused, match=r"found duplicates, such as 2013-01-01 08:00:00\+00 \(2 rows\), expected uni"
    ):
        _validate(tmp_path, store, [trips], _contract(**unique))
    validated = _validate(tmp_path, store, [trips], _contract(**unique, unique_severity="quarantine"))

    (row,) = _quarantined(store, validated)
    assert [broken["reason"] for broken in row[BROKEN]] == ["at occurred before", "at, company occurred before"]
    assert validated.reasons == {"at occurred before": 1}


def test_an_expectation_by_name_sets_its_rows_aside_or_refuses(store: ArtifactStore, tmp_path: Path) -> None:
    trips = _trips().assign(limit=21.0)
    trips.loc[[3, 250], "limit"] = -1.0
    greater = {
        "type": "expect_column_pair_values_a_to_be_greater_than_b",
        "arguments": {"column_A": "limit", "column_B": "distance"},
    }
    median = {"type": "expect_column_median_to_be_between", "arguments": {"column": "distance", "max_value": 1}}
    parts = [trips[:200], trips[200:]]

    validated = _validate(tmp_path, store, parts, _contract(expectations=[{**greater, "severity": "quarantine"}]))

    reason = "expect_column_pair_values_a_to_be_greater_than_b (limit, distance) does not hold"
    assert validated.reasons == {reason: 2}
    assert [row["limit"] for row in _quarantined(store, validated)] == [-1.0, -1.0]
    with pytest.raises(DataRefused, match=r"'distance': found \d.*expect_column_median_to_be_between\(max_value=1\)"):
        _validate(tmp_path, store, parts, _contract(expectations=[median]))
    with pytest.raises(DefinitionError, match=r"contract.yaml: .*cannot say which are bad"):
        _validate(tmp_path, store, parts, _contract(expectations=[{**median, "severity": "quarantine"}]))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"type": "expect_column_to_exsit", "arguments": {"column": "at"}}, "did you mean 'expect_column_to_exist'"),
        ({"type": "features:Nice"}, "'features:Nice' is not in features.py"),
        ({"type": "features:add_hour"}, "no class of Great Expectations' Expectation"),
        ({"type": "expect_column_to_exist", "arguments": {"colunm": "at"}}, "refuses its arguments"),
        ({"type": "expect_column_max_to_be_between", "arguments": {"column": "distanec"}}, "did you mean 'distance'"),
    ],
)
def test_an_expectation_that_there_is_not_is_told_and_never_passes(
    rule: dict[str, Any], words: str, store: ArtifactStore, tmp_path: Path
) -> None:
    with pytest.raises(DefinitionError, match=words):
        _validate(tmp_path, store, [_trips()], _contract(expectations=[rule]))


def test_an_expectation_of_the_users_own_is_run(store: ArtifactStore, tmp_path: Path) -> None:
    code = """
from great_expectations.expectations.core import ExpectColumnMaxToBeBetween

class Short(ExpectColumnMaxToBeBetween):
    column: str = "distance"
    max_value: float = 1
"""
    rule = {"type": "features:Short", "severity": "warn"}

    validated = _validate(tmp_path, store, [_trips()], _contract(expectations=[rule]), features=code)

    assert list(validated.warnings) == ["features:Short does not hold"]


def test_segments_that_the_same_contract_judged_are_not_judged_again(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = _trips()
    trips.loc[[3, 250], "distance"] = -1.0
    parts = [trips[:200], trips[200:380], pd.concat([trips[380:], trips[10:12]])]
    contract = _contract(distinct_rows="quarantine")
    judged: list[object] = []

    def judge(*arguments: Any, **more: Any) -> SegmentJudgement:
        judged.append(arguments[2])
        return judge_segment(*arguments, **more)

    monkeypatch.setattr(judged_rows, "judge_segment", judge)

    before = _validate(tmp_path, store, parts[:2], contract)
    grown = _validate(tmp_path, store, parts, contract, previous=before)
    n_judged = len(judged)
    whole = _validate(tmp_path, store, parts, contract)
    other = _validate(tmp_path, store, parts, _contract(), previous=grown)

    assert n_judged == 3
    assert len(judged) == 9
    assert grown == whole
    assert grown.reasons == {"distance is below 0": 2, "repeats another row": 2}
    assert other.reasons == {"distance is below 0": 2}


def test_a_column_that_older_segments_do_not_have_is_null_there(store: ArtifactStore, tmp_path: Path) -> None:
    trips = _trips().assign(tip=1.0)
    parts = [trips[:200].drop(columns="tip"), trips[200:]]
    columns = CONTRACT["columns"] | {"tip": {"type": "number", "nullable": False, "severity": "warn"}}

    validated = _validate(tmp_path, store, parts, {**CONTRACT, "columns": columns})

    assert validated.warnings == {"tip is null": 200}


def test_a_personal_value_stands_in_no_page_message_or_list_of_what_is_broken(
    store: ArtifactStore, tmp_path: Path
) -> None:
    trips = _trips().assign(mail="d41d8cd98f00b204")
    trips = _repeat(trips, "at")
    columns = CONTRACT["columns"] | {"mail": {"type": "text", "personal": "hash"}}
    rule = {"name": "one", "expression": "mail is null", "severity": "warn"}
    contract = {"columns": columns, "unique": [["mail", "at"]], "unique_severity": "quarantine", "rules": [rule]}

    validated = _validate(tmp_path, store, [trips], contract)

    assert validated.page is not None
    assert validated.judgements is not None
    for artifact in (validated.page, validated.report, validated.judgements):
        assert b"d41d8" not in store.read_bytes(artifact)
    (row,) = _quarantined(store, validated)
    assert "d41d8" not in str(row[BROKEN])
    with pytest.raises(DataRefused) as refused:
        _validate(tmp_path, store, [trips], {**contract, "rules": [{**rule, "severity": "refuse"}]})
    assert "d41d8" not in str(refused.value)


def test_the_page_escapes_what_comes_from_data_and_asks_for_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    trips = _trips()
    trips.loc[3, "company"] = "<script>alert(1)</script>"

    validated = _validate(tmp_path, store, [trips.assign(**{"<b>": 1})])

    assert validated.page is not None
    page = store.read_bytes(validated.page).decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert "<b>&lt;" not in page
    assert "http://" not in page
    assert "https://" not in page
    for words in ("0.250%", "set aside", "company is none of its categories", "new: the contract does not know it"):
        assert words in page


def test_duplicate_bookings_impossible_rates_and_bookings_without_guests_are_set_aside(
    store: ArtifactStore, tmp_path: Path
) -> None:
    table = _sample("hotel_bookings.parquet", lambda frame: frame.adr.gt(5000) | frame.adr.lt(0) | frame.adults.eq(0))
    table = table.drop(columns=["row_seq"])
    columns = {
        name: {"type": kind} for name, kind in table_types(frame_to_table(table)).items() if name != "event_time"
    } | {"event_time": {"type": "time", "nullable": False}, "adr": {"type": "number", "minimum": 0, "maximum": 1000}}
    contract = {
        "columns": columns,
        "rules": [{"name": "guests", "expression": "adults + children + babies > 0"}],
        "distinct_rows": "quarantine",
    }
    definition = define(
        target="is_canceled",
        time="event_time",
        prepare=None,
        validate_data={"contract": "contract.yaml", "max_quarantined_share": 0.6},
    )

    validated = _validate(tmp_path, store, [table], contract, definition=definition)

    rates_and_guests = table[table.adr.between(0, 1000) & (table.adults + table.children + table.babies).ne(0)]
    n_repeating = int(rates_and_guests.duplicated().sum())
    assert validated.reasons == {
        "adr is above 1000": 1,
        "adr is below 0": 1,
        "rule 'guests' does not hold": 180,
        "repeats another row": n_repeating,
    }
    assert n_repeating > 0


def test_an_empty_column_and_trips_of_no_length_pass_with_their_dirt_set_aside(
    store: ArtifactStore, tmp_path: Path
) -> None:
    table = _sample("chicago_taxi.parquet", lambda frame: frame.trip_miles.eq(0) & frame.fare.gt(5))
    table = table.assign(pickup_census_tract=np.nan)
    columns: dict[str, dict[str, Any]] = {
        name: {"type": kind} for name, kind in table_types(frame_to_table(table)).items()
    }
    columns["pickup_census_tract"] = {"type": "integer"}
    columns["fare"] = {"type": "number", "maximum": 500, "severity": "warn"}
    rules = [{"name": "distance", "expression": "trip_miles > 0 or fare <= 5"}]
    definition = define(
        target="tips",
        task="regression",
        time="event_time",
        prepare=None,
        validate_data={"contract": "contract.yaml", "max_quarantined_share": 0.6},
    )

    validated = _validate(tmp_path, store, [table], {"columns": columns, "rules": rules}, definition=definition)

    assert validated.reasons == {"rule 'distance' does not hold": 3132}


def _sample(name: str, keep: Any) -> pd.DataFrame:
    if not (_DATA / name).exists():
        pytest.skip(f"the data set {name} is not here")
    frame = pd.read_parquet(_DATA / name)
    sample: pd.DataFrame = frame[keep(frame) | (np.arange(len(frame)) < 4000)].reset_index(drop=True)
    return sample


def _repeat(trips: pd.DataFrame, *columns: str) -> pd.DataFrame:
    for column in columns:
        trips[column] = trips[column].where(trips.index != 9, trips[column].shift(1))
    return trips


def _trips() -> pd.DataFrame:
    return make_trips().reset_index(drop=True)


def _contract(**changes: Any) -> dict[str, Any]:
    columns = {
        name: rule | (changes.pop(name) if name in changes else {}) for name, rule in CONTRACT["columns"].items()
    }
    return {"columns": columns, **changes}


def _quarantined(store: ArtifactStore, validated: ValidatedData) -> list[dict[str, Any]]:
    assert validated.quarantined is not None
    rows: list[dict[str, Any]] = load_table(store, validated.quarantined).to_pylist()
    return rows


def _validate(
    folder: Path,
    store: ArtifactStore,
    parts: list[pd.DataFrame],
    contract: dict[str, Any] = CONTRACT,
    *,
    previous: ValidatedData | None = None,
    definition: dict[str, Any] | None = None,
    **more: Any,
) -> ValidatedData:
    pipeline: Pipeline = make_pipeline(folder / "trips", None, definition, contract=contract, **more)
    assert isinstance(pipeline.contract, DataContract)
    time = pipeline.spec.time
    tables = [frame_to_table(part) for part in parts]
    segments = [segment for table in tables for segment in store_rows(store, table, time=time).segments]
    columns = table_types(pa.concat_tables(tables, promote_options="permissive"))
    snapshot = Snapshot(rows=Rows(segments=tuple(segments), time=time), columns=columns)
    return validate_data(snapshot, pipeline, store, ExpectationsProcess(), previous=previous)
