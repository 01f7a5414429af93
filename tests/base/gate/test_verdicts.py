"""The verdict: three outcomes, policies on what cannot be told, checks that refuse, and the same when decided again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from base.artifacts import Artifact
from base.candidates import WindowChoice
from base.gate.verdicts import GateInputs, decide_verdict
from base.gate_spec import ValidateModelSpec
from base.judged import Evaluation, Servability, Trial, Verdict
from base.references import Trigger
from base.train_spec import TrainingWindow

_FILE = Artifact(digest="0" * 64, size_bytes=1, suffix=".parquet")

VERDICTS: list[tuple[str, float, float, dict[str, Any], Trigger, str, bool]] = [
    ("better", -0.2, 0.1, {}, "person", "better", True),
    ("better, whoever asked", -0.2, 0.1, {"cannot_tell": "champion"}, "drift", "better", True),
    ("worse", 0.2, 0.1, {}, "person", "worse", False),
    ("worse, though fresher", 0.2, 0.1, {"cannot_tell": "fresher"}, "performance", "worse", False),
    ("cannot tell", -0.001, 1.0, {}, "person", "cannot tell", False),
    ("a person keeps the champion", 0.0, 1.0, {"cannot_tell": "auto"}, "person", "cannot tell", False),
    ("so does a schedule", 0.0, 1.0, {"cannot_tell": "auto"}, "schedule", "cannot tell", False),
    ("so does a webhook", 0.0, 1.0, {"cannot_tell": "auto"}, "webhook", "cannot tell", False),
    ("drift prefers the fresher", 0.0, 1.0, {"cannot_tell": "auto"}, "drift", "cannot tell", True),
    ("so does a loss", 0.0, 1.0, {"cannot_tell": "auto"}, "performance", "cannot tell", True),
    ("the policy keeps the champion", 0.0, 1.0, {"cannot_tell": "champion"}, "performance", "cannot tell", False),
    ("the policy prefers the fresher", 0.0, 1.0, {"cannot_tell": "fresher"}, "person", "cannot tell", True),
    ("equal to the last digit", 0.0, 0.0, {}, "person", "cannot tell", False),
]


@pytest.mark.parametrize(
    ("shift", "noise", "gate", "trigger", "outcome", "promote"),
    [row[1:] for row in VERDICTS],
    ids=[row[0] for row in VERDICTS],
)
def test_a_planted_difference_is_judged(
    shift: float, noise: float, gate: dict[str, Any], trigger: Trigger, outcome: str, promote: bool
) -> None:
    draw = np.random.default_rng(3)
    champion = draw.uniform(1, 2, 600)
    challenger = champion + shift + draw.permuted(np.linspace(-noise, noise, 600))

    verdict = _judge(challenger, champion, gate=gate, trigger=trigger)

    assert (verdict.outcome, verdict.promote) == (outcome, promote)
    assert verdict.champion_revision == 7
    assert f"{np.mean(champion):.4f}" in verdict.reason


def test_too_few_rows_cannot_tell_and_are_written_down() -> None:
    verdict = _judge(np.zeros(7), np.full(7, 5.0), gate={}, trigger="person")

    assert (verdict.outcome, verdict.promote, verdict.interval) == ("cannot tell", False, None)
    assert "too few rows for an interval" in verdict.reason
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


@pytest.mark.parametrize(("loss", "outcome", "promote"), [(0.4, "first", True), (0.7, "refused", False)])
def test_a_first_model_must_beat_what_one_would_say_without_it(loss: float, outcome: str, promote: bool) -> None:
    verdict = _judge(np.full(60, loss), None, gate={}, trigger="person")

    assert (verdict.outcome, verdict.promote) == (outcome, promote)
    assert [check.passed for check in verdict.checks] == [promote]
    assert "0.6900 without a model" in verdict.reason


def test_a_lucky_seed_is_not_taken_for_merit() -> None:
    champion = np.random.default_rng(0).uniform(1, 2, 600)
    challenger = champion - 0.05

    own = challenger.mean()

    lucky = _judge(challenger, champion, gate={}, trigger="person", refits=(own, own + 0.1, own - 0.1, own + 0.05))
    merit = _judge(challenger, champion, gate={}, trigger="person", refits=(own, own + 0.001, own - 0.001, own))

    assert _judge(challenger, champion, gate={}, trigger="person").outcome == "better"
    assert (lucky.outcome, lucky.rows_to_tell) == ("cannot tell", None)
    assert "no number of rows would tell" in lucky.reason
    assert merit.outcome == "better"
    assert merit.luck is not None
    assert lucky.luck is not None
    assert 0 < merit.luck < lucky.luck


def test_what_cannot_be_told_says_how_many_rows_would() -> None:
    draw = np.random.default_rng(3)
    champion = draw.uniform(1, 2, 600)

    verdict = _judge(champion + draw.normal(0, 0.5, 600), champion, gate={"effect": 0.02}, trigger="person")

    assert verdict.outcome == "cannot tell"
    assert verdict.rows_for_effect is not None
    assert verdict.rows_for_effect > 600
    assert f"{verdict.rows_for_effect - 600:,} more would tell one of 2.0%" in verdict.reason


def test_rows_that_the_champion_has_learnt_from_cannot_tell() -> None:
    verdict = _judge(np.full(60, 0.1), np.full(60, 0.5), gate={}, trigger="person", n_seen_by_champion=60)

    assert (verdict.outcome, verdict.promote) == ("cannot tell", False)
    assert "all of which the champion has learnt from" in verdict.reason


def test_a_stand_in_of_the_champion_is_named() -> None:
    verdict = _judge(np.full(60, 0.1), np.full(60, 0.5), gate={}, trigger="person", champion_stand_in=True)

    assert (verdict.outcome, verdict.promote) == ("better", True)
    assert "its own sibling" in verdict.reason


def test_every_check_that_fails_is_told() -> None:
    gate = {"floors": {"log_loss": {"at_most": 0.01}, "roc_auc": {"at_least": 0.9}}}

    verdict = _judge(np.full(60, 0.1), np.full(60, 0.5), gate=gate, trigger="person")

    assert (verdict.outcome, verdict.promote) == ("refused", False)
    assert [check.passed for check in verdict.checks] == [False, False]
    assert all(check.evidence in verdict.reason for check in verdict.checks)


def test_a_package_that_does_not_serve_is_refused_after_all() -> None:
    champion = np.full(60, 0.5)
    serves = Servability(n_rows=32, p95_ms=3.0, size_mb=0.5, load_seconds=0.1)

    for servability, gate, outcome in (
        (serves, {"max_latency_ms": 5.0, "max_size_mb": 1.0}, "better"),
        (serves, {"max_latency_ms": 0.001}, "refused"),
        (serves, {"max_size_mb": 0.1}, "refused"),
        (Servability(n_rows=32), {"max_latency_ms": 5.0}, "refused"),
        (Servability(error="it hung"), {}, "refused"),
    ):
        verdict = _judge(champion - 0.4, champion, gate=gate, trigger="person", servability=servability)

        assert verdict.outcome == outcome
        assert verdict.servability is not None


@pytest.mark.parametrize(
    ("interval", "trigger", "gate", "expected", "words"),
    [
        ((-0.3, -0.1), "schedule", {}, ("better", True), "better: the world has changed: fitted with the older half"),
        ((-0.3, 0.1), "schedule", {}, ("cannot tell", False), "the world has changed, yet fitted with the older half"),
        (None, "schedule", {}, ("cannot tell", False), "too few rows for an interval"),
        ((-0.3, 0.1), "drift", {}, ("cannot tell", True), "so the fresher model serves"),
        ((-0.3, -0.1), "schedule", {"floors": {"log_loss": {"at_most": 0.01}}}, ("refused", False), "log_loss"),
    ],
)
def test_a_trial_speaks_where_the_rows_have_not_spoken_for_the_challenger(
    interval: tuple[float, float] | None,
    trigger: Trigger,
    gate: dict[str, Any],
    expected: tuple[str, bool],
    words: str,
) -> None:
    champion = np.random.default_rng(0).uniform(1, 2, 600)

    verdict = _judge(champion[::-1], champion, gate=gate, trigger=trigger, trial=_tried(interval))

    assert (verdict.outcome, verdict.promote) == expected
    assert words in verdict.reason


def test_a_trial_of_one_model_says_that_it_is_one() -> None:
    champion = np.random.default_rng(0).uniform(1, 2, 600)
    trial = _tried((-0.3, -0.1)).model_copy(update={"occasion": "one model"})

    verdict = _judge(champion, champion, gate={}, trigger="schedule", trial=trial)

    assert (verdict.outcome, verdict.promote) == ("better", True)
    assert verdict.reason.startswith("better: the recipe is the champion's: fitted with the older half")
    assert "without those rows: cannot tell: both give the same answers" in verdict.reason


def test_a_trial_says_nothing_where_the_rows_have_spoken_for_the_challenger() -> None:
    champion = np.random.default_rng(0).uniform(1, 2, 600)

    verdict = _judge(champion - 0.4, champion, gate={}, trigger="schedule", trial=_tried((0.1, 0.2)))

    assert (verdict.outcome, verdict.promote) == ("better", True)
    assert "the world has changed" not in verdict.reason


def _tried(interval: tuple[float, float] | None) -> Trial:
    window = WindowChoice(window=TrainingWindow(rows=100), reason="it lost least")
    return Trial(window=window, n_rows=300, loss=0.3, rival=0.5, interval=interval, confidence=0.98)


def test_the_same_inputs_give_the_same_verdict_when_they_were_stored() -> None:
    draw = np.random.default_rng(3)
    champion = draw.uniform(1, 2, 600)
    losses = pd.DataFrame({"challenger": champion - draw.normal(0.1, 0.1, 600), "champion": champion})
    given = GateInputs(
        evaluation=_evaluate(losses),
        spec=ValidateModelSpec(floors={"log_loss": {"at_most": 2.0}}),
        trigger="drift",
        champion_revision=3,
        refits=(float(losses["challenger"].mean()), 1.41, 1.4),
        servability=Servability(n_rows=32, p95_ms=3.0, size_mb=0.5, load_seconds=0.1),
        trial=_tried((-0.3, -0.1)),
    )

    verdict = given.decide(losses)

    assert GateInputs.model_validate_json(given.model_dump_json()).decide(losses) == verdict
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def _judge(
    challenger: npt.NDArray[np.float64],
    champion: npt.NDArray[np.float64] | None,
    *,
    gate: dict[str, Any],
    trigger: Trigger,
    refits: tuple[float, ...] = (),
    servability: Servability | None = None,
    trial: Trial | None = None,
    **measured: Any,
) -> Verdict:
    losses = pd.DataFrame({"challenger": challenger} | ({} if champion is None else {"champion": champion}))
    return decide_verdict(
        _evaluate(losses, **measured),
        losses,
        ValidateModelSpec.model_validate(gate),
        trigger=trigger,
        champion_revision=7,
        refits=refits,
        servability=servability,
        trial=trial,
    )


def _evaluate(losses: pd.DataFrame, **measured: Any) -> Evaluation:
    champion = None if "champion" not in losses else {"log_loss": float(losses["champion"].mean())}
    return Evaluation(
        n_rows=len(losses),
        metrics={"log_loss": float(losses["challenger"].mean())},
        baseline={"log_loss": 0.69},
        champion=champion,
        champion_version=None if champion is None else 3,
        slices=(),
        losses=_FILE,
        report=_FILE,
        **measured,
    )
