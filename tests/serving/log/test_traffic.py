"""Claims about reading the log: one frame of all versions, cut by event time, without what nobody saw."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from base.contract import ColumnRule, DataContract
from registry.manifest import ModelManifest
from registry.store import Registry
from serving.log import frames
from serving.log.newest import read_newest, read_prediction
from serving.log.prediction_log import PredictionLog
from serving.log.traffic import read_event_times, read_traffic
from serving.log.upkeep import adopt_all, move_all
from tests.serving.log.samples import NOON, fill_day, folder_of, make_batch

OWN = ["id", "version", "predicted_at", "event_time", "prediction", "arm", "path", "kind", "micros"]


def test_the_event_time_is_the_models_time_where_a_row_has_it(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    log.append(manifest, 1, [make_batch({"distance": 1.0, "at": "2013-04-01T14:00:00+02:00"}, {"distance": 2.0})])

    first, second = read_traffic(tmp_path, "trips").sort_values("distance").to_dict("records")

    assert first["event_time"] == NOON
    assert second["event_time"] == second["predicted_at"]


@pytest.mark.parametrize("sealed", [False, True])
def test_a_window_holds_its_start_and_not_its_stop(tmp_path: Path, manifest: ModelManifest, sealed: bool) -> None:
    log = PredictionLog(tmp_path, segment_rows=1000)
    moments = [NOON + timedelta(hours=hours) for hours in range(6)]
    log.append(manifest, 1, [make_batch({"distance": 1.0, "at": moment.isoformat()}) for moment in reversed(moments)])
    log.close()
    if sealed:
        adopt_all(tmp_path)

    traffic = read_traffic(tmp_path, "trips", start=moments[1], stop=moments[4])

    assert traffic["event_time"].tolist() == moments[1:4]


def test_versions_with_other_columns_and_types_are_read_together(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    columns = {"distance": ColumnRule(type="text"), "toll": ColumnRule(type="number"), "id": ColumnRule(type="text")}
    later = manifest.model_copy(update={"contract": DataContract(columns=columns), "time": None})
    log.append(manifest, 1, [make_batch({"distance": 1.0})])
    log.append(later, 2, [make_batch({"distance": "far", "toll": 3, "id": "theirs"})])

    for _ in ("growing", "sealed"):
        traffic = read_traffic(tmp_path, "trips").set_index("version")
        assert traffic["distance"].to_dict() == {1: 1.0, 2: "far"}
        assert traffic.loc[2, "toll"] == 3
        assert traffic.loc[2, "input.id"] == "theirs"
        assert traffic["id"].str.len().tolist() == [32, 32]
        log.close()
        adopt_all(tmp_path)


def test_three_classes_keep_all_their_probabilities(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    log.append(manifest, 1, [make_batch({"distance": 1.0}, answer=[0.2, 0.7, 0.1])])

    for _ in ("growing", "sealed"):
        (row,) = read_traffic(tmp_path, "trips").to_dict("records")
        assert row["prediction"] == 1
        assert list(row["probabilities"]) == [0.2, 0.7, 0.1]
        log.close()
        adopt_all(tmp_path)


def test_a_model_without_traffic_has_an_empty_frame(tmp_path: Path) -> None:
    traffic = read_traffic(tmp_path, "trips")

    assert list(traffic) == OWN
    assert traffic.empty


def test_a_row_tells_as_what_it_was_answered_and_how_long_that_took(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    log.append(manifest, 1, [make_batch({"distance": 1.0}, arm="challenger", path="onnx", kind="batch", micros=1234)])

    for _ in ("growing", "sealed"):
        (row,) = read_traffic(tmp_path, "trips").to_dict("records")
        assert [row[name] for name in ("arm", "path", "kind", "micros")] == ["challenger", "onnx", "batch", 1234]
        log.close()
        adopt_all(tmp_path)


def test_answers_that_nobody_saw_are_read_on_request_only(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    log.append(manifest, 1, [make_batch({"distance": 1.0}), make_batch({"distance": 2.0}, arm="shadow")])

    assert read_traffic(tmp_path, "trips")["distance"].tolist() == [1]
    assert read_traffic(tmp_path, "trips", shadow="only")["distance"].tolist() == [2]
    assert sorted(read_traffic(tmp_path, "trips", shadow="with")["distance"]) == [1, 2]
    assert len(read_event_times(tmp_path, "trips")) == 1


def test_an_input_named_as_a_column_of_the_logs_own_keeps_its_values(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    columns = {"kind": ColumnRule(type="text"), "micros": ColumnRule(type="number")}
    log.append(
        manifest.model_copy(update={"contract": DataContract(columns=columns), "time": None}),
        1,
        [make_batch({"kind": "theirs", "micros": 7})],
    )

    for _ in ("growing", "sealed"):
        (row,) = read_traffic(tmp_path, "trips").to_dict("records")
        assert (row["kind"], row["input.kind"], row["input.micros"]) == ("online", "theirs", 7)
        log.close()
        adopt_all(tmp_path)


def test_a_personal_column_is_logged_as_text_or_not_at_all(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    columns = {
        "distance": ColumnRule(type="number"),
        "rider": ColumnRule(type="integer", personal="hash"),
        "phone": ColumnRule(type="text", personal="drop"),
    }
    personal = manifest.model_copy(update={"contract": DataContract(columns=columns), "time": None})
    log.append(personal, 1, [make_batch({"distance": 1.0, "rider": "ab12", "phone": "555"})])

    for _ in ("growing", "sealed"):
        (row,) = read_traffic(tmp_path, "trips").to_dict("records")
        assert row["rider"] == "ab12"
        assert "phone" not in row
        log.close()
        adopt_all(tmp_path)


def _watch_opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    opened: list[Path] = []
    read_table = frames._read_table

    def watch(path: Path, *rest: Any) -> Any:
        opened.append(path)
        return read_table(path, *rest)

    monkeypatch.setattr(frames, "_read_table", watch)
    return opened


def test_a_window_of_moved_segments_opens_only_those_that_may_hold_its_rows(
    tmp_path: Path, registry: Registry, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(10):
        fill_day(tmp_path, manifest, NOON + timedelta(days=day))
    move_all(tmp_path, registry)
    opened = _watch_opened(monkeypatch)
    start, stop = NOON + timedelta(days=3), NOON + timedelta(days=5)

    traffic = read_traffic(tmp_path, "trips", registry=registry, start=start, stop=stop)
    moments = read_event_times(tmp_path, "trips", registry=registry, start=start, stop=stop)

    assert len(traffic) == len(moments) == 6
    assert len(opened) == 2 * 2
    assert list(folder_of(tmp_path).iterdir()) == []


def test_the_newest_predictions_and_one_by_its_id_are_found_without_opening_all(
    tmp_path: Path, registry: Registry, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [fill_day(tmp_path, manifest, NOON - timedelta(days=day)) for day in range(4)]
    move_all(tmp_path, registry)
    opened = _watch_opened(monkeypatch)

    newest = read_newest(tmp_path, "trips", 4, registry=registry)

    assert set(newest["id"]) <= {*ids[3], *ids[2]}
    assert set(ids[3]) <= set(newest["id"])
    assert len(opened) == 2
    assert read_prediction(tmp_path, "trips", ids[0][1], registry=registry)["id"].tolist() == [ids[0][1]]
    assert read_prediction(tmp_path, "trips", "unknown", registry=registry).empty


def test_what_was_answered_before_a_moment_is_left_out_wherever_it_lies(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest, registry: Registry
) -> None:
    early, late = make_batch({"distance": 1.0}, at=NOON), make_batch({"distance": 2.0}, at=NOON + timedelta(hours=2))
    log.append(manifest, 1, [early])
    log.append(manifest, 1, [late])
    since = NOON + timedelta(hours=1)

    for keep_up in (log.close, lambda: adopt_all(tmp_path), lambda: move_all(tmp_path, registry)):
        keep_up()
        assert read_traffic(tmp_path, "trips", registry=registry, since=since)["id"].tolist() == list(late.ids)
        assert len(read_traffic(tmp_path, "trips", registry=registry)) == 2
