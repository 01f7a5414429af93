"""Claims about what has come into a source since it was read: counted right, whatever the source is."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from pydantic import SecretStr

from base.extract_spec import SourceSpec
from base.settings import Settings
from base.sources.arrivals import Arrivals, Known, count_arrivals
from base.sources.cuts import Cut
from base.sources.files import FileStates, describe_files, find_files
from base.sources.reading import Site
from base.user_code import UserCode
from tests.pipelines import make_trips

_START = datetime(2024, 5, 1, tzinfo=UTC)


def _site(folder: Path, code: str = "", **settings: object) -> Site:
    return Site(folder, Settings(home=folder / "home", **settings), UserCode({"rows.py": code.encode()}))  # type: ignore[arg-type]


def _states(folder: Path, source: str) -> FileStates:
    return describe_files(find_files(source, folder, Settings(home=folder / "home")))


def _count(folder: Path, source: str, files: FileStates, n_rows: int) -> Arrivals:
    return count_arrivals(SourceSpec(source=source), _site(folder), Known(files, None, n_rows))


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_new_file_counts_with_its_rows_and_bytes(tmp_path: Path, suffix: str) -> None:
    def write(name: str, n_rows: int) -> Path:
        path = tmp_path / "rows" / f"{name}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        frame = make_trips(n_rows, seed=n_rows)
        if suffix == "parquet":
            frame.to_parquet(path)
        elif suffix == "csv":
            frame.assign(company="a\nb, c").to_csv(path, index=False)  # a row over two lines is one row
        else:
            frame.to_json(path, orient="records", lines=True, date_format="iso")
        return path

    write("a", 30)
    before = _states(tmp_path, "rows")
    nothing = _count(tmp_path, "rows", before, 30)
    size = write("b", 12).stat().st_size

    found = _count(tmp_path, "rows", before, 30)

    assert (nothing.n_rows, nothing.n_bytes) == (0, 0)
    assert (found.n_rows, found.n_bytes) == (12, size)
    assert found.newest is not None
    assert abs(found.newest - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(("n_now", "n_new"), [(50, 20), (30, 0), (10, 0)])
def test_a_file_that_was_written_anew_counts_with_what_it_has_more(tmp_path: Path, n_now: int, n_new: int) -> None:
    make_trips(30).to_parquet(tmp_path / "rows.parquet")
    before = _states(tmp_path, "rows.parquet")
    make_trips(n_now, seed=1).to_parquet(tmp_path / "rows.parquet")

    assert _count(tmp_path, "rows.parquet", before, 30).n_rows == n_new


def test_a_file_that_was_only_touched_is_not_new(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    make_trips(30).to_parquet(path)
    before = _states(tmp_path, "rows.parquet")
    path.touch()

    assert _count(tmp_path, "rows.parquet", before, 30).n_rows == 0


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (None, 10),
        (Cut("at", _START + timedelta(hours=15)), 4),
        (Cut("number", 17), 2),
        (Cut("number", 99), 0),
    ],
)
def test_a_database_counts_what_is_above_the_watermark_or_more_than_before(
    tmp_path: Path, cut: Cut | None, expected: int
) -> None:
    with sqlite3.connect(tmp_path / "rows.db") as database:
        database.execute("CREATE TABLE ride (number INTEGER, at TEXT)")
        rows = [(i, (_START + timedelta(hours=i)).isoformat()) for i in range(20)]
        database.executemany("INSERT INTO ride VALUES (?, ?)", rows)
    site = _site(tmp_path, connections={"warehouse": SecretStr(f"sqlite:///{tmp_path / 'rows.db'}")})

    found = count_arrivals(SourceSpec(connection="warehouse", table="ride"), site, Known(None, cut, 10))

    assert found.n_rows == expected
    if cut is not None and cut.column == "at":
        assert found.newest == _START + timedelta(hours=19)


def test_a_function_is_asked_for_what_is_new_and_never_for_everything(tmp_path: Path) -> None:
    code = """
import pandas as pd
def load(since=None):
    assert since is not None, "asked for everything"
    rows = pd.DataFrame({"at": pd.date_range("2024-05-01", periods=20, freq="h", tz="UTC")})
    return rows[rows["at"] > since]
def load_all():
    raise AssertionError("asked for everything")
"""
    cut = Cut("at", _START + timedelta(hours=15))

    found = count_arrivals(SourceSpec(source="rows:load"), _site(tmp_path, code), Known(None, cut, 16))
    whole = count_arrivals(SourceSpec(source="rows:load_all"), _site(tmp_path, code), Known(None, cut, 16))

    assert (found.n_rows, found.newest) == (4, _START + timedelta(hours=19))
    assert whole.n_rows is None
    assert "give it a parameter `since`" in whole.why_not


def test_the_same_content_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import base.sources.arrivals as module

    make_trips(31).to_parquet(tmp_path / "rows.parquet")
    opened: list[Path] = []

    def count(file: Path) -> int:
        opened.append(file)
        return len(pd.read_parquet(file))

    monkeypatch.setattr(module, "count_rows_of", count)
    found = [_count(tmp_path, "rows.parquet", {}, 0).n_rows for _ in range(3)]

    assert (found, len(opened)) == ([31, 31, 31], 1)
