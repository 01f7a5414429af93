"""Claims about bodies that mean harm: each is refused in a short time, and none is the service's fault."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st

from tests.serving.models import make_rows
from tests.serving.protocols.bodies import ARROW, as_arrow, as_bytes, as_csv, as_frame

PREDICT, INFER, INVOKE = "/v1/models/trips/predict", "/v2/models/trips/infer", "/invocations"
KINDS = [
    (PREDICT, "application/json"),
    (PREDICT, ARROW),
    (INFER, ""),
    (INVOKE, "application/json"),
    (INVOKE, "text/csv"),
]
MEGABYTES = 10 << 20


def _hostile() -> dict[str, bytes]:
    # As deep as orjson goes; Python's own reader, which keeps all digits, does not go so far.
    nested = b"[" * 1010 + b"1" * 30 + b"]" * 1010
    return {
        "nothing": b"",
        "zeros": b"\x00" * MEGABYTES,
        "quotes": b'"' * MEGABYTES,
        "escaped quotes": b'"' + b'\\"' * (MEGABYTES // 2),
        "escaped quotes and a NaN": b'NaN "' + b'\\"' * (MEGABYTES // 2),
        "brackets": b"[" * MEGABYTES,
        "braces": b'{"a":' * (MEGABYTES // 5),
        "commas": b"," * MEGABYTES,
        "digits": b"9" * MEGABYTES,
        "broken UTF-8": b'{"rows": [{"company": "\xc3\x28"}]}',
        "half a character": b'{"rows": [{"distance": 1, "company": "\\ud800"}]}',
        "deep and long": b'{"rows": [{"distance": ' + nested + b"}]}",
        "deep and long records": b'{"instances": [{"distance": ' + nested + b"}]}",
        "a text of megabytes": json.dumps({"rows": [{"distance": "x" * MEGABYTES}]}).encode(),
        "a column of megabytes": json.dumps({"instances": [{"x" * MEGABYTES: 1}]}).encode(),
        "a tensor of megabytes": json.dumps(
            {"inputs": [{"name": "x" * MEGABYTES, "datatype": "BYTES", "shape": [1], "data": ["y"]}]}
        ).encode(),
        "a long shape": json.dumps(
            {"inputs": [{"name": "distance", "datatype": "FP64", "shape": [10**15], "data": []}]}
        ).encode(),
        "Arrow's mark and a long message": b"\xff\xff\xff\xff" + struct.pack("<i", 2**31 - 1) + b"\x00" * 100,
        "Arrow's mark for ever": b"\xff\xff\xff\xff\x08\x00\x00\x00" + b"\x00" * MEGABYTES,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(_hostile()))
def test_a_body_that_means_harm_is_refused(client: TestClient, name: str) -> None:
    body = _hostile()[name]
    for path, kind in KINDS:
        answer = client.post(path, content=body, headers={"content-type": kind} if kind else {})

        assert answer.status_code in (400, 413, 415, 422), (path, kind, answer.text[:1000])
        assert answer.headers["content-type"] == "application/problem+json"
        # What was sent is not sent back.
        assert len(answer.content) < 3_000_000


def _good_bodies() -> list[tuple[str, bytes, dict[str, str]]]:
    rows = [{"distance": row["distance"], "company": row.get("company")} for row in make_rows(9)]
    tensors = as_bytes(rows, {"distance": "FP64", "company": "BYTES"})
    assert tensors is not None
    return [
        (PREDICT, json.dumps({"rows": rows}).encode(), {}),
        (PREDICT, as_arrow(rows, n_batch=4), {"content-type": ARROW}),
        (INFER, *tensors),
        (INVOKE, json.dumps(as_frame(rows)).encode(), {}),
        (INVOKE, as_csv(rows).encode(), {"content-type": "text/csv"}),
    ]


_edits: st.SearchStrategy[list[tuple[str, int, bytes]]] = st.lists(
    st.tuples(st.sampled_from(["set", "cut", "add"]), st.integers(0, 4000), st.binary(min_size=1, max_size=6)),
    min_size=1,
    max_size=5,
)


@pytest.mark.slow
@cases(max_examples=250)
@given(which=st.integers(0, 4), edits=_edits)
def test_a_good_body_that_was_damaged_is_never_the_services_fault(
    client: TestClient, which: int, edits: list[tuple[str, int, bytes]]
) -> None:
    path, body, headers = _good_bodies()[which]
    damaged = bytearray(body)
    for kind, place, data in edits:
        at = place % max(1, len(damaged))
        if kind == "set":
            damaged[at : at + len(data)] = data
        elif kind == "cut":
            del damaged[at : at + len(data)]
        else:
            damaged[at:at] = data

    answer: Any = client.post(path, content=bytes(damaged), headers=headers)

    assert answer.status_code in (200, 400, 413, 415, 422), answer.text[:1000]
