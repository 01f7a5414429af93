"""A search: what is drawn, who goes on, what a budget leaves, and that a seed decides alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.candidates import Recipe
from base.errors import DefinitionError
from base.train_spec import EstimatorSpec, Range, SearchSpec
from tasks.fit_jobs import OUT_OF_BUDGET, FitJob, FitResult
from tasks.search import OUT_OF_FITS, RunJobs, draw_parameters, enter_candidates, plan_size, search

_TREE = EstimatorSpec(
    estimator="sklearn.tree.DecisionTreeRegressor",
    search={"max_depth": Range(low=1, high=9, int=True), "min_samples_leaf": Range(low=1, high=99, int=True)},
)
_RIDGE = EstimatorSpec(estimator="sklearn.linear_model.Ridge", search={"alpha": Range(low=0.01, high=100, log=True)})


def _by_depth(asked: list[FitJob], *, failing: int | None = None, budget: int = 10_000) -> RunJobs:
    """Let a fit's loss be its depth (0 where none is given), and remember what was asked."""

    def run(jobs: Sequence[FitJob]) -> list[FitResult]:
        results = []
        for job in jobs:
            asked.append(job)
            depth = job.parameters.get("max_depth", 0)
            if len(asked) > budget:
                results.append(FitResult(error=OUT_OF_BUDGET, ran_out=True))
            elif depth == failing:
                results.append(FitResult(error="ArithmeticError: no luck", seconds=0.1))
            else:
                results.append(FitResult(loss=depth + job.fold / 100, seconds=0.1, n_rows=10))
        return results

    return run


@given(
    low=st.integers(-50, 50), width=st.integers(1, 50), whole=st.booleans(), log=st.booleans(), seed=st.integers(0, 99)
)
def test_what_is_drawn_lies_in_its_range(low: int, width: int, whole: bool, log: bool, seed: int) -> None:
    start = abs(low) + 1 if log else low
    space = Range(low=start, high=start + width, log=log, int=whole)

    drawn = draw_parameters(EstimatorSpec(estimator="a.B", search={"x": space}), np.random.default_rng(seed))["x"]

    assert space.low <= drawn <= space.high
    assert isinstance(drawn, int) == whole


@given(seed=st.integers(0, 2**32 - 1), n_candidates=st.integers(1, 30))
def test_equal_seeds_draw_the_same_and_nothing_twice(seed: int, n_candidates: int) -> None:
    first, second = (enter_candidates([_TREE, _RIDGE], n_candidates, seed=seed) for _ in range(2))

    assert first == second
    assert len(first) == max(2, n_candidates)
    assert len({(one.estimator, str(one.parameters)) for one in first}) == len(first)


def test_the_champion_is_a_candidate_where_its_estimator_is_still_declared() -> None:
    champion = Recipe(estimator=_TREE.estimator, parameters={"max_depth": 5})

    assert enter_candidates([_TREE], 3, seed=0, champion=champion)[0].origin == "champion"
    assert [one.origin for one in enter_candidates([_RIDGE], 3, seed=0, champion=champion)] == [
        "declared",
        "drawn",
        "drawn",
    ]


@given(method=st.sampled_from(["random", "halving"]), fits=st.integers(1, 80), n_folds=st.integers(1, 4))
def test_a_budget_of_fits_is_kept(method: str, fits: int, n_folds: int) -> None:
    asked: list[FitJob] = []
    spec = SearchSpec(method=method, fits=max(fits, n_folds))
    entrants = enter_candidates([_TREE], plan_size(spec, n_folds, 9_000), seed=1)

    search(entrants, spec, _by_depth(asked), n_folds=n_folds, n_rows=9_000)

    assert len(asked) <= spec.fits
    assert any(one.loss is not None for one in entrants)


