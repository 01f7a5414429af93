"""Claims about the routes: every fault is named, and nothing that a client sends is the service's fault."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st

from base.settings import Settings
from registry.store import Registry
from serving.log.traffic import read_traffic
from tests.serving.conftest import open_client, wait_until
from tests.serving.models import CONTRACT, Kind, load_version, make_rows, promote, register_model

PREDICT = "/v1/models/trips/predict"
GOOD = {"distance": 3.0}


@pytest.mark.parametrize("kind", ["two classes", "three classes", "regression"])
def test_an_answer_is_what_the_version_itself_predicts(settings: Settings, registry: Registry, kind: Kind) -> None:
    version = register_model(registry, kind=kind)
    promote(registry, version)
    rows = make_rows(50, seed=1)
    expected = [prediction.as_json() for prediction in load_version(registry, version).predict_rows(rows)]

    with open_client(settings, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        answer = client.post(PREDICT, json={"rows": rows}).json()

    assert (answer["model"], answer["version"]) == ("trips", 1)
    assert [{key: one[key] for key in one if key != "id"} for one in answer["predictions"]] == expected
    assert len({one["id"] for one in answer["predictions"]}) == 50


def test_one_record_stands_for_a_list_of_one(client: TestClient) -> None:
    answer = client.post(PREDICT, json={"rows": GOOD})

    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 1


@pytest.mark.parametrize(
    ("row", "column", "found", "expected"),
    [
        ({}, "distance", "nothing", "number"),
        ({"distance": None}, "distance", "null", "number"),
        ({"distance": "3"}, "distance", "'3' (text)", "number"),
        ({"distance": True}, "distance", "True (boolean)", "number"),
        ({"distance": -1}, "distance", "-1", "at least 0"),
        ({"distance": [1]}, "distance", "[1] (list)", "number"),
        ({"distance": {"km": 1}}, "distance", "{'km': 1} (object)", "number"),
        ({"distance": 2**53 + 1}, "distance", "9007199254740993 (integer)", "number"),
        ({"distance": 10**30}, "distance", f"{10**30} (integer)", "number"),
        (GOOD | {"passengers": 1.5}, "passengers", "1.5 (number)", "integer"),
        (GOOD | {"passengers": 1e300}, "passengers", "1e+300 (number)", "integer"),
        (GOOD | {"passengers": False}, "passengers", "False (boolean)", "integer"),
        (GOOD | {"company": 7}, "company", "7 (integer)", "text"),
        (GOOD | {"is_shared": 1}, "is_shared", "1 (integer)", "boolean"),
        (GOOD | {"is_shared": "yes"}, "is_shared", "'yes' (text)", "boolean"),
        (GOOD | {"at": "yesterday"}, "at", "'yesterday' (text)", "time"),
        (GOOD | {"at": 1365000000}, "at", "1365000000 (integer)", "time"),
        (GOOD | {"at": "0001-01-01T00:00+14:00"}, "at", "'0001-01-01T00:00+14:00' (text)", "time"),
        (
            GOOD | {"fare": 9},
            "fare",
            "a column that is not an input: the definition excludes it",
            "a row without it",
        ),
        (
            GOOD | {"passengers": 9, "is_shared": True},
            None,
            "is_shared True, passengers 9",
            "passengers <= 8 or not is_shared (rule 'seats')",
        ),
        (GOOD | {"distanse": 3}, "distanse", "an unknown column", "only known columns; did you mean 'distance'?"),
    ],
)
def test_a_fault_is_named_with_row_column_found_and_expected(
    client: TestClient, row: dict[str, Any], column: str | None, found: str, expected: str
) -> None:
    answer = client.post(PREDICT, json={"rows": [GOOD, row]})

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"row": 1, "column": column, "found": found, "expected": expected}]


def test_a_rule_that_only_warns_is_told_beside_the_answer(client: TestClient) -> None:
    answer = client.post(PREDICT, json={"rows": [GOOD, GOOD | {"passengers": 100}]})

    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 2
    assert answer.json()["warnings"] == [{"row": 1, "column": "passengers", "found": "100", "expected": "at most 90"}]


def test_every_fault_of_every_row_is_named(client: TestClient) -> None:
    rows = [{"distance": "far", "passengers": "two"}] * 300

    detail = client.post(PREDICT, json={"rows": rows}).json()["errors"]

    assert [(fault["row"], fault["column"]) for fault in detail] == [
        (row, column) for row in range(300) for column in ("distance", "passengers")
    ]


def test_faults_beyond_what_anybody_reads_are_cut_off_and_the_answer_says_so(client: TestClient) -> None:
    answer = client.post(PREDICT, json={"rows": [{"distance": "far", "passengers": "two"}] * 6000}).json()

    assert (len(answer["errors"]), answer["is_cut"]) == (10_000, True)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 400, "no JSON"),
        (b"rows", 400, "no JSON"),
        (b'{"rows": [{"distance": NaN}]}', 400, "no JSON"),
        (b'{"rows": [{"distance": -Infinity}]}', 400, "no JSON"),
        (b'{"rows": [{"distance": 1e999}]}', 400, "no JSON"),
        (b'{"rows": [{"company": "\xff"}]}', 400, "no JSON"),
        (b'{"rows": [{"company": "\\ud800"}]}', 400, "no JSON"),
        (b"[" * 5000 + b"]" * 5000, 400, "no JSON"),
        (b"[]", 422, "a list"),
        (b"null", 422, "null"),
        (b"{}", 422, "an object"),
        (b'{"rows": []}', 422, "an empty list"),
        (b'{"rows": 3}', 422, "3 in 'rows'"),
        (b'{"rows": [3, null]}', 422, "an object"),
        (b'{"rows": [{"distance": 1}], "id": 1}', 422, "the key 'id'"),
    ],
)
def test_a_body_of_another_shape_is_refused_with_what_was_found(
    client: TestClient, body: bytes, status: int, told: str
) -> None:
    answer = client.post(PREDICT, content=body)

    assert answer.status_code == status
    assert told in json.dumps(answer.json())


def test_a_model_that_is_not_served_is_answered_with_those_that_are(client: TestClient) -> None:
    answer = client.post("/v1/models/trisp/predict", json={"rows": [GOOD]})

    assert answer.status_code == 404
    assert answer.json()["detail"] == "there is no model 'trisp'; served are trips; did you mean 'trips'?"


def test_requests_over_the_limits_are_refused_before_they_cost_anything(settings: Settings, registry: Registry) -> None:
    promote(registry, register_model(registry))
    small = settings.model_copy(update={"max_rows": 10, "max_body_bytes": 2000})

    with open_client(small, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        answers = [client.post(PREDICT, json={"rows": [GOOD] * count}) for count in (10, 11, 1000)]
        chunked = client.post(PREDICT, content=iter([b" " * 1500, b" " * 1500]))

    assert [answer.status_code for answer in answers] == [200, 413, 413]
    assert "11 rows, expected at most 10" in answers[1].json()["detail"]
    assert chunked.status_code == 413


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.datetimes().map(str)
    | st.sampled_from(["2020-W01-1", "9999-12-31T23:59:59-12:00", "red", "1e5", 1e308, 2**64, 10**40, -(2**63)])
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_names = st.sampled_from([*CONTRACT.columns, "id", ""]) | st.text(max_size=5)
_typed_rows = st.fixed_dictionaries(
    {"distance": st.floats(0, 1e308)},
    optional={
        "passengers": st.none() | st.integers(-(2**53), 2**53),
        "company": st.none() | st.text(max_size=10),
        "is_shared": st.none() | st.booleans(),
        "at": st.none() | st.datetimes(timezones=st.none() | st.timezones()).map(lambda moment: moment.isoformat()),
    },
)
_bodies = st.fixed_dictionaries(
    {"rows": st.lists(_typed_rows | st.dictionaries(_names, _values, max_size=6) | _values, max_size=4)}
)


@pytest.mark.slow
@cases(max_examples=300)
@given(data=st.data())
def test_whatever_a_client_sends_is_never_the_services_fault(client: TestClient, data: st.DataObject) -> None:
    body = json.dumps(data.draw(_bodies | _values)).encode()

    answer = client.post(PREDICT, content=body)

    assert answer.status_code in (200, 400, 422), answer.text


@pytest.mark.slow
@cases(max_examples=150)
@given(rows=st.lists(_typed_rows, min_size=1, max_size=4))
def test_an_accepted_row_is_logged_as_it_was_sent(
    client: TestClient, settings: Settings, rows: list[dict[str, Any]]
) -> None:
    answer = client.post(PREDICT, json={"rows": rows})

    if answer.status_code == 200:
        traffic = read_traffic(settings.home, "trips").set_index("id")
        for row, one in zip(rows, answer.json()["predictions"], strict=True):
            assert traffic.loc[one["id"], "distance"] == row["distance"]
            assert traffic.loc[one["id"], "company"] == row.get("company")


def test_the_state_of_a_model_tells_its_signature_and_where_it_came_from(
    client: TestClient, registry: Registry
) -> None:
    state = client.get("/v1/models/trips").json()

    assert {key: state[key] for key in ("model", "version", "task", "classes", "target", "environment")} == {
        "model": "trips",
        "version": 1,
        "task": "classification",
        "classes": ["near", "far"],
        "target": "tip",
        "environment": "prod",
    }
    assert state["signature"]["distance"] == {"type": "number", "nullable": False, "minimum": 0.0}
    assert state["source"]["run"]
    assert [one["model"] for one in client.get("/v1/models").json()["models"]] == ["trips"]


def test_a_service_without_a_model_is_up_but_not_ready(settings: Settings, registry: Registry) -> None:
    with open_client(settings, registry) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        wait_until(lambda: client.post(PREDICT, json={"rows": [GOOD]}).status_code == 404, "the first look")


def test_a_feature_function_that_raises_is_told_without_a_stack_trace(settings: Settings, registry: Registry) -> None:
    promote(registry, register_model(registry, function="features:refuse_sharing"))

    with open_client(settings, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        bad = client.post(PREDICT, json={"rows": [GOOD | {"is_shared": True}]})
        good = client.post(PREDICT, json={"rows": [GOOD]})

    assert (bad.status_code, good.status_code) == (500, 200)
    assert "user function 'features:refuse_sharing' raised ValueError: nobody shares" in bad.json()["detail"]
    assert "Traceback" not in bad.text


def test_an_answer_that_cannot_be_logged_is_not_given(client: TestClient, settings: Settings) -> None:
    (settings.home / "traffic").mkdir(parents=True)
    (settings.home / "traffic" / "trips").write_text("a file where the log's folder should be")

    answer = client.post(PREDICT, json={"rows": [GOOD]})

    assert answer.status_code == 503
    assert "prediction log" in answer.json()["detail"]

    (settings.home / "traffic" / "trips").unlink()

    assert client.post(PREDICT, json={"rows": [GOOD]}).status_code == 200
