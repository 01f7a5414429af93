"""Claims about rows that are kept in memory: what would be read, without a file being opened."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from base.artifacts import ArtifactMissing, ArtifactStore
from base.references import Rows
from base.rows.kept import KeptRows, find_kept_rows, keeping_rows
from base.rows.reading import load_rows, read_schema
from tasks.frames import store_rows

TABLE = pa.table({"a": [1, 2], "b": ["x", None], "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 2)})


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


@pytest.fixture
def rows(artifacts: ArtifactStore) -> Rows:
    return store_rows(artifacts, TABLE, time="at")


def test_kept_rows_are_read_from_memory(rows: Rows, artifacts: ArtifactStore) -> None:
    schema, read = read_schema(artifacts, rows), load_rows(artifacts, rows, columns=["b", "a"])
    artifacts.delete(rows.segments[0].artifact, unless_since=datetime(2999, 1, 1, tzinfo=UTC))

    with keeping_rows(KeptRows()) as kept:
        kept.keep(rows, TABLE)

        assert read_schema(artifacts, rows) == schema
        assert load_rows(artifacts, rows, columns=["b", "a"]) == read
    assert find_kept_rows() is None
    with pytest.raises(ArtifactMissing):
        load_rows(artifacts, rows)


def test_a_frame_is_loaded_once_and_nobody_adds_columns_to_it() -> None:
    loaded: list[int] = []

    def load() -> pd.DataFrame:
        loaded.append(1)
        return pd.DataFrame({"a": [1.0]})

    kept = KeptRows()
    frame = kept.take_frame("one", load)
    frame["b"] = 2.0

    assert list(kept.take_frame("one", load).columns) == ["a"]
    assert len(loaded) == 1
