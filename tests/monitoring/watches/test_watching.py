"""Claims about watching a real pipeline: what is seen of it, and what is filed."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from base.definition import read_pipeline
from base.documents import as_document
from base.pipeline import Pipeline
from base.settings import Settings
from base.times import utc_now
from base.user_code import UserCode
from monitoring.watches.watching import Watched, watch, watch_all
from registry.snapshots import record_snapshot
from registry.store import Registry
from registry.tables import TriggerRow
from tasks.extraction import extract_rows
from tests.pipelines import define, make_pipeline, make_trips, train, write_pipeline


def _trained(folder: Path, settings: Settings, registry: Registry, **triggers: Any) -> Pipeline:
    """A pipeline with a champion, whose data was read and written down as the extract step does it."""
    pipeline = make_pipeline(folder, make_trips(400), define(triggers=triggers))
    train(pipeline, settings)
    found = extract_rows(pipeline, registry.artifacts, code=UserCode(pipeline.code), as_of=None, settings=settings)
    with registry.database.write() as session:
        record_snapshot(
            session, pipeline.name, found.whole, source="s", state=as_document(found.state), n_new=found.whole.n_rows
        )
    return pipeline


def _kinds(watched: Watched) -> list[tuple[str, str, bool]]:
    return [(due.kind, taken.outcome, taken.is_new) for due, taken in zip(watched.due, watched.taken, strict=True)]


def test_new_rows_ask_for_one_training_however_often_one_looks(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    pipeline = _trained(tmp_path / "trips", settings, registry, new_data="50 rows")
    before = watch(registry, pipeline, settings, utc_now())
    make_trips(449, seed=1).to_parquet(pipeline.folder / "data.parquet")
    few = watch(registry, pipeline, settings, utc_now())
    make_trips(460, seed=2).to_parquet(pipeline.folder / "data.parquet")
    first, second = (watch(registry, pipeline, settings, utc_now()) for _ in range(2))

    assert [_kinds(one) for one in (before, few)] == [[], []]
    assert _kinds(first) == [("new_data", "start", True)]
    assert _kinds(second) == [("new_data", "start", False)]
    assert "60 new rows" in first.due[0].reason
    with registry.database.read() as session:
        (trigger,) = session.exec(select(TriggerRow)).all()
    assert trigger.payload["seen"]["n_new_rows"] == 60


def test_data_that_stays_away_is_told_and_starts_nothing(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    pipeline = _trained(tmp_path / "trips", settings, registry, expect_data="1 day")
    long_ago = (utc_now() - timedelta(days=3)).timestamp()
    os.utime(pipeline.folder / "data.parquet", (long_ago, long_ago))

    watched = watch(registry, pipeline, settings, utc_now())

    assert _kinds(watched) == [("missing_data", "suppress", True)]
    assert watched.taken[0].launch_id is None


def test_a_definition_that_changed_asks_for_a_training_and_one_that_says_the_same_in_other_words_does_not(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    pipeline = _trained(tmp_path / "trips", settings, registry, on_change=True)
    defaults = define(triggers={"on_change": True, "cooldown": "0 days"}, monitor={"min_rows": 200})
    same = read_pipeline(write_pipeline(tmp_path / "trips", None, defaults))
    code = "def add_hour(frame):\n    return frame.assign(hour=frame['at'].dt.hour, day=frame['at'].dt.day)\n"
    other = make_pipeline(tmp_path / "trips", None, define(triggers={"on_change": True}), features=code)

    found = [watch(registry, each, settings, utc_now()) for each in (pipeline, same, other)]

    assert [_kinds(one) for one in found] == [[], [], [("code", "start", True)]]


def test_a_pipeline_that_cannot_be_looked_at_does_not_hide_the_others(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    _trained(tmp_path / "trips", settings, registry, new_data="50 rows")
    other = make_pipeline(tmp_path / "gone", make_trips(200), define(name="gone", triggers={"new_data": "5 rows"}))
    train(other, settings)
    (tmp_path / "gone" / "data.parquet").unlink()

    found = {watched.pipeline: watched for watched in watch_all(registry, settings, utc_now())}

    assert found["trips"].trouble == ""
    assert "data.parquet" in found["gone"].trouble


@pytest.mark.parametrize("name", ["trips"])
def test_a_pipeline_without_a_champion_is_not_watched(
    tmp_path: Path, settings: Settings, registry: Registry, name: str
) -> None:
    pipeline = make_pipeline(tmp_path / name, make_trips(50), define(triggers={"new_data": "1 row", "on_change": True}))

    assert watch(registry, pipeline, settings, utc_now()).due == ()
