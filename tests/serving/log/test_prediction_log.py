"""Claims about the prediction log: killed at any point, it neither loses nor doubles what was acknowledged."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.contract import ColumnRule, DataContract
from base.times import utc_now
from registry.manifest import ModelManifest
from registry.store import Registry
from serving.identifiers import new_ids
from serving.log.prediction_log import (
    Label,
    LoggedBatch,
    PredictionLog,
    count_unknown_labels,
    join_labels,
    read_labels,
    read_traffic,
)
from serving.log.segments import SegmentDamaged
from tests.processes import start_process
from tests.serving.conftest import wait_until
from tests.serving.models import make_rows, register_model

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)


@pytest.fixture
def manifest(registry: Registry) -> ModelManifest:
    return ModelManifest.model_validate(register_model(registry).manifest)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLog]:
    opened = PredictionLog(tmp_path, segment_rows=10)
    yield opened
    opened.close()


def _batch(*rows: dict[str, Any], answer: float | list[float] = 0.5) -> LoggedBatch:
    return LoggedBatch(new_ids(len(rows)), rows, [answer] * len(rows), utc_now())


def _fill(home: Path, manifest: ModelManifest, n_batches: int, *, segment_rows: int = 10) -> list[str]:
    log = PredictionLog(home, segment_rows=segment_rows)
    batches = [_batch(*make_rows(3, seed=seed)) for seed in range(n_batches)]
    for batch in batches:
        log.append(manifest, 1, [batch])
    log.close()
    return [name for batch in batches for name in batch.ids]


def _folder(home: Path) -> Path:
    return home / "traffic" / "trips" / "predictions"


def _suffixes(home: Path) -> list[str]:
    return sorted(path.suffix for path in _folder(home).iterdir())


def _adopt(home: Path) -> None:
    log = PredictionLog(home, segment_rows=10)
    log.adopt()
    log._sealer.submit(lambda: None).result(30)
    log.close()


def test_rows_read_the_same_before_and_after_they_are_sealed(tmp_path: Path, manifest: ModelManifest) -> None:
    ids = _fill(tmp_path, manifest, 9, segment_rows=1000)
    growing = read_traffic(tmp_path, "trips")

    _adopt(tmp_path)

    assert _suffixes(tmp_path) == [".parquet"]
    pd.testing.assert_frame_equal(read_traffic(tmp_path, "trips"), growing)
    assert sorted(growing["id"]) == sorted(ids)


def test_a_full_segment_is_sealed_while_the_service_goes_on(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    for seed in range(25):
        log.append(manifest, 1, [_batch(*make_rows(3, seed=seed))])

    wait_until(lambda: _suffixes(tmp_path).count(".parquet") == 6, "sealing")
    traffic = read_traffic(tmp_path, "trips")
    assert (len(traffic), traffic["id"].nunique()) == (75, 75)


def test_the_event_time_is_the_models_time_where_a_row_has_it(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    log.append(manifest, 1, [_batch({"distance": 1.0, "at": "2013-04-01T14:00:00+02:00"}, {"distance": 2.0})])

    first, second = read_traffic(tmp_path, "trips").sort_values("distance").to_dict("records")

    assert first["event_time"] == NOON
    assert second["event_time"] == second["predicted_at"]


@pytest.mark.parametrize("sealed", [False, True])
def test_a_window_holds_its_start_and_not_its_stop(tmp_path: Path, manifest: ModelManifest, sealed: bool) -> None:
    log = PredictionLog(tmp_path, segment_rows=1000)
    moments = [NOON + timedelta(hours=hours) for hours in range(6)]
    log.append(manifest, 1, [_batch({"distance": 1.0, "at": moment.isoformat()}) for moment in reversed(moments)])
    log.close()
    if sealed:
        _adopt(tmp_path)

    traffic = read_traffic(tmp_path, "trips", start=moments[1], stop=moments[4])

    assert traffic["event_time"].tolist() == moments[1:4]


def test_a_sealed_segment_tells_the_range_of_its_event_times(tmp_path: Path, manifest: ModelManifest) -> None:
    _fill(tmp_path, manifest, 9)

    _adopt(tmp_path)

    for path in _folder(tmp_path).glob("*.parquet"):
        metadata = pq.read_metadata(path)
        column = metadata.schema.names.index("event_time")
        found = metadata.row_group(0).column(column).statistics
        assert found.min < found.max


def test_a_line_that_a_kill_cut_off_is_passed_over(tmp_path: Path, manifest: ModelManifest) -> None:
    ids = _fill(tmp_path, manifest, 3, segment_rows=1000)
    (path,) = _folder(tmp_path).iterdir()
    whole = path.read_bytes()

    for length in range(len(whole) - 200, len(whole)):
        path.write_bytes(whole[:length])
        assert sorted(read_traffic(tmp_path, "trips")["id"]) == sorted(ids[:6])
    _adopt(tmp_path)
    assert sorted(read_traffic(tmp_path, "trips")["id"]) == sorted(ids[:6])


def test_a_segment_that_died_before_its_first_row_is_removed(tmp_path: Path) -> None:
    _folder(tmp_path).mkdir(parents=True)
    (_folder(tmp_path) / "a.jsonl").write_bytes(b"")
    (_folder(tmp_path) / "b.jsonl").write_bytes(b'{"model": "tr')

    assert read_traffic(tmp_path, "trips").empty
    _adopt(tmp_path)
    assert list(_folder(tmp_path).iterdir()) == []


def test_a_line_that_somebody_changed_is_named_and_nothing_is_removed(tmp_path: Path, manifest: ModelManifest) -> None:
    _fill(tmp_path, manifest, 3, segment_rows=1000)
    (path,) = _folder(tmp_path).iterdir()
    path.write_bytes(path.read_bytes().replace(b'"rows"', b"rows", 1))

    with pytest.raises(SegmentDamaged, match="line 2"):
        read_traffic(tmp_path, "trips")
    _adopt(tmp_path)
    assert path.exists()


@pytest.mark.parametrize("crash", ["while the Parquet file was written", "before the lines were removed"])
def test_a_crash_while_sealing_neither_loses_nor_doubles_rows(
    tmp_path: Path, manifest: ModelManifest, crash: str
) -> None:
    ids = _fill(tmp_path, manifest, 3, segment_rows=1000)
    (lines,) = _folder(tmp_path).glob("*.jsonl")
    kept = lines.read_bytes()
    if crash == "before the lines were removed":
        _adopt(tmp_path)
        lines.write_bytes(kept)
    else:
        lines.with_suffix(".sealing").write_bytes(b"PAR1 and then the power of the process was gone")

    assert sorted(read_traffic(tmp_path, "trips")["id"]) == sorted(ids)
    _adopt(tmp_path)
    assert sorted(read_traffic(tmp_path, "trips")["id"]) == sorted(ids)
    assert _suffixes(tmp_path) == [".parquet"]


def test_a_segment_of_a_living_process_is_left_to_it(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    log.append(manifest, 1, [_batch({"distance": 1.0})])

    _adopt(tmp_path)

    log.append(manifest, 1, [_batch({"distance": 2.0})])
    assert _suffixes(tmp_path) == [".jsonl"]
    assert len(read_traffic(tmp_path, "trips")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(3))
def test_a_process_killed_while_it_logs_and_seals_leaves_every_row_once(
    tmp_path: Path, manifest: ModelManifest, round_: int
) -> None:
    acknowledged = tmp_path / "acknowledged"
    acknowledged.touch()

    def work() -> None:
        log = PredictionLog(tmp_path, segment_rows=7)
        with acknowledged.open("a", buffering=1) as stream:
            while True:
                batch = _batch({"distance": 1.0}, {"distance": 2.0})
                log.append(manifest, 1, [batch])
                stream.write("".join(f"{name}\n" for name in batch.ids))

    process = start_process(work)
    wait_until(lambda: acknowledged.stat().st_size > 20_000 * (round_ + 1), "logging")
    process.kill()
    process.join()
    told = [line for line in acknowledged.read_text().split("\n") if len(line) == 32]

    for _ in ("as it was left", "adopted"):
        found = read_traffic(tmp_path, "trips")["id"]
        assert found.is_unique
        assert set(told) <= set(found)
        assert len(found) - len(told) <= 2
        _adopt(tmp_path)
    assert ".jsonl" not in _suffixes(tmp_path)


@pytest.mark.slow
def test_rows_are_read_once_while_segments_are_being_sealed(tmp_path: Path, manifest: ModelManifest) -> None:
    log = PredictionLog(tmp_path, segment_rows=2)

    for n_rows in range(1, 61):
        log.append(manifest, 1, [_batch({"distance": 1.0})])
        traffic = read_traffic(tmp_path, "trips")
        assert (len(traffic), traffic["id"].nunique()) == (n_rows, n_rows)
    log.close()


def test_a_disk_that_is_full_leaves_no_half_line(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(manifest, 1, [_batch({"distance": 1.0})])
    write = os.write

    def write_half(descriptor: int, data: memoryview) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_half)
        with pytest.raises(OSError, match="No space left"):
            log.append(manifest, 1, [_batch({"distance": 2.0})])
    log.append(manifest, 1, [_batch({"distance": 3.0})])

    assert sorted(read_traffic(tmp_path, "trips")["distance"]) == [1.0, 3.0]


def test_versions_with_other_columns_and_types_are_read_together(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    columns = {"distance": ColumnRule(type="text"), "toll": ColumnRule(type="number"), "id": ColumnRule(type="text")}
    later = manifest.model_copy(update={"contract": DataContract(columns=columns), "time": None})
    log.append(manifest, 1, [_batch({"distance": 1.0})])
    log.append(later, 2, [_batch({"distance": "far", "toll": 3, "id": "theirs"})])

    for _ in ("growing", "sealed"):
        traffic = read_traffic(tmp_path, "trips").set_index("version")
        assert traffic["distance"].to_dict() == {1: 1.0, 2: "far"}
        assert traffic.loc[2, "toll"] == 3
        assert traffic.loc[2, "input.id"] == "theirs"
        assert traffic["id"].str.len().tolist() == [32, 32]
        log.close()
        _adopt(tmp_path)


def test_three_classes_keep_all_their_probabilities(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    log.append(manifest, 1, [_batch({"distance": 1.0}, answer=[0.2, 0.7, 0.1])])

    for _ in ("growing", "sealed"):
        (row,) = read_traffic(tmp_path, "trips").to_dict("records")
        assert row["prediction"] == 1
        assert list(row["probabilities"]) == [0.2, 0.7, 0.1]
        log.close()
        _adopt(tmp_path)


def test_a_model_without_traffic_or_labels_has_empty_frames(tmp_path: Path) -> None:
    traffic, labels = read_traffic(tmp_path, "trips"), read_labels(tmp_path, "trips")

    assert list(traffic) == ["id", "version", "predicted_at", "event_time", "prediction"]
    assert list(labels) == ["id", "value", "observed_at"]
    assert join_labels(traffic, labels).empty


_values = st.text(max_size=5) | st.integers(-(2**53), 2**53) | st.booleans() | st.floats(-1e9, 1e9, width=32)


@given(
    labels=st.lists(
        st.tuples(st.sampled_from("abcd"), _values, st.integers(0, 5)).map(
            lambda drawn: Label(drawn[0], drawn[1], NOON + timedelta(minutes=drawn[2]))
        ),
        max_size=12,
    )
)
def test_the_label_observed_last_wins_growing_or_sealed(tmp_path: Path, labels: list[Label]) -> None:
    shutil.rmtree(tmp_path / "traffic", ignore_errors=True)
    log = PredictionLog(tmp_path, segment_rows=4)
    for label in labels:
        log.append_labels("trips", [label])
    log.close()
    expected: dict[str, Label] = {}
    for label in labels:
        if label.id not in expected or label.observed_at >= expected[label.id].observed_at:
            expected[label.id] = label

    for _ in ("growing", "sealed"):
        found = read_labels(tmp_path, "trips")
        assert dict(zip(found["id"], found["value"], strict=True)) == {
            name: label.value for name, label in expected.items()
        }
        _adopt(tmp_path)


def test_labels_join_the_rows_they_belong_to_and_unknown_ones_are_counted(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    batch = _batch({"distance": 1.0}, {"distance": 2.0})
    log.append(manifest, 1, [batch])
    log.append_labels("trips", [Label(batch.ids[1], 1, NOON), Label("unknown", 0, NOON)])

    traffic, labels = read_traffic(tmp_path, "trips"), read_labels(tmp_path, "trips")

    joined = join_labels(traffic, labels)
    assert joined[["distance", "value"]].to_numpy().tolist() == [[2.0, 1]]
    assert count_unknown_labels(traffic, labels) == 1


@given(st.integers(1, 500))
def test_identifiers_are_unique(count: int) -> None:
    assert len(set(new_ids(count) + new_ids(count))) == 2 * count
