"""Claims about walks: labels are seen after their horizon and not before, limits hold, and a stop changes nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.errors import ArgumentError
from base.triggers_spec import TriggersSpec
from tasks.backtest.policies import Policy
from tasks.backtest.walk import Ground, Walk
from tasks.backtest.walk_state import WalkState
from tests.pipelines import TREE, make_pipeline
from tests.tasks.backtest.histories import DELAY, START, WEEK, definition, make_ground, make_history, walk_whole


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("history")
    return make_ground(make_pipeline(folder / "trips", make_history(9), definition()), folder)


def _policy(name: str = "own", **triggers: Any) -> Policy:
    return Policy(name=name, triggers=TriggersSpec(**triggers))


EVERY = Policy(name="every window", every=1)
NEVER = _policy("never", policy="none")


def test_a_training_has_seen_only_what_was_labelled_by_then(ground: Ground) -> None:
    walk = walk_whole(EVERY, ground)

    for reign in walk.state.reigns:
        assert reign.learnt_until is not None
        assert reign.learnt_until <= reign.since - DELAY
    trained = [done.training.started_at for done in walk.state.done[1:]]
    assert trained == [span[1] + DELAY for span in ground.history.spans]


def test_a_window_is_lost_by_who_served_it(ground: Ground) -> None:
    walk = walk_whole(EVERY, ground)
    history, artifacts = ground.history, ground.artifacts

    for window in walk.state.windows:
        rows = history.slice_of((window.start, window.stop))
        who = [
            next(reign for reign in reversed(walk.state.reigns) if reign.since <= moment)
            for moment in history.event_times.iloc[rows]
        ]
        by_version = {
            reign.number: ground.answers.losses(reign.load(artifacts), rows).units for reign in walk.state.reigns
        }
        losses = [by_version[reign.number][place] for place, reign in enumerate(who)]
        assert window.loss == pytest.approx(np.mean(losses))
        assert window.n_labelled == rows.stop - rows.start


def test_a_change_makes_every_window_better_than_never(ground: Ground) -> None:
    never, every = walk_whole(NEVER, ground), walk_whole(EVERY, ground)

    assert [done.verdict for done in never.state.done] == ["first"]
    lost = [np.mean([window.loss for window in walk.state.windows]) for walk in (never, every)]
    assert lost[1] < lost[0]
    assert len(every.state.reigns) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "triggers", [{"policy": "level"}, {"price": 0.05}, {"schedule": "0 5 * * 1", "policy": "none"}]
)
def test_a_walk_that_stops_and_goes_on_is_the_same_walk(triggers: dict[str, Any], ground: Ground) -> None:
    policy = _policy(**triggers)
    whole = walk_whole(policy, ground, price=0.05)

    state = None
    for until in (1, 3, 4, 6, 100):
        walk = Walk(policy, policy.apply(ground.history.pipeline, price=0.05), ground, state)
        walk.begin()
        walk.go(walk.steps_before(until))
        state = WalkState.model_validate_json(walk.state.model_dump_json())

    assert state is not None
    assert [window.model_copy(update={"train_seconds": 0.0}) for window in state.windows] == [
        window.model_copy(update={"train_seconds": 0.0}) for window in whole.state.windows
    ]
    assert [(done.verdict, done.number) for done in state.done] == [
        (done.verdict, done.number) for done in whole.state.done
    ]


def test_a_cooldown_holds_back_what_the_level_asks_for(ground: Ground) -> None:
    free = walk_whole(_policy(policy="level"), ground)
    held = walk_whole(_policy(policy="level", cooldown="300 days"), ground)

    assert any(window.ruling == "start" for window in free.state.windows)
    rulings = {window.ruling for window in held.state.windows if window.asked}
    assert rulings == {"suppress"}
    assert len(held.state.done) == 1


def test_quiet_hours_put_a_training_off_to_their_end(ground: Ground) -> None:
    spec = {"schedule": "0 2 * * 1", "policy": "none", "quiet_hours": "22:00-06:00"}

    walk = walk_whole(_policy(**spec), ground)

    times = {(done.training.started_at.hour, done.training.started_at.minute) for done in walk.state.done[1:]}
    assert times == {(6, 0)}


def test_new_rows_and_age_ask_in_a_backtest_too(ground: Ground) -> None:
    rows = walk_whole(_policy(policy="none", new_data="300 rows"), ground)
    age = walk_whole(_policy(policy="none", staleness="15 days"), ground)

    assert {done.training.trigger for done in rows.state.done[1:]} == {"new_data"}
    assert {done.training.trigger for done in age.state.done[1:]} == {"staleness"}


def test_evidently_s_signal_asks_as_drift(ground: Ground) -> None:
    walk = walk_whole(Policy(name="evidently", signal="evidently"), ground)

    asked = [window for window in walk.state.windows if window.asked]
    assert all(window.asked == "drift" and "Evidently calls" in window.reason for window in asked)


def test_a_history_shorter_than_the_label_delay_is_refused(tmp_path: Path) -> None:
    pipeline = make_pipeline(
        tmp_path / "trips", make_history(1), definition(extract={"source": "data.parquet", "label_delay": "900 days"})
    )

    with pytest.raises(ArgumentError, match=r"not longer than the label delay of 900 days"):
        make_ground(pipeline, tmp_path)


def test_a_history_without_a_time_is_refused(tmp_path: Path) -> None:
    pipeline = make_pipeline(
        tmp_path / "trips", make_history(1), definition(time=None, extract={"source": "data.parquet"})
    )

    with pytest.raises(ArgumentError, match="has no time"):
        make_ground(pipeline, tmp_path)


def test_too_few_windows_are_refused_with_the_way_out(tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "trips", make_history(2), definition())

    with pytest.raises(ArgumentError, match=r"there are \d windows .* shorten monitor\.window"):
        make_ground(pipeline, tmp_path)


def test_a_gap_of_months_is_told_and_has_no_windows(tmp_path: Path) -> None:
    trips = make_history(20, changes_in=None)
    is_away = trips["at"].between(pd.Timestamp(START + 5 * WEEK), pd.Timestamp(START + 13 * WEEK))
    pipeline = make_pipeline(tmp_path / "trips", trips[~is_away], definition())

    ground = make_ground(pipeline, tmp_path)

    assert [note for note in ground.history.document.notes if "no row from" in note]
    assert len(ground.history.spans) in (11, 12)
    walk = walk_whole(EVERY, ground)
    assert all(window.loss is not None for window in walk.state.windows)


def test_of_many_gaps_the_longest_is_told(tmp_path: Path) -> None:
    trips = make_history(60, changes_in=None)
    weeks = (trips["at"] - pd.Timestamp(START)) // WEEK
    is_away = weeks.mod(10).between(5, 9) & (weeks > 0) | weeks.isin([10, 11])
    pipeline = make_pipeline(tmp_path / "trips", trips[~is_away], definition())

    notes = [note for note in make_ground(pipeline, tmp_path).history.document.notes if "no row" in note]

    assert notes == [
        "there is no row in 5 stretches, the longest from 2013-04-08 to 2013-05-27; no window was walked there"
    ]


def test_unordered_and_repeated_times_change_nothing(tmp_path: Path, ground: Ground) -> None:
    shuffled = make_history(9).sample(frac=1, random_state=1)
    again = make_ground(make_pipeline(tmp_path / "trips", shuffled, definition()), tmp_path)

    losses = [[window.loss for window in walk_whole(NEVER, each).state.windows] for each in (ground, again)]

    assert losses[0] == losses[1]


def test_a_window_of_one_class_is_walked(tmp_path: Path) -> None:
    trips = make_history(5, changes_in=None)
    is_third = trips["at"].between(pd.Timestamp(START + 2 * WEEK), pd.Timestamp(START + 3 * WEEK - timedelta(hours=1)))
    trips["late"] = trips["late"].where(~is_third, other=False)
    ground = make_ground(make_pipeline(tmp_path / "trips", trips, definition()), tmp_path)

    walk = walk_whole(_policy(price=0.1), ground)

    assert all(window.loss is not None for window in walk.state.windows)


def test_a_first_champion_that_cannot_be_trained_names_the_way_out(tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "trips", make_history(4), definition())
    ground = make_ground(pipeline, tmp_path, start=make_history(1)["at"].iloc[30].to_pydatetime())

    with pytest.raises(ArgumentError, match="--from"):
        walk_whole(EVERY, ground)


def test_a_world_that_turned_round_is_learnt_from_its_own_rows(tmp_path: Path) -> None:
    trips = make_history(12, changes_in=None)
    turned = trips["at"] >= pd.Timestamp(START + 5 * WEEK)
    trips["late"] = trips["late"].where(~turned, ~trips["late"])
    raced = definition(train={"estimators": [TREE]})
    ground = make_ground(make_pipeline(tmp_path / "trips", trips, raced), tmp_path)

    walk = walk_whole(EVERY, ground)

    losses = [window.loss or 0.0 for window in walk.state.windows]
    assert losses[5] > 0.7
    # The training after the first turned week serves from the middle of the second one on.
    assert max(losses[7:]) < 0.25
    windows = [reign.load(ground.artifacts).window for reign in walk.state.reigns]
    rows = [None if window is None else window.rows for window in windows]
    assert rows[:6] == [None] * 6
    # It learns from the turned week alone; later ones hold on to it or grow, and go by no race from before the turn.
    assert rows[6] == 168
    assert all(each is not None and each <= 7 * 168 for each in rows[6:])
