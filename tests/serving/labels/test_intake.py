"""Claims about the intake: every label is counted for what it is, and a batch sent twice changes nothing."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st

from registry.manifest import ModelManifest
from serving.identifiers import new_ids
from serving.labels.intake import BatchNameTaken, Counts, LabelIntake
from serving.labels.label import KeyedLabel, Label, LabelBatch
from serving.labels.reading import read_label_versions, read_labels
from serving.log.prediction_log import PredictionLog
from tests.serving.labels.logs import log_rows, seal_all

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TOLD = ("stored", "repeated", "corrected", "late", "unknown", "ambiguous")


def _row(hour: int = 0, *, guest: str = "Ann", table: int = 3) -> dict[str, Any]:
    return {"distance": 1.0, "at": (NOON + hour * HOUR).isoformat(), "guest": guest, "table": table}


def _told(counts: Counts) -> dict[str, int]:
    return {name: count for name in TOLD if (count := getattr(counts, name))}


def _files(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes().rstrip(b"\0") for path in (home / "traffic/trips/labels").iterdir()}


def test_each_label_is_counted_for_what_it_is(log: PredictionLog, manifest: ModelManifest, intake: LabelIntake) -> None:
    one, other, third = log_rows(log, manifest, [_row(), _row(), _row()])
    intake.take("trips", manifest, LabelBatch([Label(one, 0, NOON + HOUR), Label(other, 0, NOON + HOUR)]))

    counts = intake.take(
        "trips",
        manifest,
        LabelBatch(
            [
                Label(one, 0, NOON + HOUR),
                Label(other, 1, NOON + 2 * HOUR),
                Label(third, 1, NOON + 3 * HOUR + timedelta(seconds=1)),
                Label("nobody's", 1, NOON),
            ],
            n_refused=2,
        ),
    )

    assert (counts.received, counts.accepted, counts.refused) == (6, 4, 2)
    assert _told(counts) == {"stored": 3, "repeated": 1, "corrected": 1, "late": 1, "unknown": 1}


@pytest.mark.parametrize("sealed", [False, True])
def test_a_batch_sent_twice_changes_nothing(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest, sealed: bool
) -> None:
    ids = log_rows(log, manifest, [_row(hour) for hour in range(5)])
    batch = LabelBatch(
        [Label(name, 1, NOON + HOUR) for name in ids],
        [
            KeyedLabel({"guest": "Ann", "table": 3}, NOON, 1, NOON),
            KeyedLabel({"guest": "Bob", "table": 1}, NOON, 1, NOON),
        ],
    )
    intake = LabelIntake(tmp_path, log.append_documents)
    intake.take("trips", manifest, batch)
    if sealed:
        log.close()
        seal_all(tmp_path)
        log = PredictionLog(tmp_path, segment_rows=10)
        intake = LabelIntake(tmp_path, log.append_documents)
    before = _files(tmp_path)

    counts = intake.take("trips", manifest, batch)

    assert (counts.stored, counts.repeated, counts.corrected) == (0, 7, 0)
    assert _files(tmp_path) == before
    log.close()


def test_a_label_without_a_moment_says_something_only_when_its_value_is_new(
    log: PredictionLog, manifest: ModelManifest, intake: LabelIntake
) -> None:
    (one,) = log_rows(log, manifest, [_row()])

    def take(value: int, minutes: int) -> dict[str, int]:
        label = Label(one, value, NOON + timedelta(minutes=minutes), is_dated=False)
        return _told(intake.take("trips", manifest, LabelBatch([label])))

    assert take(1, 0) == {"stored": 1}
    assert take(1, 1) == {"repeated": 1}
    assert take(0, 2) == {"stored": 1, "corrected": 1}
    assert take(1, 3) == {"stored": 1, "corrected": 1}


def test_what_is_corrected_within_a_batch_is_a_correction(
    log: PredictionLog, manifest: ModelManifest, intake: LabelIntake
) -> None:
    (one,) = log_rows(log, manifest, [_row()])
    labels = [Label(one, 0, NOON), Label(one, 1, NOON + HOUR), Label(one, 0, NOON)]

    assert _told(intake.take("trips", manifest, LabelBatch(labels))) == {"stored": 2, "corrected": 1, "repeated": 1}


def test_a_label_before_its_prediction_is_kept_and_known_once_that_turns_up(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest, intake: LabelIntake
) -> None:
    (one,) = new_ids(1)
    keyed = KeyedLabel({"guest": "Ann", "table": 3}, NOON, 0, NOON)
    first = intake.take("trips", manifest, LabelBatch([Label(one, 1, NOON)], [keyed]))

    log_rows(log, manifest, [_row(4)], ids=[one])
    (other,) = log_rows(log, manifest, [_row()])

    assert first.unknown == 2
    assert read_labels(tmp_path, "trips").set_index("id")["value"].to_dict() == {one: 1, other: 0}
    assert intake.take("trips", manifest, LabelBatch([Label(one, 0, NOON + HOUR)])).unknown == 0


def test_a_batch_is_known_by_its_name(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest, intake: LabelIntake
) -> None:
    (one,) = log_rows(log, manifest, [_row()])
    undated = [LabelBatch([Label(one, value, NOON + value * HOUR, is_dated=False)]) for value in (0, 1)]
    intake.take("trips", manifest, undated[0], name="monday", digest="d")
    intake.take("trips", manifest, undated[1])

    again = LabelBatch([Label(one, 0, NOON + 5 * HOUR, is_dated=False)])
    counts = intake.take("trips", manifest, again, name="monday", digest="d")

    assert (counts.stored, counts.repeated) == (0, 1)
    assert read_labels(tmp_path, "trips")["value"].tolist() == [1]
    with pytest.raises(BatchNameTaken, match="'monday' has been used for other labels"):
        intake.take("trips", manifest, undated[1], name="monday", digest="e")
    log.close()
    seal_all(tmp_path)
    later = PredictionLog(tmp_path, segment_rows=10)
    with pytest.raises(BatchNameTaken):
        LabelIntake(tmp_path, later.append_documents).take("trips", manifest, again, name="monday", digest="e")
    later.close()


def test_every_label_is_in_the_accounts_once(log: PredictionLog, manifest: ModelManifest, intake: LabelIntake) -> None:
    (one,) = log_rows(log, manifest, [_row()])
    batch = LabelBatch([Label(one, 0, NOON), Label("x", 0, NOON)], n_refused=3)
    for _ in range(2):
        intake.take("trips", manifest, batch)

    totals = intake.accounts.snapshot()["trips"]

    assert (totals.accepted, totals.stored, totals.rejected) == (10, 2, {"refused": 6, "repeated": 2})
    assert totals.in_flight == 0


def test_labels_that_the_disk_does_not_take_are_told_and_counted(tmp_path: Path, manifest: ModelManifest) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    intake = LabelIntake(tmp_path, refuse)

    with pytest.raises(OSError, match="No space left"):
        intake.take("trips", manifest, LabelBatch([Label("x", 0, NOON)], n_refused=1))
    totals = intake.accounts.snapshot()["trips"]
    assert (totals.stored, totals.rejected, totals.in_flight) == (0, {"refused": 1, "not_logged": 1}, 0)
    assert read_labels(tmp_path, "trips").empty


def test_threads_that_take_the_same_batch_write_it_once(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest, intake: LabelIntake
) -> None:
    ids = log_rows(log, manifest, [_row() for _ in range(50)])
    batch = LabelBatch([Label(name, 1, NOON) for name in ids])
    counts: list[Counts] = []
    threads = [Thread(target=lambda: counts.append(intake.take("trips", manifest, batch))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(one.stored for one in counts) == 50
    assert sum(one.repeated for one in counts) == 350


def test_two_services_that_take_the_same_batch_are_read_as_one(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    other = PredictionLog(tmp_path, segment_rows=10)
    batch = LabelBatch([Label(name, 1, NOON) for name in log_rows(log, manifest, [_row() for _ in range(5)])])
    # Neither sees the other's lines before it has compared its own.
    documents: list[Any] = []
    LabelIntake(tmp_path, lambda *document: documents.append(document)).take("trips", manifest, batch)
    LabelIntake(tmp_path, log.append_documents).take("trips", manifest, batch)
    other.append_documents(*documents[0])
    other.close()

    assert len(read_label_versions(tmp_path, "trips")) == 5


labels = st.builds(
    Label,
    st.sampled_from("abcd"),
    st.sampled_from([0, 1]),
    st.integers(0, 6).map(lambda hour: NOON + hour * HOUR),
)


@given(st.lists(st.lists(labels, max_size=5), max_size=4), st.randoms(use_true_random=False))
@cases(max_examples=15)
def test_the_order_of_batches_and_their_repetition_change_nothing(
    tmp_path: Path, manifest: ModelManifest, batches: list[list[Label]], chance: Any
) -> None:
    # Of two that were observed at one moment the later one wins, as a correction should: order is their meaning.
    first: dict[tuple[str, datetime], Label] = {}
    batches = [[first.setdefault((label.id, label.observed_at), label) for label in batch] for batch in batches]
    again = [*batches, *batches]
    chance.shuffle(again)

    def read(taken: list[list[Label]]) -> pd.DataFrame:
        shutil.rmtree(tmp_path / "traffic", ignore_errors=True)
        log = PredictionLog(tmp_path, segment_rows=3)
        intake = LabelIntake(tmp_path, log.append_documents)
        for batch in taken:
            intake.take("trips", manifest, LabelBatch(batch))
        log.close()
        return read_labels(tmp_path, "trips")[["id", "value", "observed_at"]].sort_values("id", ignore_index=True)

    pd.testing.assert_frame_equal(read(again), read(batches))
