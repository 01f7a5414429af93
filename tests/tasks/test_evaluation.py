"""Challenger, champion and baseline on the same rows, whatever has changed between the two models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.errors import RunFailed
from base.references import Trigger
from base.settings import Settings
from registry.store import open_registry
from tasks.frames import load_frame
from tests.pipelines import CONTRACT, Trained, define, make_pipeline, make_trips, train

_COLUMNS = CONTRACT["columns"]


def _kinds(rows: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """Name each trip by its length: of a to d the nearest that there is."""
    letters = ["abcd"[int(distance // 5)] for distance in rows["distance"]]
    return [min(names, key=lambda name: abs(ord(name) - ord(letter))) for letter in letters]


def test_all_three_are_scored_on_the_newest_rows(settings: Settings, tmp_path: Path) -> None:
    trips = make_trips()
    train(make_pipeline(tmp_path / "trips", trips), settings)

    trained = train(make_pipeline(tmp_path / "trips", trips, define(evaluate={"slices": ["company"]})), settings)

    evaluation = trained.judged.evaluation
    losses = _losses(trained, settings)
    assert evaluation.n_rows == trained.judged.data.test.n_rows == len(losses) == 60
    points = {"target", "challenger_answer", "challenger_score", "champion_answer"}
    members = {f"slice_{index}" for index in range(len(evaluation.slices))}
    assert set(losses.columns) == {"challenger", "baseline", "champion"} | points | members
    for name, metrics in (
        ("challenger", evaluation.metrics),
        ("champion", evaluation.champion),
        ("baseline", evaluation.baseline),
    ):
        assert metrics is not None
        assert losses[name].mean() == pytest.approx(metrics["log_loss"])
    assert evaluation.champion_version == 1
    assert evaluation.champion == evaluation.metrics


def test_the_baseline_knows_nothing_of_the_rows_it_is_judged_on(settings: Settings, tmp_path: Path) -> None:
    trips = make_trips()
    trips.loc[340:, "late"] = True

    trained = train(make_pipeline(tmp_path / "trips", trips), settings)

    share = trips["late"].iloc[:340].astype(float).mean()
    assert trained.judged.evaluation.baseline["log_loss"] == pytest.approx(-np.log(share))


@pytest.mark.parametrize(("trigger", "promoted"), [("person", False), ("performance", True)])
def test_a_challenger_that_answers_as_the_champion_does_is_said_to(
    trigger: Trigger, promoted: bool, settings: Settings, tmp_path: Path
) -> None:
    pipeline = make_pipeline(tmp_path / "trips", make_trips())
    train(pipeline, settings)

    again = train(pipeline, settings, trigger=trigger)

    assert (again.judged.verdict.outcome, again.promotion.promoted) == ("cannot tell", promoted)
    assert "both give the same answers" in again.judged.verdict.reason


CHANGES: list[tuple[str, Callable[[pd.DataFrame], pd.DataFrame], dict[str, Any]]] = [
    ("an input that is gone", lambda trips: trips.drop(columns="passengers"), {"passengers": None}),
    ("an input that is new", lambda trips: trips.assign(wind=1.5), {"wind": {"type": "number"}}),
    (
        "an input of another type",
        lambda trips: trips.assign(passengers=trips["passengers"].astype("float")),
        {"passengers": {"type": "number"}},
    ),
]


@pytest.mark.parametrize(("change", "columns"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_a_champion_with_other_inputs_is_still_judged(
    change: Callable[[pd.DataFrame], pd.DataFrame], columns: dict[str, Any], settings: Settings, tmp_path: Path
) -> None:
    trips = make_trips()
    train(make_pipeline(tmp_path / "trips", trips), settings)
    changed = {name: rule for name, rule in (_COLUMNS | columns).items() if rule is not None}

    trained = train(make_pipeline(tmp_path / "trips", change(trips), contract={"columns": changed}), settings)

    assert trained.judged.evaluation.champion is not None
    assert trained.judged.verdict.outcome in ("better", "worse", "cannot tell")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("a", "b", "c"), ("a", "b")),
        (("a", "b"), ("a", "b", "c")),
        (("a", "b", "c"), ("b", "c", "d")),
        (("b", "c"), ("a", "b")),
    ],
)
def test_classes_may_come_and_go_between_versions(
    before: tuple[str, ...], after: tuple[str, ...], settings: Settings, tmp_path: Path
) -> None:
    trips = make_trips()
    contract = {"columns": _COLUMNS | {"late": {"type": "text"}}}
    tree = {"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 3, "min_samples_leaf": 10}}
    sections = define(train={"estimators": [tree]})
    old, new = (trips.assign(late=_kinds(trips, names)) for names in (before, after))
    train(make_pipeline(tmp_path / "trips", old, sections, contract=contract), settings)

    trained = train(make_pipeline(tmp_path / "trips", new, sections, contract=contract), settings)

    losses = _losses(trained, settings)
    assert trained.judged.evaluation.champion_version == 1
    assert np.isfinite(losses.astype("float64")).all(axis=None)
    # Where the rows' class is one that the champion never saw, it is as wrong as can be.
    newest = new["late"].iloc[-len(losses) :].reset_index(drop=True)
    unknown = ~newest.isin(before)
    assert (losses["champion"][unknown] > 13).all()
    is_same = (new["late"] == old["late"]).iloc[-len(losses) :].reset_index(drop=True)
    assert losses["champion"][is_same].median() < 1


def test_a_class_that_only_the_champion_knows_counts_for_it(settings: Settings, tmp_path: Path) -> None:
    trips = make_trips()
    contract = {"columns": _COLUMNS | {"late": {"type": "text"}}}
    every = trips.assign(late=_kinds(trips, ("a", "b", "c")))
    train(make_pipeline(tmp_path / "trips", every, contract=contract), settings)
    # The third class is gone from the rows to learn from, and comes back in the newest.
    without = every.assign(late=[name if row >= 340 or name != "c" else "b" for row, name in enumerate(every["late"])])

    trained = train(make_pipeline(tmp_path / "trips", without, contract=contract), settings)

    losses = _losses(trained, settings)
    is_third = (without["late"].iloc[-60:] == "c").reset_index(drop=True)
    assert trained.judged.data.classes == ("a", "b")
    assert (losses["challenger"][is_third] > 13).all()
    assert losses["champion"][is_third].mean() < 5


@pytest.mark.parametrize(
    "sections", [{"task": "regression", "target": "distance"}, {"target": "is_shared"}], ids=["task", "target"]
)
def test_a_champion_that_answers_another_question_is_not_compared(
    sections: dict[str, Any], settings: Settings, tmp_path: Path
) -> None:
    trips = make_trips()
    first = train(make_pipeline(tmp_path / "trips", trips), settings)
    prepare = {"exclude": ["late"]} | ({"numeric": ["passengers"]} if "task" in sections else {})
    estimator = "HistGradientBoostingRegressor" if "task" in sections else "HistGradientBoostingClassifier"

    changed = define(
        prepare=prepare, train={"estimators": [{"estimator": f"sklearn.ensemble.{estimator}"}]}, **sections
    )
    trained = train(make_pipeline(tmp_path / "trips", trips, changed), settings)

    assert first.promotion.promoted
    assert trained.judged.evaluation.champion is None
    assert trained.judged.verdict.outcome in ("first", "refused")
    assert trained.judged.verdict.champion_revision == 1


def test_a_champion_that_cannot_answer_ends_the_run_with_the_way_out(settings: Settings, tmp_path: Path) -> None:
    trips = make_trips()
    code = "def add_hour(frame):\n    assert frame['passengers'].notna().any(), 'nobody'\n    return frame\n"
    train(make_pipeline(tmp_path / "trips", trips, features=code), settings)
    columns = {name: rule for name, rule in _COLUMNS.items() if name != "passengers"}
    pipeline = make_pipeline(tmp_path / "trips", trips.drop(columns="passengers"), contract={"columns": columns})

    with pytest.raises(
        RunFailed, match=r"the champion, trips@1, cannot answer.*nobody.*\n.*everfit rollback trips --to"
    ):
        train(pipeline, settings)


def test_slices_are_the_frequent_values_of_a_column_or_a_feature(settings: Settings, tmp_path: Path) -> None:
    sections = define(evaluate={"slices": ["company", "hour", "weather"]})

    trained = train(make_pipeline(tmp_path / "trips", make_trips(1200), sections), settings)

    slices = trained.judged.evaluation.slices
    companies = {part.value: part for part in slices if part.column == "company"}
    assert set(companies) == {"red", "blue", "green"}
    assert all(part.n_rows >= 30 for part in slices)
    assert "weather" not in {part.column for part in slices}
    losses = _losses(trained, settings)
    rows = make_trips(1200).iloc[-len(losses) :].reset_index(drop=True)
    expected = losses["challenger"][(rows["company"] == "red").fillna(False)].mean()
    assert companies["red"].metrics["challenger_loss"] == pytest.approx(expected)


def _losses(trained: Trained, settings: Settings) -> pd.DataFrame:
    return load_frame(open_registry(settings).artifacts, trained.judged.evaluation.losses)


def test_rows_that_the_champion_learnt_from_do_not_judge_the_challenger(settings: Settings, tmp_path: Path) -> None:
    trips = make_trips()
    train(
        make_pipeline(tmp_path / "trips", trips, define(prepare={"split": {"validation": 0.1, "test": 0.1}})), settings
    )

    wider = define(prepare={"split": {"validation": 0.1, "test": 0.3}})
    trained = train(make_pipeline(tmp_path / "trips", trips, wider), settings)

    evaluation = trained.judged.evaluation
    assert trained.judged.data.test.n_rows == 120
    assert evaluation.n_rows == len(_losses(trained, settings)) == 40
    assert evaluation.n_seen_by_champion == 0


def test_a_champion_that_learnt_from_all_the_rows_leaves_the_gate_unable_to_tell(
    settings: Settings, tmp_path: Path
) -> None:
    trips = make_trips()
    train(make_pipeline(tmp_path / "trips", trips), settings)

    trained = train(make_pipeline(tmp_path / "trips", trips.iloc[:200]), settings)

    verdict = trained.judged.verdict
    assert trained.judged.evaluation.n_seen_by_champion == 30
    assert verdict.outcome == "cannot tell"
    assert not verdict.promote
    assert "all of which the champion has learnt from" in verdict.reason
