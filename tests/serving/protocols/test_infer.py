"""Claims about the Open Inference Protocol: every tensor is what it says, or is refused by name."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from base.contract import ColumnRule
from base.settings import Settings
from registry.store import Registry
from serving.protocols.infer_body import read_infer_body
from serving.protocols.tensors import DATATYPES, read_bytes, write_bytes
from serving.web.problems import FaultsFound
from tests.serving.conftest import open_client, wait_until
from tests.serving.models import Kind, make_rows, promote, register_model

INFER = "/v2/models/trips/infer"


def _tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "distance", "datatype": "FP64", "shape": [1], "data": [3.0]} | changes


def _body(*tensors: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": list(tensors or [_tensor()])} | more


@pytest.mark.parametrize(
    ("tensor", "row", "found", "expected"),
    [
        ({"data": ["3"]}, 0, "'3' (text)", "FP64"),
        ({"data": [True]}, 0, "True (boolean)", "FP64"),
        ({"data": [{"km": 3}]}, 0, "{'km': 3} (object)", "FP64"),
        ({"datatype": "FP32", "data": [1e300]}, 0, "1e+300 (number)", "FP32"),
        ({"datatype": "INT64", "data": [1.5]}, 0, "1.5 (number)", "INT64"),
        ({"datatype": "INT8", "data": [128]}, 0, "128 (integer)", "INT8"),
        ({"datatype": "UINT8", "data": [-1]}, 0, "-1 (integer)", "UINT8"),
        ({"datatype": "BOOL", "data": [1]}, 0, "1 (integer)", "BOOL"),
        ({"datatype": "BYTES", "data": [1]}, 0, "1 (integer)", "BYTES"),
        ({"datatype": "BYTES", "data": ["3"]}, 0, "'3' (text)", "number"),
        ({"datatype": "BOOL", "data": [True]}, 0, "True (boolean)", "number"),
        ({"data": [10**30]}, 0, f"{10**30} (integer)", "number"),
        ({"data": [None]}, 0, "null", "number"),
        ({"name": "company", "data": [3.0]}, 0, "3.0 (number)", "text"),
        ({"name": "at", "datatype": "INT64", "data": [1365000000]}, 0, "1365000000 (integer)", "time"),
        ({"data": [1, 2]}, None, "2 values", "1, as the tensor's shape says"),
        ({"data": 3.0}, None, "3.0 as 'data'", "a list of values"),
        ({"shape": [2]}, None, "1 values", "2, as the tensor's shape says"),
        ({"shape": [1, 2]}, None, "shape [1, 2], one tensor for all columns", "a tensor for each column, since"),
        ({"shape": [1, 1, 1]}, None, "the shape [1, 1, 1]", "[n] or [n, 1]"),
        ({"shape": [-1]}, None, "the shape [-1]", "[n] or [n, 1]"),
        ({"shape": [True]}, None, "the shape [True]", "[n] or [n, 1]"),
        ({"shape": [0], "data": []}, None, "no row", "at least one"),
        ({"datatype": "FP8"}, None, "'FP8' as 'datatype'", "one of BOOL, INT8"),
        ({"name": None}, None, "null as the name of an input", "a column's name"),
        ({"parameters": {"binary_data_size": 8}}, None, "8 as 'binary_data_size'", "at most the 0 bytes"),
        ({"parameters": {"shared_memory_region": "r"}}, None, "the parameter 'shared_memory_region'", "not supported"),
    ],
)
def test_a_tensor_that_is_not_what_it_says_is_refused_by_name(
    client: TestClient, tensor: dict[str, Any], row: int | None, found: str, expected: str
) -> None:
    others = [_tensor()] if tensor.get("name", "distance") not in ("distance", None) else []

    answer = client.post(INFER, json=_body(*others, _tensor(**tensor)))

    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert (fault["row"], fault["found"]) == (row, found)
    assert expected in fault["expected"]
    assert answer.json()["error"] == answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "null as 'inputs'"),
        ({"inputs": []}, "an empty list as 'inputs'"),
        ({"inputs": [3]}, "3 as an input"),
        (_body(_tensor(), _tensor()), "there twice"),
        (_body(_tensor(), _tensor(name="company", datatype="BYTES", shape=[2], data=["a", "b"])), "2 rows"),
        (_body(id=7), "7 as the id"),
        (_body(parameters=[]), "a list as 'parameters'"),
        (_body(parameters={"missing": 1}), "1 as the parameter 'missing'"),
        (_body(outputs=[{"name": "shap"}]), "'shap' as an output"),
        (_body(outputs=[{"name": "id", "parameters": {"classification": 3}}]), "the parameter 'classification'"),
    ],
)
def test_a_request_of_another_shape_is_refused_with_what_was_found(
    client: TestClient, body: dict[str, Any], told: str
) -> None:
    answer = client.post(INFER, json=body)

    assert answer.status_code == 422
    assert told in answer.json()["error"]


@pytest.mark.parametrize(
    ("length", "content", "status", "told"),
    [
        ("x", b"{}", 400, "expected a number of bytes"),
        ("-1", b"{}", 400, "expected a number of bytes"),
        ("9" * 30, b"{}", 400, "expected a number of bytes"),
        ("3", b"{}", 400, "but the body has 2 bytes"),
        ("0", b"{}", 400, "no JSON"),
        (None, b"{}\x00\x01", 400, "no JSON"),
    ],
)
def test_a_header_that_lies_about_the_body_is_refused(
    client: TestClient, length: str | None, content: bytes, status: int, told: str
) -> None:
    headers = {} if length is None else {"inference-header-content-length": length}

    answer = client.post(INFER, content=content, headers=headers)

    assert answer.status_code == status
    assert told in answer.json()["error"]


@pytest.mark.parametrize(
    ("datatype", "data", "told"),
    [
        ("FP64", b"1234567", "7 bytes"),
        ("INT32", b"12345678", "8 bytes"),
        ("BOOL", b"\x02", "2 (integer)"),
        ("BYTES", b"\x02\x00\x00\x00a", "an element that is cut"),
        ("BYTES", b"\xff\xff\xff\xff", "an element that is cut"),
        ("BYTES", b"\x01\x00", "an element that is cut"),
        ("BYTES", b"\x01\x00\x00\x00\xff", "bytes that are no text"),
        ("BYTES", b"\x00\x00\x00\x00" * 2, "more than 1 elements"),
        ("BYTES", b"", "0 elements"),
    ],
)
def test_bytes_that_are_no_tensor_are_refused(client: TestClient, datatype: str, data: bytes, told: str) -> None:
    tensor = {"name": "distance", "datatype": datatype, "shape": [1], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor]}).encode()

    answer = client.post(INFER, content=head + data, headers={"inference-header-content-length": str(len(head))})

    assert answer.status_code == 422
    assert told in answer.json()["error"]


def test_bytes_behind_the_last_tensor_are_refused() -> None:
    head = json.dumps(_body()).encode()

    with pytest.raises(FaultsFound, match="4 bytes behind the last tensor"):
        read_infer_body(head + b"\x00" * 4, header_length=len(head), columns={}, most_rows=10)


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name != "BYTES"])
def test_what_is_written_as_bytes_is_read_again(datatype: str) -> None:
    values: list[Any] = [True, False] if datatype == "BOOL" else [0, 100]

    assert read_bytes("x", datatype, memoryview(write_bytes(datatype, values)), size=2, missing="") == values


def test_nan_and_the_empty_text_are_missing_unless_the_request_says_otherwise() -> None:
    texts = {"name": "company", "datatype": "BYTES", "shape": [2], "data": ["", "none"]}
    numbers = b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [2, 1], "data": [[NaN], [1]]}]}'

    def read(body: bytes) -> list[dict[str, Any]]:
        return read_infer_body(body, header_length=None, columns={}, most_rows=10).rows

    assert read(json.dumps(_body(texts)).encode()) == [{"company": None}, {"company": "none"}]
    assert read(json.dumps(_body(texts, parameters={"missing": "none"})).encode()) == [
        {"company": ""},
        {"company": None},
    ]
    assert read(numbers) == [{"x": None}, {"x": 1}]


def test_one_matrix_stands_for_all_columns_of_a_model_of_numbers() -> None:
    columns = {"a": ColumnRule(type="number"), "b": ColumnRule(type="integer")}
    matrix = np.array([[1.5, 2.0], [np.nan, 4.0]], "<f4")
    tensor = {"name": "X", "datatype": "FP32", "shape": [2, 2]}

    def read(tensor: dict[str, Any], data: bytes = b"") -> list[dict[str, Any]]:
        head = json.dumps({"inputs": [tensor]}).encode()
        return read_infer_body(head + data, header_length=len(head), columns=columns, most_rows=10).rows

    expected = [{"a": 1.5, "b": 2.0}, {"a": None, "b": 4.0}]
    assert read(tensor | {"parameters": {"binary_data_size": 16}}, matrix.tobytes()) == expected
    assert read(tensor | {"data": [[1.5, 2], [None, 4]]}) == expected
    with pytest.raises(FaultsFound, match="found 3 columns, expected 2: a, b"):
        read(tensor | {"shape": [2, 3], "data": [0] * 6})
    with pytest.raises(FaultsFound, match="found BYTES for numbers"):
        read(tensor | {"datatype": "BYTES", "data": ["1"] * 4})


@pytest.mark.parametrize("kind", ["two classes", "three classes", "regression"])
def test_an_answer_has_the_tensors_that_the_metadata_promises(
    settings: Settings, registry: Registry, kind: Kind
) -> None:
    promote(registry, register_model(registry, kind=kind))
    rows = make_rows(3)
    body = _body(_tensor(shape=[3], data=[row["distance"] for row in rows]), id="seven")

    with open_client(settings, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        metadata = client.get("/v2/models/trips/versions/1").json()
        answer = client.post(INFER, json=body).json()
        own = client.post("/v1/models/trips/predict", json={"rows": [{"distance": row["distance"]} for row in rows]})
        chosen = client.post(INFER, json=body | {"outputs": [{"name": "prediction"}]}).json()
        shares = client.post(INFER, json=body | {"outputs": [{"name": "probabilities"}]})

    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("seven", "trips", "1")
    assert [(one["name"], one["datatype"]) for one in metadata["outputs"]] == [
        (one["name"], one["datatype"]) for one in answer["outputs"]
    ]
    predictions = [one["prediction"] for one in own.json()["predictions"]]
    assert chosen["outputs"][0] == {
        "name": "prediction",
        "datatype": {"two classes": "BYTES", "three classes": "INT64", "regression": "FP64"}[kind],
        "shape": [3],
        "data": predictions,
    }
    assert shares.status_code == (422 if kind == "regression" else 200)


def test_outputs_come_as_bytes_where_they_are_wanted_so(client: TestClient) -> None:
    wanted = [{"name": "id"}, {"name": "probabilities", "parameters": {"binary_data": True}}]

    answer = client.post(INFER, json=_body(outputs=wanted))
    length = int(answer.headers["inference-header-content-length"])
    ids, shares = json.loads(answer.content[:length])["outputs"]

    assert len(ids["data"]) == 1
    assert shares["parameters"] == {"binary_data_size": 16}
    assert sum(struct.unpack("<dd", answer.content[length:])) == pytest.approx(1)


def test_only_versions_in_service_are_ready_and_answer(client: TestClient) -> None:
    asked = {path: client.get(f"/v2/models/{path}/ready").status_code for path in ("trips", "trip", "trips/versions/1")}

    assert asked == {"trips": 200, "trip": 404, "trips/versions/1": 200}
    assert client.post("/v2/models/trips/versions/1/infer", json=_body()).status_code == 200
    answer = client.post("/v2/models/trips/versions/9/infer", json=_body())
    assert (answer.status_code, answer.json()["error"]) == (
        404,
        "version 9 of model 'trips' is not in service; in service: 1",
    )


def test_the_metadata_says_which_path_answers_and_why(client: TestClient) -> None:
    found = client.get("/v2/models/trips").json()

    assert found["platform"] == "scikit-learn_skops"
    assert found["parameters"]["scoring_reason"] == "it was trained before versions had a compiled form"
    assert {one["name"]: one["datatype"] for one in found["inputs"]} == {
        "distance": "FP64",
        "passengers": "INT64",
        "company": "BYTES",
        "is_shared": "BOOL",
        "at": "BYTES",
    }
