"""Right after a change of the world: what the newest rows say of a recipe, and what the gate makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from base.artifacts import Artifact
from base.expectations.asking import ExpectationsProcess
from base.gate.verdicts import GateInputs
from base.judged import Judged, Verdict
from base.pipeline import Pipeline
from base.references import Trigger
from base.settings import Settings
from base.train_spec import TrainingWindow
from base.user_code import UserCode
from registry.store import Registry
from tasks.data_validation import validate_data
from tasks.evaluation import Champion, evaluate_model
from tasks.extraction import extract_data
from tasks.folds import load_timeline
from tasks.frames import load_frame
from tasks.full_model import fit_on_all
from tasks.gate_evidence import gate_inputs
from tasks.model_validation import make_refits, make_trial, validate_model
from tasks.packaging import package_model
from tasks.preparation import prepare_data
from tasks.refit import decide_last
from tasks.training import champion_race, train_candidates
from tests.pipelines import define, make_pipeline, make_trips, train

_FOREST = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 30}}


@dataclass(frozen=True)
class _Challenge:
    """A challenger that was judged beside a champion, and what the gate said."""

    pipeline: Pipeline
    judged: Judged

    @property
    def verdict(self) -> Verdict:
        return self.judged.verdict


def _challenge(
    folder: Path,
    settings: Settings,
    registry: Registry,
    trips: pd.DataFrame,
    *,
    trigger: Trigger = "schedule",
    tries: bool = True,
    **definition: Any,
) -> _Challenge:
    """Train a champion on the first 3,300 trips and a challenger on all, and let the gate decide."""
    document = define(train={"estimators": [_FOREST]}, **definition)
    first = train(make_pipeline(folder, trips.iloc[:3_300], document), settings)
    pipeline = make_pipeline(folder, trips, document)
    spec, artifacts, code = pipeline.spec, registry.artifacts, UserCode(pipeline.code)
    expectations = ExpectationsProcess()
    snapshot = extract_data(pipeline, artifacts, code=code, as_of=None, settings=settings)
    validated = validate_data(snapshot, pipeline, artifacts, expectations)
    data = prepare_data(validated, pipeline, artifacts, code=code)
    timeline = load_timeline(data, validated.good, spec, artifacts)
    candidates = train_candidates(data, spec.train, artifacts, task=spec.task, threads=1, timeline=timeline)
    champion = Champion(1, first.manifest)
    evaluation = evaluate_model(candidates, data, validated, pipeline, artifacts, champion=champion)
    known = candidates, data, validated, evaluation, spec, artifacts
    verdict = validate_model(
        evaluation,
        spec,
        artifacts,
        trigger=trigger,
        champion_revision=1,
        refits=make_refits(*known),
        trial=make_trial(*known) if tries else None,
    )
    judged = Judged(
        snapshot=snapshot,
        validated=validated,
        data=data,
        candidates=candidates,
        evaluation=evaluation,
        verdict=verdict,
    )
    return _Challenge(pipeline, judged)


def _flipped() -> pd.DataFrame:
    trips = make_trips(4_000, noise=0.05)
    turned = trips.index >= 3_400
    trips.loc[turned, "late"] = ~trips.loc[turned, "late"]
    return trips


@pytest.mark.parametrize("trigger", ["schedule", "drift"])
def test_right_after_a_flip_a_challenger_is_promoted_by_what_its_recipe_does_with_newer_rows(
    trigger: Trigger, settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    found = _challenge(tmp_path / "trips", settings, registry, _flipped(), trigger=trigger)

    verdict = found.verdict
    assert (verdict.outcome, verdict.promote) == ("better", True)
    assert verdict.interval is not None
    assert verdict.interval[1] >= 0, "neither knows the new world, and the rows alone do not speak for the challenger"
    assert verdict.trial is not None
    assert verdict.trial.loss < verdict.trial.rival / 2
    assert verdict.trial.n_rows == verdict.n_rows // 2
    assert "the world has changed" in verdict.reason
    full = fit_on_all(
        found.judged, found.pipeline, registry.artifacts, code=UserCode(found.pipeline.code), settings=settings
    )
    assert full.problem is None
    assert full.window == verdict.trial.window
    stored = gate_inputs(found.judged, found.pipeline.spec, registry.artifacts, trigger)
    given = GateInputs.model_validate_json(registry.artifacts.read_bytes(Artifact(**stored["gate"])))
    assert given.decide(load_frame(registry.artifacts, found.judged.evaluation.losses)) == verdict


def test_without_a_trial_the_champion_would_stay(settings: Settings, registry: Registry, tmp_path: Path) -> None:
    verdict = _challenge(tmp_path / "trips", settings, registry, _flipped(), tries=False).verdict

    assert (verdict.outcome, verdict.promote, verdict.trial) == ("worse", False, None)


@pytest.mark.parametrize("groups", [(), ("passengers",)], ids=["a quiet world", "groups in both halves"])
def test_where_nothing_has_changed_or_no_rows_can_be_kept_apart_nothing_is_tried(
    groups: tuple[str, ...], settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    trips = _flipped() if groups else make_trips(4_000, noise=0.05)
    prepare = {"features": ["features:add_hour"], "split": {"groups": list(groups)}}

    verdict = _challenge(tmp_path / "trips", settings, registry, trips, prepare=prepare).verdict

    assert (verdict.promote, verdict.trial) == (False, None)


def test_a_verdict_that_a_trial_has_won_falls_where_the_judged_model_is_deployed(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    found = _challenge(tmp_path / "trips", settings, registry, _flipped())
    spec, artifacts = found.pipeline.spec, registry.artifacts

    full, sibling = (
        decide_last(found.judged, spec, artifacts, None, "schedule", deployed=deployed)
        for deployed in ("full", "sibling")
    )

    assert full == found.verdict
    assert (sibling.outcome, sibling.promote, sibling.trial) == ("worse", False, None)


def test_where_the_judged_model_is_to_be_deployed_nothing_is_tried(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    gate = {"deploy": "sibling"}

    verdict = _challenge(tmp_path / "trips", settings, registry, _flipped(), validate_model=gate).verdict

    assert (verdict.promote, verdict.trial) == (False, None)


@pytest.mark.parametrize(("gap", "is_tried"), [("0 hours", True), ("200 hours", True), ("400 hours", False)])
def test_where_labels_come_too_late_for_the_older_half_nothing_is_tried(
    gap: str, is_tried: bool, settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    prepare = {"features": ["features:add_hour"], "split": {"gap": gap}}

    verdict = _challenge(tmp_path / "trips", settings, registry, _flipped(), prepare=prepare).verdict

    assert verdict.n_rows == 600
    assert (verdict.trial is not None) == is_tried


def test_where_the_challenger_is_the_champion_over_again_newer_rows_are_tried(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    found = _challenge(tmp_path / "trips", settings, registry, make_trips(4_000, noise=0.05))
    judged, artifacts = found.judged, registry.artifacts
    losses = load_frame(artifacts, judged.evaluation.losses)
    tries = make_trial(
        judged.candidates, judged.data, judged.validated, judged.evaluation, found.pipeline.spec, artifacts
    )

    trial = tries(losses.assign(champion=losses["challenger"]))

    assert tries(losses) is None
    assert trial is not None
    assert (trial.occasion, trial.window.window) == ("one model", judged.candidates.recipe.window)
    assert trial.n_rows == len(losses) // 2
    assert not trial.is_better, "a quiet world: newer rows are worth nothing"


def test_a_version_carries_its_race_and_the_next_training_goes_by_it(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    found = _challenge(tmp_path / "trips", settings, registry, make_trips(4_000, noise=0.05))
    judged, spec, artifacts = found.judged, found.pipeline.spec, registry.artifacts

    manifest = package_model(judged, found.pipeline, registry, code=UserCode(found.pipeline.code), trusted=())
    past = champion_race(spec, manifest)
    again = train_candidates(
        judged.data,
        spec.train,
        artifacts,
        task=spec.task,
        threads=1,
        timeline=load_timeline(judged.data, judged.validated.good, spec, artifacts),
        past=past,
    )

    assert manifest.race is not None
    assert judged.candidates.window is not None
    assert manifest.race.window == judged.candidates.window.window
    assert [each.losses for each in manifest.race.raced] == [each.losses for each in judged.candidates.window.raced]
    assert {each.seconds for each in manifest.race.raced} == {0.0}
    assert manifest.race.until is not None
    assert again.window is not None
    assert "as the champion" in again.window.reason
    assert again.window.is_held
    assert again.recipe == judged.candidates.recipe
    declared = spec.model_copy(update={"train": spec.train.model_copy(update={"window": TrainingWindow()})})
    assert champion_race(declared, manifest) is None
    assert champion_race(spec, None) is None
