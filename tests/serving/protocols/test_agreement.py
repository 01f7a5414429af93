"""Claims about all protocols: the same rows get the same answer, and what one refuses, all refuse."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st

from base.settings import Settings
from registry.store import Registry
from serving.log.status import read_accounts
from tests.serving.conftest import open_client, wait_until
from tests.serving.models import CONTRACT, make_rows, promote, register_model
from tests.serving.protocols.bodies import (
    ARROW,
    as_arrow,
    as_bytes,
    as_columns,
    as_csv,
    as_frame,
    as_tensors,
    choose_datatype,
    names_of,
)

Row = dict[str, Any]
PREDICT, INFER, INVOKE = "/v1/models/trips/predict", "/v2/models/trips/infer", "/v1/models/trips/invocations"

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8)
_columns: dict[str, st.SearchStrategy[Any]] = {
    "distance": st.none() | st.floats(-5, 1e308) | st.integers(-5, 2**54) | st.sampled_from([2**53, 2**53 + 1]),
    "passengers": st.none() | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([1.0, 2.5, 1e300, 91]),
    "company": st.none() | _text,
    "is_shared": st.none() | st.booleans(),
    "at": st.none()
    | st.datetimes(timezones=st.none() | st.just(UTC)).map(lambda moment: moment.isoformat())
    | st.sampled_from(["yesterday", "2013-04-01", "NaT"]),
}
_good: dict[str, st.SearchStrategy[Any]] = _columns | {
    "distance": st.floats(0, 100) | st.integers(0, 100),
    "passengers": st.none() | st.integers(0, 90),
    "at": st.none() | st.datetimes().map(lambda moment: moment.isoformat()),
}


def _rows(columns: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[list[Row]]:
    chosen = st.lists(st.sampled_from(sorted(columns)), unique=True).map(lambda names: ["distance", *names])
    return chosen.flatmap(
        lambda names: st.lists(st.fixed_dictionaries({name: columns[name] for name in names}), min_size=1, max_size=4)
    )


def _tell(answer: Any) -> list[Any] | None:
    """Return the predictions, None where they were refused."""
    assert answer.status_code in (200, 400, 413, 422), (answer.status_code, answer.text)
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        return None
    if answer.headers["content-type"] == ARROW:
        predictions: list[Any] = pa.ipc.open_stream(answer.content).read_all()["prediction"].to_pylist()
        return predictions
    document = answer.json()
    if "outputs" in document:
        by_name: dict[str, list[Any]] = {output["name"]: output["data"] for output in document["outputs"]}
        return by_name["prediction"]
    return [one if isinstance(one, str) else one["prediction"] for one in document["predictions"]]


def _ask_all(client: TestClient, rows: list[Row]) -> dict[str, list[Any] | None]:
    """Ask each protocol that can write these rows."""
    found = {
        "records": client.post(INVOKE, json={"dataframe_records": rows}),
        "instances": client.post(INVOKE, json={"instances": rows}),
        "frame": client.post(INVOKE, json=as_frame(rows)),
        "columns": client.post(INVOKE, json=as_columns(rows)),
    }
    datatypes = {name: choose_datatype([row.get(name) for row in rows]) for name in names_of(rows)}
    known = {name: datatype for name, datatype in datatypes.items() if datatype is not None}
    # A column whose integers do not fit a double is no FP64 of the client's.
    is_exact = all(
        not isinstance(value, int) or abs(value) <= 2**53
        for name, datatype in known.items()
        if datatype == "FP64"
        for value in (row.get(name) for row in rows)
    )
    if len(known) == len(datatypes) and is_exact:
        found["tensors"] = client.post(INFER, json=as_tensors(rows, known))
        body = as_bytes(rows, known)
        if body is not None:
            found["bytes"] = client.post(INFER, content=body[0], headers=body[1])
        content = as_arrow(rows)
        found["arrow"] = client.post(PREDICT, content=content, headers={"content-type": ARROW})
        both = {"content-type": ARROW, "accept": "application/json"}
        found["arrow to JSON"] = client.post(PREDICT, content=content, headers=both)
    found["JSON to arrow"] = client.post(PREDICT, json={"rows": rows}, headers={"accept": ARROW})
    return {name: _tell(answer) for name, answer in found.items()}


@pytest.mark.slow
@cases(max_examples=150)
@given(rows=_rows(_columns))
def test_what_one_protocol_says_of_rows_all_say(client: TestClient, rows: list[Row]) -> None:
    expected = _tell(client.post(PREDICT, json={"rows": rows}))

    for name, told in _ask_all(client, rows).items():
        # pandas writes a missing moment as NaT, and only MLflow's clients are pandas.
        if not (any(row.get("at") == "NaT" for row in rows) and name in ("records", "instances", "frame", "columns")):
            assert told == expected, name


@pytest.mark.slow
@cases(max_examples=100)
@given(rows=_rows(_good))
def test_good_rows_get_the_same_answer_by_every_protocol(client: TestClient, rows: list[Row]) -> None:
    expected = _tell(client.post(PREDICT, json={"rows": rows}))

    # The contract's rule over two columns may refuse rows that are good by column.
    told = _ask_all(client, rows) | {
        "CSV": _tell(client.post(INVOKE, content=as_csv(rows), headers={"content-type": "text/csv"}))
    }
    assert {name: one for name, one in told.items() if one != expected} == {}


_any_value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["", "1", "true", "2013-04-01", 10**30, 2**64, -(2**63), 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_datatypes = st.sampled_from(
    ["BOOL", "BYTES", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64"]
)


@pytest.mark.slow
@cases(max_examples=200)
@given(data=st.data())
def test_whatever_values_and_datatypes_come_nothing_is_taken_for_something_else(
    client: TestClient, data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from([*CONTRACT.columns, "fare", "distanse"]), unique=True, max_size=4))
    size = data.draw(st.integers(1, 3))
    columns = {
        name: data.draw(st.lists(_columns.get(name, _any_value) | _any_value, min_size=size, max_size=size))
        for name in {"distance": 0, **dict.fromkeys(names)}
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    datatypes = {name: data.draw(_datatypes) for name in columns}
    expected = _tell(client.post(PREDICT, json={"rows": rows}))

    by_tensors = _tell(client.post(INFER, json=as_tensors(rows, datatypes)))
    by_records = _tell(client.post(INVOKE, json={"dataframe_records": rows}))
    by_frame = _tell(client.post(INVOKE, json=as_frame(rows)))

    # A datatype that does not fit refuses more, and never takes anything else.
    assert by_tensors in (None, expected)
    assert by_records == by_frame == expected


def test_refused_and_answered_rows_of_all_protocols_are_accounted_for(settings: Settings, registry: Registry) -> None:
    promote(registry, register_model(registry))
    rows = make_rows(7, seed=2)
    bad = [row | {"distance": -1.0} for row in rows[:2]]
    datatypes = {"distance": "FP64", "company": "BYTES"}

    with open_client(settings, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        for each in (rows, bad):
            slim = [{name: row.get(name) for name in datatypes} for row in each]
            client.post(PREDICT, json={"rows": slim})
            client.post(INFER, json=as_tensors(slim, datatypes))
            client.post(INFER, json=as_tensors(slim, datatypes | {"distance": "BOOL"}))
            client.post(INVOKE, json=as_frame(slim))
            client.post(PREDICT, content=as_arrow(slim), headers={"content-type": ARROW})

    (accounts,) = read_accounts(settings.home)["trips"]
    totals = accounts.totals
    assert (totals.accepted, totals.stored, totals.rejected) == (45, 28, {"invalid": 17})


def test_a_token_for_nobody_is_no_json_for_anybody(client: TestClient) -> None:
    for path in (PREDICT, INFER, INVOKE):
        for body in (b"", b"{", b"[" * 3000, json.dumps({"a": 1}).encode() + b"\xff"):
            assert _tell(client.post(path, content=body)) is None
