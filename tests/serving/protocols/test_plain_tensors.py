"""Claims about the quick way of reading tensors: it is sound, the thorough way says the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.protocols import infer_body
from serving.protocols.plain_tensors import read_plain

_values = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, 2**63, 2**64, 10**30, 1e308, 0.1, "", "é", "\ud800", "a" * 30])
    | st.floats(allow_nan=True)
    | st.text(max_size=3)
)
_tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "c"]),
        "datatype": st.sampled_from(["FP64", "INT64", "BYTES", "BOOL", "FP32"]),
        "shape": st.sampled_from([[1], [2], [2, 1], [1, 1], [1, 2], [0], []]),
        "data": st.lists(_values, max_size=2),
    },
    optional={"parameters": st.sampled_from([None, {}, {"binary_data_size": 0}])},
)
_typed = st.sampled_from([("FP64", st.floats(-9, 9) | st.integers(-9, 9)), ("BYTES", st.text(min_size=1, max_size=3))])
_good = _typed.flatmap(
    lambda typed: st.fixed_dictionaries(
        {"name": st.just(typed[0]), "datatype": st.just(typed[0]), "shape": st.just([1]), "data": st.tuples(typed[1])}
    )
)


@given(tensors=st.lists(_tensors | _good, max_size=3), name=st.none() | st.text(max_size=3) | st.just(7))
def test_what_is_read_quickly_is_what_the_thorough_way_reads(tensors: list[dict[str, Any]], name: Any) -> None:
    body = json.dumps({"inputs": tensors, "id": name}).encode()
    quick = read_plain(body, most_rows=5)

    if quick is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(infer_body, "read_plain", lambda *_args, **_more: None)
            thorough = infer_body.read_infer_body(body, header_length=None, columns={}, most_rows=5)
        assert (quick[0], quick[1].id) == (thorough.rows, thorough.id)
        assert [[type(value) is bool for value in row.values()] for row in quick[0]] == [
            [type(value) is bool for value in row.values()] for row in thorough.rows
        ]


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [NaN]}]}',
        b'{"inputs": [{"name": "a", "shape": [1], "datatype": "BYTES", "data": [""]}]}',
        b'{"inputs": [{"name": "a", "shape": [1], "datatype": "BYTES", "data": ["\xff"]}]}',
        b'{"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [9007199254740993]}]}',
        b'{"inputs": [{"name": "a", "shape": [6], "datatype": "FP64", "data": [1, 1, 1, 1, 1, 1]}]}',
        b'{"inputs": [], "parameters": {"missing": "-"}}',
        b'{"inputs": [], "x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
def test_what_must_be_looked_at_goes_the_thorough_way(body: bytes) -> None:
    assert read_plain(body, most_rows=5) is None