def test_halving_gives_the_newest_ninth_to_all_and_everything_to_the_best_and_the_champion() -> None:
    asked: list[FitJob] = []
    spec = SearchSpec(method="halving", fits=60)
    champion = Recipe(estimator=_TREE.estimator, parameters={"max_depth": 9, "min_samples_leaf": 99})
    entrants = enter_candidates([_TREE], 9, seed=0, champion=champion)

    search(entrants, spec, _by_depth(asked), n_folds=2, n_rows=9_000)

    last = {(job.parameters.get("max_depth", 0), job.parameters.get("min_samples_leaf")) for job in asked[-6:]}
    assert [round(job.share, 2) for job in asked[:18]] == [0.11] * 18
    assert {job.share for job in asked[-6:]} == {1.0}
    assert last > {(0, None), (9, 99)}
    finalist = next(one for one in entrants if one.parameters == {}).candidate()
    assert finalist.curves[0].over == "shares"
    assert len(finalist.curves[0].steps) == 3


def test_a_candidate_that_fails_is_not_fitted_on_older_folds_and_the_others_go_on() -> None:
    asked: list[FitJob] = []
    entrants = enter_candidates([_TREE], 12, seed=0)
    failing = entrants[3].parameters["max_depth"]

    search(entrants, SearchSpec(fits=36), _by_depth(asked, failing=failing), n_folds=3, n_rows=900)

    failed = [one for one in entrants if one.parameters.get("max_depth") == failing]
    assert {one.error for one in failed} == {"ArithmeticError: no luck"}
    assert {one.n_fits for one in failed} == {1}
    assert all(len(one.results) == 3 for one in entrants if one not in failed)


def test_a_search_that_ran_out_has_the_best_so_far() -> None:
    asked: list[FitJob] = []
    entrants = enter_candidates([_TREE], 10, seed=0)

    search(entrants, SearchSpec(fits=30), _by_depth(asked, budget=14), n_folds=3, n_rows=900)

    complete = [one for one in entrants if len(one.results) == 3]
    losses = [one.results[-1].loss or 0.0 for one in entrants]
    assert len(complete) == 2
    assert sorted(losses)[:2] == sorted(one.results[-1].loss or 0.0 for one in complete)


def test_fits_that_nobody_can_pay_for_are_told() -> None:
    entrants = enter_candidates([_TREE], 5, seed=0)

    search(entrants, SearchSpec(fits=4), _by_depth([]), n_folds=2, n_rows=900)

    assert [one.error for one in entrants] == [None, None, OUT_OF_FITS, OUT_OF_FITS, OUT_OF_FITS]


@pytest.mark.parametrize("origin", ["declared", "drawn"])
def test_a_wrong_definition_ends_the_search_only_where_it_was_declared(origin: str) -> None:
    entrants = enter_candidates([_TREE], 2, seed=0)
    wrong = next(one for one in entrants if one.origin == origin)

    def run(jobs: Sequence[FitJob]) -> list[FitResult]:
        return [
            FitResult(error="max_depth is wrong", wrong_definition=True)
            if job.parameters == wrong.parameters
            else FitResult(loss=1.0)
            for job in jobs
        ]

    if origin == "declared":
        with pytest.raises(DefinitionError, match="max_depth is wrong"):
            search(entrants, SearchSpec(), run, n_folds=1, n_rows=900)
    else:
        search(entrants, SearchSpec(), run, n_folds=1, n_rows=900)
        assert wrong.error == "max_depth is wrong"


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"parameters": {"x": 1}, "search": {"x": [1, 2]}}, "a parameter has one place"),
        ({"search": {"x": {"low": 2, "high": 1}}}, "is not below high"),
        ({"search": {"x": {"low": 0, "high": 1, "log": True}}}, "has no logarithm"),
        ({"search": {"x": {"low": 0.5, "high": 2, "int": True}}}, "whole numbers"),
        ({"search": {"x": []}}, "at least one value"),
    ],
)
def test_a_space_that_cannot_be_drawn_from_is_refused(section: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        EstimatorSpec.model_validate({"estimator": "a.B", **section})
