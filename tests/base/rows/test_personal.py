"""Personal values: hashed under the installation's key the same way everywhere, or gone."""

from __future__ import annotations

import multiprocessing
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from base.contract import DataContract
from base.errors import ArgumentError
from base.rows.personal import (
    hash_value,
    name_key,
    personal_key,
    protect_columns,
    protect_rows,
    protected_contract,
)
from base.settings import Settings

_KEY = b"k" * 32
_CONTRACT = DataContract.model_validate(
    {
        "columns": {
            "guest": {"type": "text", "personal": "hash", "categories": ["Ann", "Bob"]},
            "born": {"type": "time", "personal": "hash"},
            "account": {"type": "integer", "personal": "hash", "minimum": 0},
            "phone": {"type": "text", "personal": "drop"},
            "nights": {"type": "integer"},
        },
        "unique": ["account", "phone"],
        "rules": [
            {"name": "known", "expression": "account > 10"},
            {"name": "stay", "expression": "nights > 0"},
        ],
    }
)
_TABLE = pa.table(
    {
        "guest": ["Ann", None, "Bob", "Ann"],
        "born": pa.array([datetime(1990, 1, 1, tzinfo=UTC), None, None, None], pa.timestamp("us", "UTC")),
        "account": pa.array([7, 8, None, 7], pa.int64()),
        "phone": ["1", "2", "3", "4"],
        "nights": [1, 2, 3, 4],
    }
)


def test_hashed_columns_are_text_dropped_ones_are_gone_and_others_stay() -> None:
    safe = protect_columns(_TABLE, _CONTRACT, _KEY)

    assert safe.column_names == ["guest", "born", "account", "nights"]
    assert safe["guest"].to_pylist() == [
        hash_value("Ann", _KEY),
        None,
        hash_value("Bob", _KEY),
        hash_value("Ann", _KEY),
    ]
    assert len(safe["guest"][0].as_py()) == 32
    assert safe["nights"] == _TABLE["nights"]
    assert protect_columns(_TABLE, None, _KEY) == _TABLE


@pytest.mark.parametrize(
    "column",
    [
        pa.chunked_array([["a", "b"], [None, "a"]]),
        pa.chunked_array([pa.array(["a", "b", None, "a"]).dictionary_encode()]),
        pa.chunked_array([], pa.string()),
        pa.chunked_array([[["a"], ["b"], None, ["a"]]]),
        pa.chunked_array([[1.0, 2.5, float("nan"), 1.0]]),
    ],
    ids=["chunks", "dictionary", "empty", "lists", "numbers"],
)
def test_any_column_can_be_hashed(column: pa.ChunkedArray) -> None:
    contract = DataContract.model_validate({"columns": {"x": {"type": "text", "personal": "hash"}}})

    safe = protect_columns(pa.table({"x": column}), contract, _KEY)["x"]
    assert safe.type == pa.string()
    assert len(safe) == len(column)
    if len(column):
        first, second, third, fourth = safe.to_pylist()
        assert (first, third) == (fourth, None)
        assert first != second


_VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "guest": (pa.string(), st.text(st.characters(exclude_categories=["Cs"]))),
    "account": (pa.int64(), st.integers(-(2**53), 2**53)),
    "born": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(UTC))),
}


@given(
    row=st.fixed_dictionaries({name: st.none() | values for name, (_, values) in _VALUES.items()}),
    hours=st.integers(-12, 12),
)
def test_a_row_in_a_request_is_hashed_as_the_stored_row_was(row: dict[str, Any], hours: int) -> None:
    stored = protect_columns(pa.table({name: pa.array([row[name]], kind) for name, (kind, _) in _VALUES.items()}),
                             _CONTRACT, _KEY)  # fmt: skip
    sent = dict(row)
    if sent["born"] is not None and 2 < sent["born"].year < 9998:
        sent["born"] = sent["born"].astimezone(timezone(timedelta(hours=hours))).isoformat()
    sent["account"] = None if sent["account"] is None else float(sent["account"])

    assert protect_rows([sent | {"phone": "12345"}], _CONTRACT, _KEY) == stored.to_pylist()


@given(one=st.text(), other=st.text())
def test_hashes_are_equal_where_the_values_are_and_only_under_one_key(one: str, other: str) -> None:
    assert (hash_value(one, _KEY) == hash_value(other, _KEY)) == (one == other)
    assert hash_value(one, _KEY) != hash_value(one, b"another key")
    assert name_key(_KEY) != name_key(b"another key")


def test_the_contract_after_protection_takes_what_protection_gives() -> None:
    after = protected_contract(_CONTRACT)

    assert after is not None
    assert list(after.columns) == ["guest", "born", "account", "nights"]
    assert [rule.name for rule in after.rules] == ["stay"]
    rows = [{name: value for name, value in row.items() if value is not None}
            for row in protect_columns(_TABLE, _CONTRACT, _KEY).to_pylist()]  # fmt: skip
    assert after.find_faults(rows) == []
    assert protected_contract(_CONTRACT.restricted_to(["phone"])) is None


def _read_key(home: Path) -> bytes:
    return personal_key(Settings(home=home))


def test_processes_that_draw_the_key_at_once_agree_on_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with multiprocessing.get_context("fork").Pool(8) as pool:
        keys = set(pool.map(_read_key, [home] * 8, chunksize=1))

    assert keys == {_read_key(home)}
    assert stat.S_IMODE((home / "personal.key").stat().st_mode) == 0o600
    assert [file.name for file in home.iterdir()] == ["personal.key"]


def test_a_declared_key_goes_before_the_drawn_one(tmp_path: Path) -> None:
    declared = Settings(home=tmp_path, personal_key=SecretStr("a long enough secret"))

    assert personal_key(declared) == personal_key(declared) != personal_key(Settings(home=tmp_path))
    with pytest.raises(ArgumentError, match="has 5 characters, expected at least 16"):
        personal_key(Settings(home=tmp_path, personal_key=SecretStr("short")))


def test_a_damaged_key_is_refused_and_not_drawn_anew(tmp_path: Path) -> None:
    (tmp_path / "personal.key").write_text("half a k")

    with pytest.raises(ArgumentError, match="holds no key, expected 64 hexadecimal digits; restore it"):
        personal_key(Settings(home=tmp_path))
