"""Sources: every format in one shape, and errors that say where a file is broken."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import DataRefused, DefinitionError
from base.rows.tables import MOMENT
from base.sources import (
    all_null_columns,
    frame_to_table,
    normalise,
    parse_time,
    read_source,
    source_digest,
    table_types,
)

ROWS = pa.table({"id": [1, 2, 3], "name": ["Ann", None, "Zoë"]})


def _write_csv(table: pa.Table, file: Path) -> None:
    arrow_csv.write_csv(table, file)


def _write_gzip(table: pa.Table, file: Path) -> None:
    plain = file.with_suffix("")
    arrow_csv.write_csv(table, plain)
    file.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()


def _write_zip(table: pa.Table, file: Path) -> None:
    plain = file.with_suffix("")
    arrow_csv.write_csv(table, plain)
    with zipfile.ZipFile(file, "w") as archive:
        archive.write(plain, plain.name)
    plain.unlink()


def _write_json_lines(table: pa.Table, file: Path) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.csv", _write_csv),
        ("rows.csv.gz", _write_gzip),
        ("rows.csv.zip", _write_zip),
        ("rows.parquet", pq.write_table),
        ("rows.jsonl", _write_json_lines),
        ("rows.NDJSON", _write_json_lines),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, write: Callable[[pa.Table, Path], None]) -> None:
    write(ROWS, tmp_path / name)

    assert normalise(read_source(name, tmp_path)).to_pylist() == ROWS.to_pylist()


@pytest.mark.parametrize("source", ["rows", "rows/*.csv", "rows/**/*.csv", "r*/[ab].csv"])
def test_a_folder_or_glob_is_read_in_the_order_of_its_names(tmp_path: Path, source: str) -> None:
    (tmp_path / "rows").mkdir()
    _write_csv(ROWS.slice(2), tmp_path / "rows/b.csv")
    _write_csv(ROWS.slice(0, 2), tmp_path / "rows/a.csv")
    (tmp_path / "rows/_SUCCESS").touch()
    (tmp_path / "rows/.a.csv").write_text("half")

    assert read_source(source, tmp_path)["id"].to_pylist() == [1, 2, 3]


def test_an_absolute_path_needs_no_folder(tmp_path: Path) -> None:
    _write_csv(ROWS, tmp_path / "rows.csv")

    assert read_source(str(tmp_path / "rows.csv"), Path("/nowhere")).num_rows == 3


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_the_header_s(tmp_path: Path, separator: str) -> None:
    (tmp_path / "rows.csv").write_text(f"id{separator}name\n1{separator}Ann\n")

    assert read_source("rows.csv", tmp_path).to_pylist() == [{"id": 1, "name": "Ann"}]


def test_a_type_that_only_later_rows_show_is_found(tmp_path: Path) -> None:
    first = "1,,x\n" * 4_000_000
    (tmp_path / "rows.csv").write_text(f"count,gone,name\n{first}2.5,7,y\n")

    assert read_source("rows.csv", tmp_path).schema.types == [pa.float64(), pa.int64(), pa.string()]


def test_empty_fields_and_na_are_missing_unless_quoted(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('country,n\nNA,1\n"NA",2\n,3\n"a\nb",4\n')

    assert read_source("rows.csv", tmp_path)["country"].to_pylist() == [None, "NA", None, "a\nb"]


def test_a_time_of_day_stays_the_text_that_it_is(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("opens\n09:30\n")

    assert read_source("rows.csv", tmp_path)["opens"].to_pylist() == ["09:30"]


def test_numbers_of_several_files_become_the_wider_type(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": pa.array([1], pa.int32())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"n": [2.5]}), tmp_path / "b.parquet")

    assert read_source("*.parquet", tmp_path)["n"].to_pylist() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("Zürich,1\n".encode("latin-1"), r"byte 0xfc at offset 12 \(line 2\).*Latin-1"),
        (b"x" * (1 << 20) + b",1\n\xff,2\n", r"byte 0xff at offset 1,048,590 \(line 3\)"),
        ("Zürich,1\n".encode()[:2], r"byte 0xc3 at offset 12 \(line 2\)"),
    ],
)
def test_a_byte_that_is_not_utf_8_is_named(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "rows.csv").write_bytes(b"city,rooms\n" + content)

    with pytest.raises(DataRefused, match=rf"rows\.csv is refused:\n.*{found}"):
        read_source("rows.csv", tmp_path)


def test_a_header_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("größe\n1\n".encode("latin-1"))

    with pytest.raises(DataRefused, match=r"offset 2 \(line 1\)"):
        normalise(read_source("rows.csv", tmp_path))


def test_broken_lines_are_named_with_their_columns(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('a,b\n1,"two\nlines"\n1\n\n1,2,3\n')

    with pytest.raises(DataRefused) as caught:
        read_source("rows.csv", tmp_path)

    assert [(fault.found, fault.expected) for fault in caught.value.faults] == [
        ("1 columns in line 4", "2, as in the header"),
        ("3 columns in line 6", "2, as in the header"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("rows.csv", b"", "an empty file"),
        ("rows.csv.gz", gzip.compress(b"a\n1\n", mtime=0)[:-9], "a broken archive"),
        ("rows.csv.gz", b"a\n1\n", "a broken archive"),
        ("rows.csv.zip", b"PK", "a broken archive"),
        ("rows.parquet", b"PAR1", "no whole Parquet file"),
        ("rows.parquet", b"", "no whole Parquet file"),
        ("rows.jsonl", b'{"a": 1}\n{"a": \n', "line 2: Expecting value"),
        ("rows.jsonl", b'{"a": 1}\n[1]\n', "line 2: list"),
        ("rows.csv", b"a,a\n1,2\n", "2 columns of this name"),
        ("rows.csv", b"a,,\n1,2,3\n", "no name for column 2"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataRefused, match=f"{name} is refused:\n.*{found}") as caught:
        read_source(name, tmp_path)
    assert caught.value.exit_code == 3


@given(cut=st.floats(0, 0.999))
def test_a_truncated_parquet_is_refused_wherever_it_ends(tmp_path_factory: pytest.TempPathFactory, cut: float) -> None:
    file = tmp_path_factory.mktemp("cut") / "rows.parquet"
    pq.write_table(ROWS, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * cut)])

    with pytest.raises(DataRefused, match="no whole Parquet file"):
        read_source(file.name, file.parent)


def test_files_with_other_columns_are_named(tmp_path: Path) -> None:
    _write_csv(ROWS, tmp_path / "a.csv")
    _write_csv(ROWS.rename_columns(["id", "nmae"]), tmp_path / "b.csv")

    with pytest.raises(DataRefused) as caught:
        read_source("*.csv", tmp_path)

    assert [str(fault) for fault in caught.value.faults] == [
        "column 'name': found no such column in b.csv, expected it, as in a.csv",
        "column 'nmae': found it in b.csv, expected only the columns of a.csv",
    ]


def test_files_with_other_types_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"n": ["one"]}), tmp_path / "b.parquet")

    with pytest.raises(DataRefused, match=r"column 'n': found string in b\.parquet, expected int64, as in a\.parquet"):
        read_source("*.parquet", tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("rows.cvs", r"'rows.cvs': there is no such file; did you mean 'rows.csv'"),
        ("data/rows.csv", r"there is no such file; there is no folder '.*data' either"),
        ("*.parquet", r"'\*\.parquet' holds no file of a known format"),
        ("rows.xlsx", r"unknown format '.xlsx', expected CSV"),
        ("gopher://host/rows.csv", "nothing installed here reads 'gopher' addresses"),
        ("https://host/rows.xlsx", "unknown format '.xlsx', expected CSV"),
    ],
)
def test_a_source_that_is_not_there_is_a_fault_of_the_definition(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "rows.csv").touch()
    (tmp_path / "rows.xlsx").touch()

    with pytest.raises(DefinitionError, match=message) as caught:
        read_source(source, tmp_path)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        (lambda folder: folder.rename(folder.with_name("moved")), True),
        (lambda folder: (folder / "a.csv").write_text("n\n2\n"), False),
        (lambda folder: (folder / "a.csv").rename(folder / "b.csv"), False),
        (lambda folder: (folder / "b.csv").write_text("n\n1\n"), False),
        (lambda folder: (folder / "notes.txt").write_text("of no interest"), True),
    ],
    ids=["moved", "changed", "renamed", "added", "foreign"],
)
def test_the_digest_is_that_of_names_and_content(tmp_path: Path, change: Callable[[Path], Any], is_same: bool) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "a.csv").write_text("n\n1\n")
    before = source_digest("rows", tmp_path)

    change(folder)

    source = next(path.name for path in tmp_path.iterdir())
    assert (source_digest(source, tmp_path) == before) is is_same


@pytest.mark.parametrize(
    ("column", "kind", "values"),
    [
        (pa.array([3, None], pa.uint8()), "integer", [3, None]),
        (pa.array([1.5, float("nan")], pa.float32()), "number", [1.5, None]),
        (pa.array([float("inf"), None]), "number", [float("inf"), None]),
        (pa.array([Decimal("1.10"), None]), "number", [1.1, None]),
        (pa.array([None, None]), "number", [None, None]),
        (pa.array([timedelta(seconds=90), None]), "number", [90.0, None]),
        (pa.array([True, None]), "boolean", [True, None]),
        (pa.array(["a", None]).dictionary_encode(), "text", ["a", None]),
        (pa.array([7, None]).dictionary_encode(), "integer", [7, None]),
        (pa.array(["a", None], pa.large_string()), "text", ["a", None]),
        (pa.array([time(9, 30), None]), "text", ["09:30:00", None]),
        (pa.array([date(2013, 4, 1), None]), "time", [datetime(2013, 4, 1, tzinfo=UTC), None]),
        (pa.array([datetime(2013, 4, 1), None], pa.timestamp("ns")), "time", [datetime(2013, 4, 1, tzinfo=UTC), None]),  # noqa: DTZ001
        (
            pa.array([datetime(2013, 4, 1, 6, tzinfo=UTC), None], pa.timestamp("s", "Europe/Berlin")),
            "time",
            [datetime(2013, 4, 1, 6, tzinfo=UTC), None],
        ),
    ],
)
def test_every_type_becomes_one_of_five(column: pa.Array, kind: str, values: list[object]) -> None:
    table = normalise(pa.table({"column": column}))

    assert (table_types(table), table["column"].to_pylist()) == ({"column": kind}, values)
    assert normalise(table).equals(table)


@pytest.mark.parametrize(
    "column", [pa.array([[1]]), pa.array([{"a": 1}]), pa.array([b"x"]), pa.array([2**64 - 1], pa.uint64())]
)
def test_a_column_that_cannot_be_told_is_named(column: pa.Array) -> None:
    with pytest.raises(DataRefused, match="column 'odd': found"):
        normalise(pa.table({"odd": column}))


def test_columns_without_values_are_told_apart() -> None:
    table = normalise(pa.table({"gone": [None, float("nan")], "here": [None, 1.0]}))

    assert all_null_columns(table) == ("gone",)
    assert all_null_columns(table.slice(0, 0)) == ()


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (["2013-04-01", "2013-04-02T06:00:00"], "2013-04-01T00:00:00"),
        (["2013-04-01T06:00+02:00", None], "2013-04-01T04:00:00"),
        (["13/04/2013", "01/04/2013"], "2013-04-13T00:00:00"),
        (["04/13/2013", "04/01/2013"], "2013-04-13T00:00:00"),
        (["April 1, 2013", "May 2, 2013"], "2013-04-01T00:00:00"),
        ([1357000200, None], "2013-01-01T00:30:00"),
        ([1357000200.0, None], "2013-01-01T00:30:00"),
        ([1357000200000], "2013-01-01T00:30:00"),
        ([1357000200000000], "2013-01-01T00:30:00"),
        ([20130401, 20130402], "2013-04-01T00:00:00"),
        ([2013, 2014], "2013-01-01T00:00:00"),
    ],
)
def test_moments_are_read_however_they_are_written(values: list[object], first: str) -> None:
    table = parse_time(normalise(pa.table({"start": values, "n": [1] * len(values)})), "start")

    assert (table.schema.field("start").type, table["start"].null_count) == (MOMENT, values.count(None))
    assert table["start"][0].as_py().isoformat() == f"{first}+00:00"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["2013-04-01", "soon", "later"], r"row 1, column 'start': found 'soon' \(2 rows\)"),
        (["03/04/2013", "05/06/2013"], "may be 04 March 2013 or 03 April 2013"),
        ([1, 2, 3], r"found 1 \(3 rows\)"),
        ([1357000200, 5], r"row 1, column 'start': found 5 \(1 rows\)"),
        ([20130401, 20130231], r"row 1, column 'start': found 20130231 \(1 rows\)"),
        ([True], "found bool"),
    ],
)
def test_a_value_that_is_no_moment_is_named(values: list[object], message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        parse_time(normalise(pa.table({"start": values})), "start")


def test_a_missing_time_column_gets_the_nearest_name() -> None:
    with pytest.raises(DataRefused, match="did you mean 'start'"):
        parse_time(pa.table({"start": [2013]}), "strat")


@given(
    st.lists(
        st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        min_size=1,
    )
)
def test_a_moment_that_is_written_as_iso_comes_back_equal(moments: list[datetime]) -> None:
    texts = pa.table({"start": [moment.isoformat() for moment in moments]})

    assert parse_time(texts, "start")["start"].to_pylist() == moments


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": [1, "x"]}), r"column 'a': found int 1 \(row 0\) and str 'x' \(row 1\)"),
        (pd.DataFrame({"a": [None, True, 2]}), r"found bool True \(row 1\) and int 2 \(row 2\)"),
        (pd.DataFrame({"a": [{"b": 1}]}), "found struct<b: int64>"),
        (pd.DataFrame([[1, 2]]), r"found a column named 0 \(int\)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "2 columns of this name"),
        (pd.DataFrame([[1]], columns=[" "]), "no name for column 1"),
        (pd.DataFrame({"a": [1 + 2j]}), "column 'a': found values that cannot be stored"),
        (pd.DataFrame({"a": pd.period_range("2013", periods=2)}), "column 'a': found extension"),
    ],
)
def test_a_frame_of_no_clear_types_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        frame_to_table(frame)


def test_a_frame_loses_its_index_and_nothing_else() -> None:
    frame = pd.DataFrame({"n": pd.Series([1, None], dtype="Int64"), "kind": pd.Categorical(["a", "b"])})
    frame.index = pd.Index([7, 9])

    assert frame_to_table(frame).to_pydict() == {"n": [1, None], "kind": ["a", "b"]}
