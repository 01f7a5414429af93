"""Sources too large for memory: read in batches, they are the same rows; joined, they keep their order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest

from base.errors import DataRefused
from base.extract_spec import SourceSpec
from base.rows.files import ROW_GROUP, find_nan, read_order, sort_file, write_file
from base.rows.tables import MOMENT
from base.settings import Settings
from base.sources import normalise, read_source
from base.sources.cuts import Cut
from base.sources.joining import Side, join_sides
from base.sources.reading import Content, Site, read_rows
from base.user_code import UserCode

ROWS = pa.table(
    {
        "id": list(range(40)),
        "late": [None] * 39 + [2.5],
        "name": ["Ann", None, "Zoë", "7"] * 10,
        "at": pa.array(np.arange(40) * 3_600_000_000, pa.timestamp("us")),
    }
)


@pytest.fixture
def nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every source is too large for memory, and a file has many batches."""
    monkeypatch.setattr("base.sources.reading.MOST_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr("base.sources.reading.MOST_ROWS_IN_MEMORY", 0)
    monkeypatch.setattr("base.rows.csv_files._BLOCK_BYTES", 200)
    monkeypatch.setattr("base.sources.formats._BATCH_ROWS", 7)
    monkeypatch.setattr("base.sources.reading.FEWEST_ROWS_AS_IS", 0)


def _read(folder: Path, source: str, cut: Cut | None = None) -> Content:
    into = folder / "into"
    into.mkdir(exist_ok=True)
    return read_rows(SourceSpec(source=source), Site(folder, Settings(), UserCode({})), into, cut=cut)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "rows.jsonl"])
def test_a_file_in_batches_is_the_file_as_a_whole(nothing_fits: None, tmp_path: Path, name: str) -> None:
    if name.endswith(".csv"):
        arrow_csv.write_csv(ROWS, tmp_path / name)
    elif name.endswith(".parquet"):
        pq.write_table(ROWS, tmp_path / name, row_group_size=10)
    else:
        lines = (json.dumps({**row, "at": row["at"].isoformat()}) for row in ROWS.to_pylist())
        (tmp_path / name).write_text("\n".join(lines))

    content = _read(tmp_path, name)

    assert isinstance(content, Path)
    assert pq.read_table(content).equals(normalise(read_source(name, tmp_path)))


def test_files_with_partitions_become_one(nothing_fits: None, tmp_path: Path) -> None:
    for year, part in (
        (2023, ROWS.slice(0, 20)),
        (2024, ROWS.slice(20).set_column(0, "id", ROWS["id"][20:].cast("double"))),
    ):
        (tmp_path / f"rows/year={year}/kind=a%20b").mkdir(parents=True)
        pq.write_table(part, tmp_path / f"rows/year={year}/kind=a%20b/part.parquet")

    content = _read(tmp_path, "rows")

    assert isinstance(content, Path)
    table = pq.read_table(content)
    assert table["year"].to_pylist() == [2023] * 20 + [2024] * 20
    assert set(table["kind"].to_pylist()) == {"a b"}
    assert table["id"].to_pylist() == [float(number) for number in range(40)]


def test_a_file_of_the_loop_s_own_types_is_taken_as_it_is(nothing_fits: None, tmp_path: Path) -> None:
    pq.write_table(normalise(ROWS), tmp_path / "rows.parquet")

    assert _read(tmp_path, "rows.parquet") == tmp_path / "rows.parquet"


def test_a_file_with_nan_is_not(nothing_fits: None, tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1.0, float("nan")]}), tmp_path / "rows.parquet")

    content = _read(tmp_path, "rows.parquet")

    assert isinstance(content, Path)
    assert pq.read_table(content)["n"].to_pylist() == [1.0, None]


def test_of_several_files_those_with_nan_are_found(tmp_path: Path) -> None:
    values = {"whole": [1.0, 2.0], "nan": [1.0, float("nan")], "null": [None, 1.0], "endless": [float("inf"), 1.0]}
    files = [tmp_path / f"{name}.parquet" for name in values]
    for file, numbers in zip(files, values.values(), strict=True):
        pq.write_table(pa.table({"n": pa.array(numbers, pa.float64()), "m": [0.0, 0.0], "id": [1, 2]}), file)
    schema = pq.read_schema(files[0])

    assert find_nan(files, schema) == {tmp_path / "nan.parquet"}
    assert find_nan([files[0], files[3]], schema) == set()
    assert find_nan(files, pa.schema([schema.field("id")])) == set()


