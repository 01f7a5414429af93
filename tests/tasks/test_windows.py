"""The race of windows: the past that pays wins, ties go to the longer one, and without time there is no race."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.candidates import PastRace, RacedWindow, Recipe, WindowChoice
from base.errors import RunFailed
from base.train_spec import EstimatorSpec, TrainingWindow, TrainSpec
from tasks import windows
from tasks.fit_jobs import Ground
from tasks.fits import select_window
from tasks.folds import Timeline, make_folds
from tasks.prepared_rows import TARGET
from tasks.windows import EXPANDING, Race, cut_after, hold_race, race_windows
from tests.tasks.test_folds import make_data

_TREE = EstimatorSpec(
    estimator="sklearn.tree.DecisionTreeRegressor", parameters={"max_depth": 4, "min_samples_leaf": 5}
)


def _race(frame: pd.DataFrame, *, moments: bool = True, spec: EstimatorSpec = _TREE) -> Race:
    data = make_data(len(frame))
    timeline = Timeline(np.arange(len(frame)) if moments else None)
    ground = Ground(data=data, task="regression", seed=0, folds=data.artifact)
    return Race(spec, ground, frame, make_folds(data, timeline, 1)[-1], timeline)


def _rows(n_rows: int, *, turns_at: int | None, seed: int = 0) -> pd.DataFrame:
    """Draw rows whose target is the feature, or minus it before the turn."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=n_rows)
    sign = np.where(np.arange(n_rows) < (turns_at or 0), -1, 1)
    return pd.DataFrame({"x": x.astype(np.float32), TARGET: sign * x + draw.normal(0, 0.1, n_rows)})


def test_a_past_that_has_changed_is_left_behind() -> None:
    choice = race_windows(_race(_rows(5_000, turns_at=2_500)))

    assert choice.window == TrainingWindow(rows=1_000)
    assert [len(each.losses) for each in choice.raced] == [3, 3, 3]
    assert "the newest 1,000 rows: mean loss" in choice.reason


def test_a_past_that_holds_still_is_kept() -> None:
    assert race_windows(_race(_rows(5_000, turns_at=None))).window == EXPANDING


@pytest.mark.parametrize(
    ("champion", "raced"),
    [
        (None, [None, 2_000, 1_000]),
        (EXPANDING, [None, 2_000, 1_000]),
        (TrainingWindow(rows=3_000), [None, 2_000, 1_000, 3_000]),
        (TrainingWindow(rows=1_900), [None, 1_900, 1_000]),
        (TrainingWindow(rows=1_200), [None, 2_000, 1_200]),
        (TrainingWindow(rows=500), [None, 2_000, 1_000, 500]),
        (TrainingWindow.read("30 days"), [None, 2_000, 1_000, None]),
    ],
)
def test_the_champions_window_takes_part_or_the_place_of_the_part_that_it_nearly_is(
    champion: TrainingWindow | None, raced: list[int | None]
) -> None:
    choice = race_windows(_race(_rows(5_000, turns_at=2_000)), champion=champion)

    assert [each.window.rows for each in choice.raced] == raced
    assert champion is None or champion in [each.window for each in choice.raced]


def test_equal_rows_and_seed_give_an_equal_choice() -> None:
    first, second = (race_windows(_race(_rows(5_000, turns_at=2_500))) for _ in range(2))

    assert first.model_dump(exclude={"raced"}) == second.model_dump(exclude={"raced"})
    assert [each.losses for each in first.raced] == [each.losses for each in second.raced]


@pytest.mark.parametrize(
    ("n_rows", "moments", "told"), [(5_000, False, "the rows have no time"), (1_000, True, "are too few")]
)
def test_where_there_can_be_no_race_the_record_says_why(n_rows: int, moments: bool, told: str) -> None:
    choice = race_windows(_race(_rows(n_rows, turns_at=500), moments=moments))

    assert (choice.window, choice.raced) == (EXPANDING, ())
    assert told in choice.reason


def test_a_probe_that_fails_leaves_all_history() -> None:
    broken = EstimatorSpec(estimator="sklearn.neighbors.KNeighborsRegressor", parameters={"n_neighbors": 100_000})

    choice = race_windows(_race(_rows(5_000, turns_at=2_500), spec=broken))

    assert choice.window == EXPANDING
    assert "no probe could be fitted" in choice.reason


@given(losses=st.lists(st.floats(0.5, 2), min_size=1, max_size=5))
def test_the_winner_is_within_a_hundredth_of_the_least_and_none_longer_is(losses: list[float]) -> None:
    raced = [
        RacedWindow(window=TrainingWindow(rows=number + 1), n_rows=number + 1, losses=(loss,))
        for number, loss in enumerate(losses)
    ]

    winner = windows._pick(raced)

    assert winner.losses[0] <= min(losses) * 1.01 + 1e-12
    assert all(each.losses[0] > min(losses) * 1.01 for each in raced if each.n_rows > winner.n_rows)


@given(n_rows=st.integers(1, 60), kept=st.integers(1, 80), seed=st.integers(0, 99))
def test_a_window_of_rows_keeps_the_newest(n_rows: int, kept: int, seed: int) -> None:
    moments = np.random.default_rng(seed).permutation(n_rows)

    chosen = select_window(TrainingWindow(rows=kept), n_rows, moments)

    assert sorted(moments[chosen]) == list(range(max(0, n_rows - kept), n_rows))


def test_a_span_without_a_time_is_refused() -> None:
    with pytest.raises(RunFailed, match="the rows have no time"):
        select_window(TrainingWindow.read("90 days"), 10)


