"""Files behind URLs: an object store, a web server, and what is said when they do not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import Secret

from base.errors import DefinitionError
from base.extract_spec import SourceSpec
from base.settings import Settings
from base.sources import read_source, source_digest
from base.sources.files import describe_files, find_files
from base.sources.reading import Site, read_rows
from base.sources.retries import SourceAway, SourceChanged, SourceFailed
from base.user_code import UserCode

ROWS = pa.table({"id": [1, 2, 3], "name": ["Ann", None, "Zoë"]})
_SECRET = "wJalrXUtnFEMI"


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 server of this module."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'everfit[test]'")
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'everfit[s3]'")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, tmp_path: Path) -> tuple[Settings, Any]:
    """Settings with credentials for an S3 server, and its file system."""
    import fsspec

    options = {"key": "AKIDEXAMPLE", "secret": _SECRET, "endpoint_url": s3_endpoint}
    files = fsspec.filesystem("s3", skip_instance_cache=True, **options)
    if not files.exists("bucket"):
        files.mkdir("bucket")
    for path in files.find("bucket"):
        files.rm(path)
    return Settings(home=tmp_path, storage_options=Secret({"s3": options}), source_wait_seconds=0), files


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a web server that gives the files of ``tmp_path/web``."""
    (tmp_path / "web").mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "web"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def _write(files: Any, path: str, table: pa.Table) -> None:
    with files.open(path, "wb") as stream:
        pq.write_table(table, stream)


@pytest.mark.parametrize("source", ["s3://bucket/rows", "s3://bucket/rows/*/*.parquet"])
def test_an_object_store_is_read_with_the_credentials_of_the_settings(source: str, s3: tuple[Settings, Any]) -> None:
    settings, files = s3
    _write(files, "bucket/rows/year=2023/a.parquet", ROWS.slice(0, 2))
    _write(files, "bucket/rows/year=2024/b.parquet", ROWS.slice(2))
    files.touch("bucket/rows/_SUCCESS")

    table = read_source(source, Path(), settings)

    assert table.to_pydict() == {**ROWS.to_pydict(), "year": [2023, 2023, 2024]}


def test_an_object_that_is_written_again_has_another_digest_and_one_that_is_not_the_same(
    s3: tuple[Settings, Any],
) -> None:
    settings, files = s3
    _write(files, "bucket/rows.parquet", ROWS)
    before = source_digest("s3://bucket/rows.parquet", Path(), settings)

    assert source_digest("s3://bucket/rows.parquet", Path(), settings) == before
    _write(files, "bucket/rows.parquet", ROWS)
    assert source_digest("s3://bucket/rows.parquet", Path(), settings) == before
    _write(files, "bucket/rows.parquet", ROWS.slice(1))
    assert source_digest("s3://bucket/rows.parquet", Path(), settings) != before


def test_an_object_that_is_not_there_is_a_fault_of_the_definition(s3: tuple[Settings, Any]) -> None:
    with pytest.raises(DefinitionError, match=r"'s3://bucket/gone\.parquet' holds no file of a known format"):
        read_source("s3://bucket/gone.parquet", Path(), s3[0])


def test_a_store_that_is_away_is_named_and_its_credentials_are_not(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    options = {
        "key": "AKIDEXAMPLE",
        "secret": _SECRET,
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 1}},
    }
    settings = Settings(home=tmp_path, storage_options=Secret({"s3": options}), source_tries=2, source_wait_seconds=0)

    with pytest.raises(SourceAway, match=r"'s3://bucket/rows.parquet' is away: .*\(asked 2 times\)") as caught:
        read_source("s3://bucket/rows.parquet", Path(), settings)

    assert _SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_file_of_a_web_server_is_read(web: str, tmp_path: Path) -> None:
    pq.write_table(ROWS, tmp_path / "web" / "rows.parquet")

    assert read_source(f"{web}/rows.parquet?version=2", Path()).to_pydict() == ROWS.to_pydict()
    assert find_files(f"{web}/rows.parquet", Path(), Settings())[0].mark


@pytest.mark.parametrize(("path", "words"), [("gone.csv", "the server answers 404"), ("rows.xlsx", "unknown format")])
def test_a_web_address_that_gives_nothing_is_named(web: str, path: str, words: str) -> None:
    with pytest.raises((SourceFailed, DefinitionError), match=words):
        read_source(f"{web}/{path}", Path())


def test_a_web_server_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch, web: str, tmp_path: Path) -> None:
    import httpx

    pq.write_table(ROWS, tmp_path / "web" / "rows.parquet")
    head, asked = httpx.Client.head, []

    def fail_twice(client: httpx.Client, address: str) -> httpx.Response:
        asked.append(address)
        if len(asked) <= 2:
            raise httpx.ConnectError("refused")
        return head(client, address)

    monkeypatch.setattr(httpx.Client, "head", fail_twice)

    assert find_files(f"{web}/rows.parquet", Path(), Settings(source_wait_seconds=0))
    assert len(asked) == 3


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(ROWS, file)
    site = Site(tmp_path, Settings(), UserCode({}), protect=lambda table: _rewrite(table, file))

    with pytest.raises(SourceChanged, match=r"file 'rows\.parquet' was changed while it was read"):
        read_rows(SourceSpec(source="rows.parquet"), site, tmp_path)


def test_a_file_whose_mark_is_known_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    pq.write_table(ROWS, tmp_path / "rows.parquet")
    os.utime(tmp_path / "rows.parquet", (1_700_000_000, 1_700_000_000))
    files = find_files("rows.parquet", tmp_path, Settings())
    known = describe_files(files)
    monkeypatch.setattr("base.sources.files.digest_once", lambda _: pytest.fail("it was read"))

    assert describe_files(files, known) == known


def _rewrite(table: pa.Table, file: Path) -> pa.Table:
    pq.write_table(pa.concat_tables([ROWS, ROWS]), file)
    return table
