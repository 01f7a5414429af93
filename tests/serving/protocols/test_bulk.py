"""Claims about Arrow streams: answered batch by batch, whole or visibly cut, and never taken for something else."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st

from base.settings import Settings
from registry.store import Registry
from serving.log.status import read_accounts
from serving.log.traffic import read_traffic
from serving.protocols.arrow_rows import RowStream
from tests.serving.conftest import open_client, wait_until
from tests.serving.models import CONTRACT, make_rows, promote, register_model
from tests.serving.processes import start_service
from tests.serving.protocols.bodies import ARROW, as_arrow, write_arrow

PREDICT = "/v1/models/trips/predict"
SENT = {"content-type": ARROW}


def _read(table: pa.Table, **options: Any) -> list[dict[str, Any]]:
    stream = RowStream(write_arrow(table, **options), CONTRACT.columns, most_chunk_bytes=1000)
    return stream.read(10_000)


@pytest.mark.parametrize("n_batch", [1, 700, 20_000])
def test_a_stream_is_answered_as_its_rows_are_whatever_its_batches(
    client: TestClient, settings: Settings, n_batch: int
) -> None:
    rows = make_rows(9000, seed=4) if n_batch > 1 else make_rows(50, seed=4)
    expected = client.post(PREDICT, json={"rows": rows}).json()["predictions"]

    answer = client.post(PREDICT, content=as_arrow(rows, n_batch=n_batch), headers=SENT)
    found = pa.ipc.open_stream(answer.content).read_all().to_pylist()

    assert answer.headers["content-type"] == ARROW
    assert [(one["prediction"], one["probabilities"]) for one in found] == [
        (one["prediction"], one["probabilities"]) for one in expected
    ]
    assert {one["version"] for one in found} == {1}
    assert {one["id"] for one in found} <= set(read_traffic(settings.home, "trips")["id"])


def test_json_and_arrow_go_in_and_out_in_any_pair(client: TestClient) -> None:
    rows = make_rows(5)
    arrow, document = as_arrow(rows), json.dumps({"rows": rows})

    answers = {
        (kind, accept): client.post(PREDICT, content=content, headers={"content-type": kind, "accept": accept})
        for kind, content in ((ARROW, arrow), ("application/json", document))
        for accept in (ARROW, "application/json", "*/*")
    }

    kinds = {pair: answer.headers["content-type"] for pair, answer in answers.items()}
    assert kinds == {
        (ARROW, ARROW): ARROW,
        (ARROW, "application/json"): "application/json",
        (ARROW, "*/*"): ARROW,
        ("application/json", ARROW): ARROW,
        ("application/json", "application/json"): "application/json",
        ("application/json", "*/*"): "application/json",
    }
    assert {answer.status_code for answer in answers.values()} == {200}


def test_every_type_is_read_as_what_it_says() -> None:
    moment = datetime(2013, 4, 1, 6, 30, 0, 250, UTC)
    table = pa.table(
        {
            "distance": pa.array([1.5, float("nan"), None], pa.float32()),
            "passengers": pa.array([1, None, 3], pa.uint8()),
            "company": pa.array(["red", None, "red"]).dictionary_encode(),
            "is_shared": pa.array([True, None, False]),
            "at": pa.array([moment, None, moment], pa.timestamp("ns", "Europe/Rome")),
        }
    )

    first, second, third = _read(table)

    assert first == {
        "distance": 1.5,
        "passengers": 1,
        "company": "red",
        "is_shared": True,
        "at": "2013-04-01T06:30:00.000250+00:00",
    }
    assert second == dict.fromkeys(first)
    assert (third["company"], third["distance"]) == ("red", None)
    assert _read(pa.table({"at": pa.array([date(2013, 4, 1), None])})) == [{"at": "2013-04-01"}, {"at": None}]
    naive = pa.table({"at": pa.array([datetime(2013, 4, 1, 6)], pa.timestamp("s"))})  # noqa: DTZ001
    assert _read(naive) == [{"at": "2013-04-01T06:00:00.000000"}]


@pytest.mark.parametrize(
    ("name", "array", "found", "expected"),
    [
        ("company", pa.array([datetime(2013, 4, 1, tzinfo=UTC)]), "timestamp[us, tz=UTC]", "text"),
        ("distance", pa.array([date(2013, 4, 1)]), "date32[day]", "number"),
        ("distance", pa.array([Decimal("1.5")]), "decimal128(2, 1)", "null, bool"),
        ("distance", pa.array([[1.5]]), "list<item: double>", "null, bool"),
        ("company", pa.array([b"red"]), "binary", "null, bool"),
        ("at", pa.array([1], pa.timestamp("ns")), "no whole number of microseconds", "time"),
        ("distance", pa.array(["3"]), "'3' (text)", "number"),
        ("company", pa.array([3]), "3 (integer)", "text"),
        ("at", pa.array([3]), "3 (integer)", "time"),
        ("is_shared", pa.array([1]), "1 (integer)", "boolean"),
        ("distance", pa.array([float("inf")]), "inf (number)", "number"),
        ("distance", pa.array([2**53 + 1]), "9007199254740993 (integer)", "number"),
    ],
)
def test_a_column_of_another_type_is_a_fault_and_never_cast(
    client: TestClient, name: str, array: pa.Array, found: str, expected: str
) -> None:
    table = pa.table({name: array} | ({} if name == "distance" else {"distance": pa.array([1.0])}))

    answer = client.post(PREDICT, content=write_arrow(table), headers=SENT)

    assert answer.status_code == 422, answer.text
    (fault,) = answer.json()["errors"]
    assert found in fault["found"]
    assert expected in fault["expected"]


def _stream_of(table: pa.Table) -> bytes:
    return write_arrow(table)


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (b"", 400, "no schema"),
        (b"ARROW1\x00\x00", 400, "no Arrow IPC stream"),
        (b'{"rows": []}', 400, "no Arrow IPC stream"),
        (_stream_of(pa.table({"distance": [1.0]}))[:-20], 400, "cut"),
        (_stream_of(pa.table({"distance": pa.array([], pa.float64())})), 422, "no row"),
        (_stream_of(pa.Table.from_arrays([pa.array([1.0])] * 2, names=["distance"] * 2)), 422, "there twice"),
    ],
)
def test_a_body_that_is_no_stream_of_rows_is_refused(
    client: TestClient, content: bytes, status: int, told: str
) -> None:
    answer = client.post(PREDICT, content=content, headers=SENT)

    assert answer.status_code == status, answer.text
    assert told in answer.json()["detail"]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_stream_is_refused_before_it_is_unpacked(client: TestClient, codec: str) -> None:
    table = pa.table({"distance": np.zeros(100_000)})
    content = write_arrow(table, n_batch=100_000, options=pa.ipc.IpcWriteOptions(compression=codec))

    answer = client.post(PREDICT, content=content, headers=SENT)

    assert answer.status_code == 415
    assert "compressed" in answer.json()["detail"]


def test_a_dictionary_that_unpacks_to_too_much_is_refused(settings: Settings, registry: Registry) -> None:
    promote(registry, register_model(registry))
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int8()), pa.array(["x" * 500]))
    content = write_arrow(pa.table({"distance": np.zeros(5000), "company": words}), n_batch=5000)

    with open_client(settings.model_copy(update={"max_body_bytes": 200_000}), registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        answer = client.post(PREDICT, content=content, headers=SENT)

    assert answer.status_code == 413
    assert "unpack" in answer.json()["detail"]


def test_the_limits_of_a_stream_are_its_own(settings: Settings, registry: Registry) -> None:
    promote(registry, register_model(registry))
    limits = {"max_rows": 10, "max_stream_rows": 50, "max_stream_bytes": 4000}
    rows = [{"distance": 1.0}]

    with open_client(settings.model_copy(update=limits), registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        answers = {
            (count, accept): client.post(
                PREDICT, content=as_arrow(rows * count), headers=SENT | {"accept": accept}
            ).status_code
            for count, accept in ((50, ARROW), (51, ARROW), (600, ARROW), (10, "application/json"))
        }
        too_many_for_json = client.post(
            PREDICT, content=as_arrow(rows * 11), headers=SENT | {"accept": "application/json"}
        )

    assert answers == {(50, ARROW): 200, (51, ARROW): 413, (600, ARROW): 413, (10, "application/json"): 200}
    assert too_many_for_json.status_code == 413


@pytest.mark.slow
def test_a_stream_with_a_fault_in_a_later_batch_is_cut_and_says_why(
    settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(registry, register_model(registry))
    rows = [{"distance": 1.0}] * 24 + [{"distance": -1.0}] + [{"distance": 1.0}] * 5
    monkeypatch.setenv("EVERFIT_MAX_ROWS", "10")
    parts: list[bytes] = []

    with start_service(settings.home) as service:
        asked = httpx.stream("POST", f"{service.address}{PREDICT}", content=as_arrow(rows), headers=SENT)
        with pytest.raises(httpx.RemoteProtocolError), asked as answer:
            parts.extend(answer.iter_raw())
        service.stop()
    content = b"".join(parts)
    reader = pa.ipc.open_stream(io.BytesIO(content))
    batches = [reader.read_next_batch_with_custom_metadata() for _ in range(3)]
    problem = json.loads(batches[2].custom_metadata[b"everfit.problem"])

    assert [one.batch.num_rows for one in batches] == [10, 10, 0]
    assert problem["status"] == 422
    assert problem["errors"] == [{"row": 24, "column": "distance", "found": "-1.0", "expected": "at least 0"}]
    (accounts,) = read_accounts(settings.home)["trips"]
    assert (accounts.totals.accepted, accounts.totals.rejected) == (30, {"invalid": 10})


@pytest.mark.slow
def test_a_large_stream_is_answered_in_bounded_memory(settings: Settings, registry: Registry) -> None:
    promote(registry, register_model(registry))
    n_rows = 300_000
    # One batch of 60 MB: what is unpacked is a part of it.
    table = pa.table({"distance": np.linspace(0, 20, n_rows), "company": ["a company with a long name" * 7] * n_rows})
    content = write_arrow(table, n_batch=n_rows)

    with start_service(settings.home) as service:
        process = psutil.Process(service.process.pid)
        httpx.post(f"{service.address}{PREDICT}", content=as_arrow([{"distance": 1.0}] * 9000), headers=SENT)
        before = process.memory_info()
        # In chunks, as bodies come whose size nobody knows: what declares its size is under another limit.
        parts = (content[at : at + (1 << 20)] for at in range(0, len(content), 1 << 20))
        answer = httpx.post(f"{service.address}{PREDICT}", content=parts, headers=SENT, timeout=120)
        after = process.memory_info()
    found = pa.ipc.open_stream(answer.content).read_all()

    assert found.num_rows == n_rows
    # The file's own pages are the system's, which takes them back when it wants to.
    grown = (after.rss - after.shared) - (before.rss - before.shared)
    assert grown < len(content) / 2


@pytest.mark.slow
@cases(max_examples=200)
@given(data=st.data())
def test_a_stream_with_flipped_bytes_is_never_the_services_fault(client: TestClient, data: st.DataObject) -> None:
    rows = [{**row, "company": row.get("company")} for row in make_rows(20)]
    table = pa.Table.from_pylist(rows)
    table = table.set_column(table.column_names.index("company"), "company", table["company"].dictionary_encode())
    content = bytearray(write_arrow(table, n_batch=7))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))

    answer = client.post(PREDICT, content=bytes(content), headers=SENT)

    assert answer.status_code in (200, 400, 413, 415, 422), answer.text


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/x-www-form-urlencoded", None])
def test_json_may_be_called_by_other_names(client: TestClient, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}

    answer = client.post(PREDICT, content=b'{"rows": [{"distance": 1}]}', headers=headers)

    assert answer.status_code == 200
    assert client.post(PREDICT, content=b"{}", headers={"content-type": "text/csv"}).status_code == 415


def test_explanations_beside_arrow_are_refused_and_not_forgotten(client: TestClient) -> None:
    content = as_arrow([{"distance": 1.0}])

    assert client.post(f"{PREDICT}?explain=true", content=content, headers=SENT).status_code == 422
