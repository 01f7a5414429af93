"""Claims about MLflow's scoring protocol: its formats are read as they are meant, or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from base.settings import Settings
from registry.store import Registry
from serving.protocols.mlflow_body import read_invocation
from tests.serving.conftest import open_client, wait_until
from tests.serving.models import CONTRACT, promote, register_model

INVOKE = "/invocations"
GOOD = {"dataframe_records": [{"distance": 3.0}]}


def _read(body: bytes, media_type: str = "application/json") -> list[dict[str, Any]]:
    return read_invocation(body, media_type, columns=CONTRACT.columns, most_rows=100).rows


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["distance", "company"], "data": [[3.0, "red"], [4, None]]}},
        {"dataframe_split": {"index": [7, 8], "columns": ["distance", "company"], "data": [[3.0, "red"], [4, None]]}},
        {"dataframe_records": [{"distance": 3.0, "company": "red"}, {"distance": 4, "company": None}]},
        {"instances": [{"distance": 3.0, "company": "red"}, {"distance": 4, "company": None}]},
        {"inputs": [{"distance": 3.0, "company": "red"}, {"distance": 4, "company": None}]},
        {"inputs": {"distance": [3.0, 4], "company": ["red", None]}},
    ],
)
def test_every_format_says_the_same_rows(body: dict[str, Any]) -> None:
    assert _read(json.dumps(body).encode()) == [
        {"distance": 3.0, "company": "red"},
        {"distance": 4, "company": None},
    ]


def test_what_pandas_writes_for_missing_values_is_missing() -> None:
    body = b'{"dataframe_split": {"columns": ["distance", "at", "company"], "data": [[NaN, "NaT", "NaT"]]}}'

    assert _read(body) == [{"distance": None, "at": None, "company": "NaT"}]


def test_csv_is_read_by_the_signature_and_nothing_is_guessed() -> None:
    text = b'\xef\xbb\xbfdistance,passengers,company,is_shared,at\r\n1e1,2,"1",True,2013-04-01\r\nNaN,1_000,,1,\r\n'

    assert _read(text, "text/csv") == [
        {"distance": 10.0, "passengers": 2, "company": "1", "is_shared": True, "at": "2013-04-01"},
        {"distance": None, "passengers": "1_000", "company": None, "is_shared": "1", "at": None},
    ]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "found nothing in the body"),
        ({"dataframe_records": [], "instances": []}, "'dataframe_records', 'instances' in the body"),
        ({"dataframe": []}, "'dataframe' in the body"),
        ({"dataframe_records": []}, "no row"),
        ({"dataframe_records": {"distance": 1}}, "an object as 'dataframe_records'"),
        ({"instances": [[1, 2]]}, "row 0: found a list"),
        ({"dataframe_split": [1]}, "a list as 'dataframe_split'"),
        ({"dataframe_split": {"columns": ["distance"], "data": [[1, 2]]}}, "row 0: found 2 values"),
        ({"dataframe_split": {"columns": [0], "data": [[1]]}}, "a list as 'columns'"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 1]]}}, "there twice"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1]], "dtypes": []}}, "the key 'dtypes'"),
        ({"inputs": {"distance": [1], "company": ["a", "b"]}}, "2 values"),
        ({"inputs": {"distance": 1}}, "expected a list of values"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1]], "index": {}}}, "an object as 'index'"),
        ({"inputs": 3}, "3 as 'inputs'"),
        (GOOD | {"params": {"n": 1}}, "the parameter 'n'"),
        (GOOD | {"params": {"method": "sample"}}, "'sample' as 'method'"),
    ],
)
def test_a_body_of_another_shape_is_refused_with_what_was_found(
    client: TestClient, body: dict[str, Any], told: str
) -> None:
    answer = client.post(INVOKE, json=body)

    assert answer.status_code == 422
    assert told in answer.json()["message"]


@pytest.mark.parametrize(
    ("content", "kind", "status", "told"),
    [
        (b"a\n1", "text/tab-separated-values", 415, "expected application/json or text/csv"),
        (b"{}", "application/json; charset=utf-8", 422, "nothing in the body"),
        (b"distance\n\xff", "text/csv", 400, "no text in UTF-8"),
        (b'distance\n"3', "text/csv", 400, "no CSV"),
        (b"distance,distance\n3,3", "text/csv", 422, "there twice"),
        (b"distance\n3,4", "text/csv", 422, "2 cells"),
        (b"distance\n", "text/csv", 422, "no row"),
        (b"", "text/csv", 422, "no line"),
        (b"distance\n" + b"9" * 5000, "text/csv", 422, "(text), expected number"),
        (b'"' + b"\\" * 100_001, "application/json", 400, "no JSON"),
        (b'NaN"' + b'\\"' * 100_000, "application/json", 400, "no JSON"),
        (b'{"instances": [{"distance": ' + b"9" * 300 + b"}]}", "application/json", 422, "an integer of"),
        (b'{"instances": [{"distance": ' + b"9" * 6000 + b"}]}", "application/json", 400, ""),
        (b'{"instances": ' + b"[" * 1000 + b"9" * 30 + b"]" * 1000 + b"}", "application/json", 400, "beyond measure"),
    ],
)
def test_a_body_that_is_not_what_its_type_says_is_refused(
    client: TestClient, content: bytes, kind: str, status: int, told: str
) -> None:
    answer = client.post(INVOKE, content=content, headers={"content-type": kind})

    assert answer.status_code == status, answer.text
    assert told in answer.json()["message"]


def test_a_compressed_body_is_refused_and_not_taken_for_broken(client: TestClient) -> None:
    for path in (INVOKE, "/v2/models/trips/infer", "/v1/models/trips/predict"):
        answer = client.post(path, content=b"\x1f\x8b", headers={"content-encoding": "gzip"})

        assert answer.status_code == 415


def test_predict_proba_gives_the_probabilities_in_the_order_of_the_classes(client: TestClient) -> None:
    answer = client.post(INVOKE, json=GOOD | {"params": {"method": "predict_proba"}}).json()

    assert answer["classes"] == ["near", "far"]
    assert [len(row) for row in answer["predictions"]] == [2]
    assert len(answer["ids"]) == 1


def test_the_model_is_the_only_one_or_the_one_that_is_named(settings: Settings, registry: Registry) -> None:
    for name in ("rides", "trips"):
        promote(registry, register_model(registry, name=name, kind="regression" if name == "rides" else "two classes"))

    with open_client(settings, registry) as client:
        wait_until(lambda: len(client.get("/readyz").json()["models"]) == 2, "both models")
        unnamed = client.post(INVOKE, json=GOOD)
        by_query = client.post(f"{INVOKE}?model=trips", json=GOOD)
        by_header = client.post(INVOKE, json=GOOD, headers={"everfit-model": "rides"})
        by_path = client.post("/v1/models/trips/invocations", json=GOOD)
        nobody = client.post(f"{INVOKE}?model=walks", json=GOOD)
        proba = client.post(f"{INVOKE}?model=rides", json=GOOD | {"params": {"method": "predict_proba"}})

    assert unnamed.status_code == 400
    assert "2 models are in service (rides, trips)" in unnamed.json()["message"]
    assert by_query.json()["predictions"] == by_path.json()["predictions"] == ["near"]
    assert isinstance(by_header.json()["predictions"][0], float)
    assert nobody.status_code == 404
    assert proba.status_code == 422


def test_a_service_without_a_model_pings_503(settings: Settings, registry: Registry) -> None:
    with open_client(settings, registry) as client:
        wait_until(lambda: client.post(INVOKE, json=GOOD).status_code == 404, "the first look")

        assert [client.get(path).status_code for path in ("/ping", "/health", "/v2/health/ready")] == [503] * 3
        assert [client.get(path).status_code for path in ("/version", "/v2", "/v2/health/live")] == [200] * 3
