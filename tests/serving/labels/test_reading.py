"""Claims about reading labels: versions are kept, keys are matched, and the past can be looked at again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.manifest import ModelManifest
from serving.labels.intake import LabelIntake
from serving.labels.key_match import match_keys
from serving.labels.known import NEVER, KnownPredictions
from serving.labels.label import KeyedLabel, Label, LabelBatch
from serving.labels.reading import read_label_versions, read_labels
from serving.labels.status import read_label_status
from serving.log.prediction_log import PredictionLog
from tests.serving.labels.logs import log_labels, log_rows, seal_all

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _row(hour: float = 0, *, guest: str | None = "Ann", table: int | None = 3) -> dict[str, Any]:
    row = {"distance": 1.0, "at": (NOON + hour * HOUR).isoformat(), "guest": guest, "table": table}
    return {name: value for name, value in row.items() if value is not None}


def _keyed(hour: float = 0, *, guest: str = "Ann", table: float = 3, within: timedelta = timedelta(0)) -> KeyedLabel:
    return KeyedLabel({"table": table, "guest": guest}, NOON + hour * HOUR, 1, NOON + HOUR, within)


def test_a_correction_hides_nothing_of_what_was_known_before(tmp_path: Path, log: PredictionLog) -> None:
    log_labels(log, [Label("a", 0, NOON), Label("b", 0, NOON)], at=NOON + 2 * HOUR)
    log_labels(log, [Label("a", 1, NOON + HOUR)], at=NOON + 5 * HOUR)

    def read(*, as_of: datetime | None = None, received_by: datetime | None = None) -> dict[str, Any]:
        labels = read_labels(tmp_path, "trips", as_of=as_of, received_by=received_by)
        return dict(zip(labels["id"], labels["value"], strict=True))

    assert read() == {"a": 1, "b": 0}
    assert read(as_of=NOON) == {"a": 0, "b": 0}
    assert read(as_of=NOON + HOUR) == {"a": 1, "b": 0}
    assert read(as_of=NOON + HOUR, received_by=NOON + 4 * HOUR) == {"a": 0, "b": 0}
    assert read(received_by=NOON + HOUR) == {}
    assert len(read_label_versions(tmp_path, "trips")) == 3


@pytest.mark.parametrize("sealed", [False, True])
def test_a_key_is_matched_at_its_time_or_to_the_last_prediction_before(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest, sealed: bool
) -> None:
    rows = [_row(0), _row(0), _row(2), _row(0, guest="Bob"), _row(0, table=4), _row(0, table=None), _row(100)]
    ids = log_rows(log, manifest, rows)
    if sealed:
        log.close()
        seal_all(tmp_path)
    asked = {
        "at its time": (_keyed(2), [ids[2]]),
        "all of that time": (_keyed(0, table=3.0), ids[:2]),
        "nothing at that time": (_keyed(1), []),
        "the last before": (_keyed(1, within=HOUR), ids[:2]),
        "not too old": (_keyed(5, within=2 * HOUR), []),
        "never a later one": (_keyed(-0.5, within=9 * HOUR), []),
        "another guest": (_keyed(0, guest="Bob"), [ids[3]]),
        "an unknown guest": (_keyed(0, guest="Eve"), []),
        "days later": (_keyed(100), [ids[6]]),
    }

    found = match_keys(tmp_path, "trips", [label for label, _ in asked.values()])

    assert {name: sorted(one) for name, one in zip(asked, found, strict=True)} == {
        name: sorted(expected) for name, (_, expected) in asked.items()
    }


def test_only_the_segments_of_a_predictions_time_are_opened(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    ids = [f"{hour:012x}7{'0' * 19}" for hour in range(100)]
    for first in range(0, 100, 10):
        log_rows(log, manifest, [_row(hour) for hour in range(10)], ids=ids[first : first + 10])
    log.close()
    seal_all(tmp_path)
    known = KnownPredictions(tmp_path, "trips")

    times = known.event_times([ids[42], ids[47], "nobody's"])

    assert known.index.n_files_read == 1
    assert times.tolist()[2] == NEVER
    assert [datetime.fromtimestamp(time / 1e6, UTC) for time in times[:2]] == [NOON + 2 * HOUR, NOON + 7 * HOUR]


def test_rows_that_are_logged_between_two_questions_are_known(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    known = KnownPredictions(tmp_path, "trips")

    for count in range(1, 26):
        (name,) = log_rows(log, manifest, [_row(count)])
        assert known.event_times([name]).tolist() == [int((NOON + count * HOUR).timestamp() * 1e6)]


def test_the_status_tells_what_waits_is_due_late_corrected_and_unknown(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest, intake: LabelIntake
) -> None:
    ids = log_rows(log, manifest, [_row(hour) for hour in (0, 1, 2, 10)])
    labels = [
        Label(ids[0], 0, NOON + HOUR),
        Label(ids[0], 1, NOON + 2 * HOUR),
        Label(ids[1], 0, NOON + 9 * HOUR),
        Label("nobody's", 1, NOON),
    ]
    intake.take("trips", manifest, LabelBatch(labels, [_keyed(10), _keyed(0, guest="Eve")]))

    status = read_label_status(tmp_path, "trips", label_delay=2 * HOUR, grace=HOUR, until=NOON + 11 * HOUR)

    assert (status.n_served, status.n_waiting, status.n_early) == (4, 1, 1)
    assert (status.n_matured, status.n_labelled, status.coverage) == (3, 2, 2 / 3)
    assert (status.n_late, status.n_corrected, status.n_unknown, status.n_unmatched) == (1, 1, 1, 1)
    earlier = read_label_status(tmp_path, "trips", label_delay=2 * HOUR, grace=HOUR, until=NOON + 3 * HOUR)
    assert (earlier.n_served, earlier.n_waiting, earlier.n_matured, earlier.n_labelled) == (3, 1, 2, 1)