@pytest.mark.parametrize("cut", [Cut("id", 30), Cut("at", ROWS["at"][30].as_py().replace(tzinfo=None).astimezone())])
def test_row_groups_below_the_watermark_are_left_alone(
    nothing_fits: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cut: Cut
) -> None:
    pq.write_table(ROWS, tmp_path / "rows.parquet", row_group_size=10)

    content = _read(tmp_path, "rows.parquet", cut)

    assert isinstance(content, Path)
    assert pq.read_table(content)["id"].to_pylist() == list(range(31, 40))


def test_sorting_a_file_keeps_equal_moments_in_their_order_and_nulls_last(tmp_path: Path) -> None:
    hours = pa.array([3, 1, None, 1, 2, 3], MOMENT)
    table = pa.table({"at": hours, "number": list(range(6))})
    pq.write_table(table, tmp_path / "rows.parquet")

    sort_file(tmp_path / "rows.parquet", "at", tmp_path / "sorted.parquet")

    assert pq.read_table(tmp_path / "sorted.parquet")["number"].to_pylist() == [1, 3, 4, 0, 5, 2]
    assert pq.read_schema(tmp_path / "sorted.parquet") == table.schema


@pytest.mark.parametrize(
    ("hours", "in_order"), [([1, 1, 2], True), ([2, 1], False), ([1, None], False), ([], True), ([None], False)]
)
def test_time_order_is_seen(tmp_path: Path, hours: list[int | None], in_order: bool) -> None:
    pq.write_table(pa.table({"at": pa.array(hours, MOMENT)}), tmp_path / "rows.parquet")

    assert read_order(tmp_path / "rows.parquet", "at")[0] is in_order


def test_equal_rows_give_an_equal_file_however_they_come(tmp_path: Path) -> None:
    table = pa.table({"n": np.arange(2 * ROW_GROUP + 17)})
    pieces = [table.slice(start, 33_333) for start in range(0, table.num_rows, 33_333)]

    write_file([table], table.schema, tmp_path / "one.parquet")
    write_file(pieces, table.schema, tmp_path / "other.parquet")

    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()
    assert pq.ParquetFile(tmp_path / "one.parquet").metadata.num_row_groups == 3


STATIONS = pa.table({"station": ["a", "b"], "height": [1.5, 2.5]})


@pytest.mark.parametrize("as_file", [False, True])
def test_each_row_of_the_main_source_stays_once_and_in_its_place(tmp_path: Path, as_file: bool) -> None:
    main: Content = pa.table({"station": ["b", None, "a", "x", "b"], "n": [1, 2, 3, 4, 5]})
    if as_file:
        pq.write_table(main, tmp_path / "main.parquet")
        main = tmp_path / "main.parquet"

    joined, unmatched = join_sides(main, [Side("stations", STATIONS, ("station",))], tmp_path)

    table = pq.read_table(joined) if isinstance(joined, Path) else joined
    assert table["n"].to_pylist() == [1, 2, 3, 4, 5]
    assert table["height"].to_pylist() == [2.5, None, 1.5, None, 2.5]
    assert unmatched == {"stations": 2}


@pytest.mark.parametrize(
    ("side", "words"),
    [
        (pa.concat_tables([STATIONS, STATIONS.slice(1)]), "key b in 2 rows"),
        (pa.table({"station": [1], "height": [1.0]}), "string in the main source and int64 in 'stations'"),
        (STATIONS.rename_columns(["stop", "height"]), "no such column in source 'stations'"),
        (STATIONS.rename_columns(["station", "n"]), "column 'n': found it in 'stations' and in a source before it"),
    ],
)
def test_a_side_that_cannot_be_joined_is_refused(side: pa.Table, words: str, tmp_path: Path) -> None:
    main = pa.table({"station": ["b"], "n": [1]})

    with pytest.raises(DataRefused, match=words):
        join_sides(main, [Side("stations", side, ("station",))], tmp_path)
