"""Claims about segments: sealed or growing, cut off or damaged, each acknowledged row is in exactly one."""

from __future__ import annotations

from pathlib import Path

import orjson
import pandas as pd
import pyarrow.parquet as pq
import pytest

from registry.manifest import ModelManifest
from serving.log import sealing
from serving.log.prediction_log import PredictionLog
from serving.log.segments import SegmentDamaged, read_lines
from serving.log.traffic import read_traffic
from serving.log.upkeep import adopt_all
from tests.serving.conftest import wait_until
from tests.serving.log.samples import fill, folder_of, make_batch, read_ids, suffixes
from tests.serving.models import make_rows


def test_rows_read_the_same_before_and_after_they_are_sealed(tmp_path: Path, manifest: ModelManifest) -> None:
    ids = fill(tmp_path, manifest, 9, segment_rows=1000)
    growing = read_traffic(tmp_path, "trips")

    adopt_all(tmp_path)

    assert suffixes(tmp_path) == [".parquet"]
    pd.testing.assert_frame_equal(read_traffic(tmp_path, "trips"), growing)
    assert sorted(growing["id"]) == sorted(ids)


def test_a_full_segment_is_sealed_while_the_service_goes_on(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    for seed in range(25):
        log.append(manifest, 1, [make_batch(*make_rows(3, seed=seed))])

    wait_until(lambda: suffixes(tmp_path).count(".parquet") == 6, "sealing")
    traffic = read_traffic(tmp_path, "trips")
    assert (len(traffic), traffic["id"].nunique()) == (75, 75)


def test_a_sealed_segment_tells_the_range_of_its_event_times(tmp_path: Path, manifest: ModelManifest) -> None:
    fill(tmp_path, manifest, 9)

    adopt_all(tmp_path)

    for path in folder_of(tmp_path).glob("*.parquet"):
        metadata = pq.read_metadata(path)
        column = metadata.schema.names.index("event_time")
        found = metadata.row_group(0).column(column).statistics
        assert found.min < found.max


def test_a_line_that_a_kill_cut_off_is_passed_over(tmp_path: Path, manifest: ModelManifest) -> None:
    ids = fill(tmp_path, manifest, 3, segment_rows=1000)
    (path,) = folder_of(tmp_path).iterdir()
    whole = path.read_bytes()

    for length in range(len(whole) - 200, len(whole)):
        path.write_bytes(whole[:length])
        assert sorted(read_traffic(tmp_path, "trips")["id"]) == sorted(ids[:6])
    adopt_all(tmp_path)
    assert sorted(read_traffic(tmp_path, "trips")["id"]) == sorted(ids[:6])


def test_a_segment_that_died_before_its_first_row_is_removed(tmp_path: Path) -> None:
    folder_of(tmp_path).mkdir(parents=True)
    (folder_of(tmp_path) / "a.jsonl").write_bytes(b"")
    (folder_of(tmp_path) / "b.jsonl").write_bytes(b'{"model": "tr')

    assert read_traffic(tmp_path, "trips").empty
    adopt_all(tmp_path)
    assert list(folder_of(tmp_path).iterdir()) == []


def test_a_line_that_somebody_changed_is_named_and_nothing_is_removed(tmp_path: Path, manifest: ModelManifest) -> None:
    fill(tmp_path, manifest, 3, segment_rows=1000)
    (path,) = folder_of(tmp_path).iterdir()
    path.write_bytes(path.read_bytes().replace(b'"rows"', b"rows", 1))

    with pytest.raises(SegmentDamaged, match="line 2"):
        read_traffic(tmp_path, "trips")
    adopt_all(tmp_path)
    assert path.exists()


@pytest.mark.parametrize("crash", ["while the Parquet file was written", "before the lines were removed"])
def test_a_crash_while_sealing_neither_loses_nor_doubles_rows(
    tmp_path: Path, manifest: ModelManifest, crash: str
) -> None:
    ids = fill(tmp_path, manifest, 3, segment_rows=1000)
    (lines,) = folder_of(tmp_path).glob("*.jsonl")
    kept = lines.read_bytes()
    if crash == "before the lines were removed":
        adopt_all(tmp_path)
        lines.write_bytes(kept)
    else:
        lines.with_suffix(".sealing").write_bytes(b"PAR1 and then the power of the process was gone")

    assert sorted(read_traffic(tmp_path, "trips")["id"]) == sorted(ids)
    adopt_all(tmp_path)
    assert sorted(read_traffic(tmp_path, "trips")["id"]) == sorted(ids)
    assert suffixes(tmp_path) == [".parquet"]


def test_a_segment_of_a_living_process_is_left_to_it(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    log.append(manifest, 1, [make_batch({"distance": 1.0})])

    adopt_all(tmp_path)

    log.append(manifest, 1, [make_batch({"distance": 2.0})])
    assert suffixes(tmp_path) == [".jsonl"]
    assert len(read_traffic(tmp_path, "trips")) == 2


@pytest.mark.slow
def test_rows_are_read_once_while_segments_are_being_sealed(tmp_path: Path, manifest: ModelManifest) -> None:
    log = PredictionLog(tmp_path, segment_rows=2)

    for n_rows in range(1, 61):
        log.append(manifest, 1, [make_batch({"distance": 1.0})])
        traffic = read_traffic(tmp_path, "trips")
        assert (len(traffic), traffic["id"].nunique()) == (n_rows, n_rows)
    log.close()


def test_what_a_growing_file_was_stretched_by_is_read_as_nothing(tmp_path: Path, manifest: ModelManifest) -> None:
    log = PredictionLog(tmp_path, segment_rows=1000)
    log.append(manifest, 1, [make_batch(*make_rows(3))])
    (path,) = folder_of(tmp_path).iterdir()

    assert path.read_bytes().endswith(b"\0")
    assert len(read_traffic(tmp_path, "trips")) == 3
    log.close()
    assert path.read_bytes().endswith(b"\n")


def test_each_segment_names_its_writer_and_each_batch_its_place(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    for n_rows in (3, 5, 4, 2):
        log.append(manifest, 1, [make_batch(*make_rows(n_rows))])

    wait_until(lambda: suffixes(tmp_path) == [".jsonl", ".parquet"], "sealing")
    (sealed,), (growing,) = folder_of(tmp_path).glob("*.parquet"), folder_of(tmp_path).glob("*.jsonl")
    lines = read_lines(growing)
    assert lines is not None
    header = orjson.loads(pq.read_metadata(sealed).metadata[b"everfit"])
    assert header["writer"] == lines.header["writer"] == log.accounts.writer.name
    assert (header["first"], lines.header["first"]) == (0, 12)
    assert [(batch["seq"], batch["n"]) for batch in lines.batches] == [(12, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_a_large_segment_is_sealed_by_a_process_of_its_own_or_stays(
    tmp_path: Path, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    monkeypatch.setattr(sealing, "_LARGE_BYTES", 0)
    monkeypatch.setattr(sealing, "seal_segment", None)
    ids = fill(tmp_path, manifest, 3, segment_rows=1000)
    (path,) = folder_of(tmp_path).iterdir()
    if damaged:
        path.write_bytes(path.read_bytes().replace(b'"rows"', b"rows", 1))

    adopt_all(tmp_path)

    assert suffixes(tmp_path) == [".jsonl" if damaged else ".parquet"]
    if not damaged:
        assert read_ids(tmp_path) == sorted(ids)