@pytest.mark.parametrize(
    ("text", "written"), [("auto", "auto"), ("expanding", "expanding"), ("50,000 rows", "50000 rows"), ("90 days",) * 2]
)
def test_a_window_reads_as_it_was_written(text: str, written: str) -> None:
    spec = TrainSpec.model_validate({"window": text})

    assert spec.model_dump(mode="json")["window"] == written
    assert TrainSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("text", ["soon", "0 rows", "0 days", "-5 rows"])
def test_a_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|greater"):
        TrainSpec.model_validate({"window": text})


def test_an_older_record_has_no_window() -> None:
    assert WindowChoice.model_validate({"window": {}, "reason": ""}).window == EXPANDING


@pytest.mark.parametrize(
    ("n_newer", "rows", "holds"),
    [(0, None, True), (499, None, True), (500, None, False), (99, 200, True), (100, 200, False), (499, 5_000, True)],
    ids=["same rows", "few are new", "half is new", "few for 200 rows", "many for 200 rows", "long"],
)
def test_a_champions_race_holds_while_much_the_same_rows_would_judge(
    n_newer: int, rows: int | None, holds: bool
) -> None:
    race = _race(_rows(5_000, turns_at=None))
    newest = int(race.fold.judged[-1])
    until = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=newest - n_newer)
    choice = WindowChoice(window=TrainingWindow(rows=rows), reason="it lost least", until=until)
    recipe = Recipe(estimator=_TREE.estimator, parameters=_TREE.parameters)

    held = hold_race(PastRace(recipe=recipe, choice=choice), race.fold, race.timeline)

    assert len(race.fold.judged) == 1_000
    assert (held is not None) == holds
    if held is not None:
        assert held.window == choice.window
        assert f"{n_newer:,} are newer" in held.reason


def test_a_race_is_of_its_recipe_and_its_features() -> None:
    recipe = Recipe(estimator=_TREE.estimator, parameters=_TREE.parameters)
    past = PastRace(recipe=recipe, choice=_choice(None, 1), features=("x",))

    assert past.is_of(_TREE.estimator, _TREE.parameters, ("x",))
    assert not past.is_of(_TREE.estimator, _TREE.parameters | {"max_depth": 5}, ("x",))
    assert not past.is_of("sklearn.tree.ExtraTreeRegressor", _TREE.parameters, ("x",))
    assert not past.is_of(_TREE.estimator, _TREE.parameters, ("x", "y"))


def test_a_race_tells_of_when_its_newest_judged_row_was_and_one_on_the_same_rows_holds() -> None:
    race = _race(_rows(5_000, turns_at=2_500))
    choice = race_windows(race)
    recipe = Recipe(estimator=_TREE.estimator, parameters=_TREE.parameters, window=choice.window)

    held = hold_race(PastRace(recipe=recipe, choice=choice), race.fold, race.timeline)

    assert held is not None
    assert held.is_held
    assert held.model_copy(update={"reason": "", "is_held": False}) == choice.model_copy(update={"reason": ""})


def test_where_there_was_no_race_none_holds() -> None:
    race = _race(_rows(500, turns_at=None))
    choice = race_windows(race)
    recipe = Recipe(estimator=_TREE.estimator, parameters=_TREE.parameters)

    assert choice.until is None
    assert hold_race(PastRace(recipe=recipe, choice=choice), race.fold, race.timeline) is None


def test_after_a_change_a_window_as_long_as_the_newest_rows_is_raced_with_few_rows() -> None:
    race = _race(_rows(600, turns_at=400))

    choice = race_windows(race, has_few=True, n_newest=70)

    assert race_windows(race).raced == ()
    assert [each.window.rows for each in choice.raced] == [None, 240, 120, 70]
    assert choice.window.rows == 70
    raced_too = race_windows(race, has_few=True, n_newest=200)
    assert [each.window.rows for each in raced_too.raced] == [None, 240, 120]


@pytest.mark.parametrize(
    ("since", "until", "cut"),
    [(3_999, 4_100, None), (4_000, 4_100, None), (4_001, 4_499, 4_500), (4_600, 4_999, 5_000), (None, 4_999, None)],
    ids=["older", "as old", "newer", "no row since", "of an older version"],
)
def test_where_the_champions_race_knew_newer_rows_the_next_one_follows_on_it(
    since: int | None, until: int, cut: int | None
) -> None:
    race = _race(_rows(5_000, turns_at=None))
    assert race.fold.judged[0] == 4_000
    past = PastRace(recipe=Recipe(estimator="a.B", parameters={}), choice=_choice(since, until))

    fold = cut_after(past, race.fold, Timeline(race.timeline.moments, gap=10))

    if cut is None:
        assert fold is race.fold
        return
    np.testing.assert_array_equal(fold.judged, np.arange(cut, 5_000))
    # Its targets were known by then; where nothing is newer, the champion's race holds.
    assert len(fold.learnt) == (5_000 if cut == 5_000 else cut - 9)
    held = hold_race(past, fold, race.timeline)
    assert (held is not None) == (cut == 5_000)
    assert held is None or "no row is newer" in held.reason


def _choice(since: int | None, until: int) -> WindowChoice:
    first = datetime(1970, 1, 1, tzinfo=UTC)
    return WindowChoice(
        window=TrainingWindow(rows=100),
        reason="it lost least",
        since=None if since is None else first + timedelta(microseconds=since),
        until=first + timedelta(microseconds=until),
    )
