"""Claims about labels over HTTP: every form of them is taken, every fault is named, and nothing is the service's."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from base.settings import Settings
from registry.store import Registry
from serving.labels.reading import read_labels
from tests.serving.conftest import open_client, wait_until
from tests.serving.models import promote, register_model

PREDICT = "/v1/models/trips/predict"
LABELS = "/v1/models/trips/labels"
GOOD = {"distance": 3.0}
COUNTS = {
    "received": 0,
    "accepted": 0,
    "stored": 0,
    "repeated": 0,
    "corrected": 0,
    "late": 0,
    "unknown": 0,
    "ambiguous": 0,
    "refused": 0,
}
MAY = datetime(2013, 5, 1, tzinfo=UTC)


def test_labels_are_kept_and_the_one_observed_last_wins(client: TestClient, settings: Settings) -> None:
    first, second = (one["id"] for one in client.post(PREDICT, json={"rows": [GOOD, GOOD]}).json()["predictions"])
    labels = [
        {"id": first, "value": "far", "observed_at": "2013-05-02T00:00Z"},
        {"id": first, "value": "near", "observed_at": "2013-05-01T00:00Z"},
        {"id": second, "value": "near"},
    ]

    answer = client.post(LABELS, json={"labels": labels})

    assert (answer.status_code, answer.json()) == (
        200,
        {"model": "trips"} | COUNTS | {"received": 3, "accepted": 3, "stored": 3, "corrected": 1},
    )
    kept = read_labels(settings.home, "trips").set_index("id")["value"].to_dict()
    assert kept == {first: "far", second: "near"}


@pytest.mark.parametrize(
    ("label", "column"),
    [
        ({"value": "far"}, "id"),
        ({"id": "", "value": "far"}, "id"),
        ({"id": 3, "value": "far"}, "id"),
        ({"id": "a"}, "value"),
        ({"id": "a", "value": None}, "value"),
        ({"id": "a", "value": 1}, "value"),
        ({"id": "a", "value": True}, "value"),
        ({"id": "a", "value": ["far"]}, "value"),
        ({"id": "a", "value": "far", "observed_at": "soon"}, "observed_at"),
        ({"id": "a", "value": "far", "observed_at": 5}, "observed_at"),
        ({"id": "a", "value": "far", "when": "now"}, "when"),
    ],
)
def test_a_wrong_label_is_refused_and_none_of_its_request_is_kept(
    client: TestClient, settings: Settings, label: dict[str, Any], column: str
) -> None:
    answer = client.post(LABELS, json={"labels": [{"id": "b", "value": "far"}, label]})

    assert answer.status_code == 422
    assert [(fault["row"], fault["column"]) for fault in answer.json()["errors"]] == [(1, column)]
    assert read_labels(settings.home, "trips").empty


@pytest.mark.parametrize("value", [True, "3", 2**60, 10**30])
def test_a_label_of_a_regression_is_a_number(settings: Settings, registry: Registry, value: object) -> None:
    promote(registry, register_model(registry, kind="regression"))

    with open_client(settings, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        wrong = client.post(LABELS, json={"labels": [{"id": "a", "value": value}]})
        right = client.post(LABELS, json={"labels": [{"id": "a", "value": 3.5}]})

    assert (wrong.status_code, right.status_code) == (422, 200)


def _predict(client: TestClient, count: int) -> list[str]:
    answer = client.post(PREDICT, json={"rows": [GOOD] * count}).json()
    return [one["id"] for one in answer["predictions"]]


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def _lines(frame: pd.DataFrame) -> bytes:
    rows = [{str(name): value for name, value in row.items() if not pd.isna(value)} for row in frame.to_dict("records")]
    return "".join(json.dumps(row, default=str) + "\n" for row in rows).encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), stream)
    return stream.getvalue()


def _arrow(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return stream.getvalue()


BULK = [
    ("text/csv", _csv),
    ("text/csv; charset=utf-8", _csv),
    ("application/x-ndjson", _lines),
    ("application/vnd.apache.parquet", _parquet),
    ("application/vnd.apache.arrow.stream", _arrow),
]


@pytest.mark.parametrize(("kind", "write"), BULK)
def test_a_bulk_body_of_any_type_brings_the_same_labels(
    client: TestClient, settings: Settings, kind: str, write: Any
) -> None:
    ids = _predict(client, 3)
    frame = pd.DataFrame(
        {"id": [*ids, "x"], "value": ["far", "near", "far", None], "observed_at": [MAY, MAY, None, MAY]}
    )

    answer = client.post(LABELS, content=write(frame), headers={"content-type": kind}).json()

    assert {name: answer[name] for name in COUNTS} == COUNTS | {
        "received": 4,
        "accepted": 3,
        "stored": 3,
        "refused": 1,
    }
    assert [(fault["row"], fault["column"]) for fault in answer["errors"]] == [(3, "value")]
    kept = read_labels(settings.home, "trips").set_index("id")
    assert kept["value"].to_dict() == dict(zip(ids, ["far", "near", "far"], strict=True))
    assert kept.loc[ids[0], "observed_at"] == MAY


@pytest.mark.parametrize(
    ("kind", "body", "status", "told"),
    [
        ("application/xml", b"<a/>", 415, "text/csv"),
        ("text/csv", b"", 422, "no line"),
        ("text/csv", b"id,value\n", 422, "no label"),
        ("text/csv", b"id,value,id\na,far,b\n", 422, "there twice"),
        ("text/csv", b"id,walue\na,far\n", 422, "unknown column"),
        ("text/csv", b"id,value\na,\xff\n", 400, "UTF-8"),
        ("text/csv", b'id,value\n"a"b,far\n', 400, "no CSV"),
        ("application/x-ndjson", b"nonsense\n", 422, "no JSON"),
        ("application/vnd.apache.parquet", b"PAR1", 400, "no Parquet file"),
        ("application/vnd.apache.arrow.stream", b"ARROW1", 400, "no Arrow stream"),
        ("application/json", b"nonsense", 400, "no JSON"),
        ("application/json", b"[]", 422, "a list"),
        ("application/json", b'{"labels": []}', 422, "an empty list"),
        (
            "application/json",
            b'{"labels": [{"key": {"a": 1}, "time": "2013-05-01", "value": "far"}]}',
            422,
            "serve.key",
        ),
    ],
)
def test_a_body_that_is_no_labels_is_refused_with_what_was_found(
    client: TestClient, settings: Settings, kind: str, body: bytes, status: int, told: str
) -> None:
    answer = client.post(LABELS, content=body, headers={"content-type": kind})

    assert answer.status_code == status
    assert told in answer.text
    assert read_labels(settings.home, "trips").empty


def test_of_a_json_body_what_is_right_is_taken_on_request(client: TestClient, settings: Settings) -> None:
    body = {"labels": [{"id": "a", "value": "far"}, {"id": "b"}]}

    answer = client.post(LABELS, params={"partial": "true"}, json=body).json()

    assert (answer["accepted"], answer["refused"], answer["unknown"]) == (1, 1, 1)
    assert read_labels(settings.home, "trips")["id"].tolist() == ["a"]


def test_a_body_with_an_idempotency_key_is_taken_once(client: TestClient) -> None:
    headers = {"idempotency-key": "monday"}
    body = {"labels": [{"id": "a", "value": "far"}]}

    first = client.post(LABELS, json=body, headers=headers).json()
    again = client.post(LABELS, json=body, headers=headers).json()
    other = client.post(LABELS, json={"labels": [{"id": "b", "value": "far"}]}, headers=headers)

    assert (first["stored"], again["stored"], again["repeated"]) == (1, 0, 1)
    assert other.status_code == 422
    assert "'monday' has been used for other labels" in other.json()["detail"]


@pytest.mark.parametrize("query", [{"within": "soon"}, {"partial": "maybe"}])
def test_a_wrong_option_is_named(client: TestClient, query: dict[str, str]) -> None:
    answer = client.post(LABELS, params=query, json={"labels": [{"id": "a", "value": "far"}]})

    assert answer.status_code == 422
    assert next(iter(query)) in answer.text


def test_more_labels_than_are_allowed_are_told_to_come_in_parts(settings: Settings, registry: Registry) -> None:
    promote(registry, register_model(registry))
    small = settings.model_copy(update={"max_labels": 2})
    frame = pd.DataFrame({"id": ["a", "b", "c"], "value": ["far"] * 3})

    with open_client(small, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        answers = [client.post(LABELS, content=write(frame), headers={"content-type": kind}) for kind, write in BULK]

    assert {answer.status_code for answer in answers} == {413}
    assert all("EVERFIT_MAX_LABELS" in answer.text for answer in answers)
