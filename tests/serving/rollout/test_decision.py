"""Claims about decisions: what moves a rollout on, what takes the challenger out, and how seldom that is by chance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from base.gate.betting import Fortune, bet_on_mean
from base.rollout_spec import RolloutKind, RolloutSpec
from registry.tables import Rollout, RolloutLook
from serving.rollout.bandit import allocate
from serving.rollout.counts import ArmCounts, bucket_of
from serving.rollout.decision import Close, Decision, Move, Stay, decide
from serving.rollout.evidence import ArmEvidence, ChallengerEvidence, Evidence, gather_evidence, score_differences
from serving.rollout.verdict import judge_arms

_START = datetime(2026, 5, 1, tzinfo=UTC)
_LATER = _START + timedelta(hours=2)
_WON = Fortune(50.0, 50.0, 900)


def _rollout(
    *, kind: RolloutKind = "canary", step: int = 0, challengers: tuple[int, ...] = (2,), **spec: Any
) -> Rollout:
    return Rollout(
        id="one",
        environment="prod",
        model="trips",
        kind=kind,
        champion=1,
        champion_revision=1,
        challengers=list(challengers),
        spec=RolloutSpec(**spec).model_dump(mode="json"),
        step=step,
        shares={"1": 0.9, **{str(number): 0.1 / len(challengers) for number in challengers}},
        reason="",
        started_by="",
        started_at=_START,
        moved_at=_START,
    )


def _evidence(challenger: ChallengerEvidence | None = None, **counts: Any) -> Evidence:
    judged = ChallengerEvidence(2, difference=0.01, n_requests=40, n_in_step=40) if challenger is None else challenger
    arm = ArmEvidence(2, ArmCounts(requests=40, rows=120))
    return Evidence(arms={1: ArmEvidence(1), 2: arm}, challengers={2: judged}, **counts)


_CALM = ChallengerEvidence(2, difference=0.0, n_requests=40, n_in_step=40)
_LABELLED: dict[str, Any] = {"n_labelled": 300, "n_labelled_in_step": 300}


@pytest.mark.parametrize(
    ("now", "evidence", "expected"),
    [
        (_START, _evidence(**_LABELLED), "the step lasts 1 hour at least"),
        (_LATER, _evidence(n_labelled=9, n_labelled_in_step=9), "9 of 200 labelled rows in this step"),
        (_LATER, _evidence(n_compared_in_step=12), "12 of 200 compared rows in this step"),
        (_LATER, _evidence(replace(_CALM, n_in_step=0), **_LABELLED), "version 2 has answered no request in this step"),
        (_LATER, _evidence(refused={"a": "broken"}, n_replicas=1), "no replica can load version 2: broken"),
        (
            _LATER,
            _evidence(replace(_CALM, differs=Fortune(500, 500, 300)), n_compared_in_step=300),
            "without labels, version 2 differs too much",
        ),
    ],
)
def test_a_canary_stays_and_says_what_it_waits_for(now: datetime, evidence: Evidence, expected: str) -> None:
    decision = decide(_rollout(), evidence, now)

    assert isinstance(decision, Stay)
    assert decision.reason.startswith(expected)


@pytest.mark.parametrize(("step", "share"), [(0, 0.05), (1, 0.25)])
def test_a_canary_whose_step_is_done_gets_the_next_share(step: int, share: float) -> None:
    decision = decide(_rollout(step=step), _evidence(**_LABELLED), _LATER)

    assert isinstance(decision, Move)
    assert (decision.step, decision.shares) == (step + 1, {"1": 1 - share, "2": share})


def test_after_the_last_step_the_challenger_is_promoted() -> None:
    decision = decide(_rollout(step=2), _evidence(**_LABELLED), _LATER)

    assert isinstance(decision, Close)
    assert (decision.status, decision.promote) == ("promoted", 2)


def test_agreement_alone_moves_a_canary_on_where_no_labels_come() -> None:
    assert isinstance(decide(_rollout(), _evidence(n_compared_in_step=300), _LATER), Move)
    assert isinstance(decide(_rollout(evidence="labels"), _evidence(n_compared_in_step=300), _LATER), Stay)


@pytest.mark.parametrize(
    ("evidence", "spec", "told"),
    [
        (
            replace(_CALM, worse=_WON, difference=0.04),
            {},
            "version 2 is worse: its scores on 900 labelled rows are +0.04",
        ),
        (replace(_CALM, errors=Fortune(101, 101, 50)), {}, "version 2 fails more often than the champion"),
        (replace(_CALM, slow=Fortune(101, 101, 50)), {}, "version 2 is more than 2 times as slow"),
        (replace(_CALM, differs=Fortune(1e9, 1e9, 50)), {"evidence": "agreement"}, "version 2 answers otherwise"),
        (
            replace(_CALM, shift=Fortune(101, 101, 50)),
            {"evidence": "agreement"},
            "the mean of version 2's answers lies",
        ),
    ],
)
def test_an_alarm_takes_the_challenger_out_at_once(
    evidence: ChallengerEvidence, spec: dict[str, Any], told: str
) -> None:
    decision = decide(_rollout(**spec), _evidence(evidence, **_LABELLED), _START)

    assert isinstance(decision, Close)
    assert decision.status == "rolled_back"
    assert decision.reason.startswith(told)
    assert decision.reason.endswith("it has answered 40 requests with 120 rows by then")


def test_an_ab_test_ends_with_its_verdict_and_promotes_only_if_told() -> None:
    verdict = {"winner": 2, "reason": "version 2: better"}
    found: list[Decision] = [
        decide(
            _rollout(kind="ab", until_rows=300, promote_winner=told), _evidence(**_LABELLED), _START, verdict=verdict
        )
        for told in (False, True)
    ]

    assert [(each.status, each.promote) for each in found if isinstance(each, Close)] == [
        ("finished", None),
        ("promoted", 2),
    ]


def test_an_ab_test_runs_until_its_time_or_its_rows() -> None:
    running = decide(_rollout(kind="ab", until_rows=900, until="3 hours"), _evidence(**_LABELLED), _LATER)

    assert isinstance(running, Stay)
    assert running.reason == "300 of 900 labelled rows, or until 2026-05-01 03:00 UTC"
    assert isinstance(
        decide(_rollout(kind="ab", until_rows=900, until="1 hour"), _evidence(**_LABELLED), _LATER), Close
    )


def test_a_bandit_moves_when_the_shares_change_by_enough() -> None:
    rollout = _rollout(kind="bandit")

    small = decide(rollout, _evidence(**_LABELLED), _LATER, allocation={"1": 0.89, "2": 0.11})
    large = decide(rollout, _evidence(**_LABELLED), _LATER, allocation={"1": 0.4, "2": 0.6})

    assert (type(small), type(large)) == (Stay, Move)


def _look(number: int, old: list[float], new: list[float], **requests: Any) -> RolloutLook:
    labelled = {
        "ids": [f"{number}-{place}" for place in range(len(old))],
        "versions": [1] * len(old),
        "losses": {"1": old, "2": new},
        "scores": {"1": old, "2": new},
        "rewards": [1 - each for each in old],
    }
    return RolloutLook(
        rollout_id="one",
        number=number,
        labelled=labelled,
        requests=requests.get("requests", {}),
        looked_at=_START + timedelta(minutes=number),
    )


def _simulate(draw: np.random.Generator, *, worse_by: float, n_looks: int = 20, n_rows: int = 200) -> int | None:
    """Return the look at which the challenger was rolled back, or None."""
    rollout, looks = _rollout(bake="1 day"), []
    for number in range(1, n_looks + 1):
        old = (draw.random(n_rows) < 0.2).astype(float).tolist()
        new = (draw.random(n_rows) < 0.2 + worse_by).astype(float).tolist()
        looks.append(_look(number, old, new))
    # Fortunes only grow at their largest, so one look at the end tells whether any look would have alarmed ...
    if not isinstance(decide(rollout, gather_evidence(rollout, looks), _START), Close):
        return None
    # ... and bisecting tells which.
    return next(
        count
        for count in range(1, n_looks + 1)
        if isinstance(decide(rollout, gather_evidence(rollout, looks[:count]), _START), Close)
    )


def test_twenty_looks_at_equal_models_roll_back_at_most_one_in_twenty() -> None:
    draw = np.random.default_rng(5)

    rolled_back = [_simulate(draw, worse_by=0.0) is not None for _ in range(200)]

    assert np.mean(rolled_back) <= 0.05


def test_a_model_that_is_four_points_worse_is_rolled_back_within_a_few_looks() -> None:
    draw = np.random.default_rng(6)

    looks = [_simulate(draw, worse_by=0.04, n_looks=60) for _ in range(20)]

    found = [each for each in looks if each is not None]
    told = f"caught {len(found)} of {len(looks)}, after {np.mean(found):.1f} looks of 200 rows"
    assert len(found) >= 19, told
    assert np.median(found) <= 15, told


def test_rows_that_only_one_version_can_answer_are_paired_in_order() -> None:
    look = _look(1, [0.1, 0.2, 0.3], [0.5, 0.5, 0.5])
    look.labelled["scores"] = {"1": [0.1, None, 0.3], "2": [None, 0.5, 0.4]}

    assert score_differences([look], 1, 2) == pytest.approx([0.4, 0.1])


def test_more_looks_never_change_what_the_earlier_ones_said() -> None:
    draw = np.random.default_rng(7)
    looks = [_look(n, draw.random(30).tolist(), draw.random(30).tolist()) for n in range(1, 6)]

    all_at_once = score_differences(looks, 1, 2)

    assert score_differences(looks[:3], 1, 2) == all_at_once[:90]


def _counts(n: int, micros: float, failed: int = 0) -> dict[str, Any]:
    counts = ArmCounts(requests=n + failed, rows=n, failed=failed)
    counts.micros[bucket_of(micros)] = n
    return counts.as_json()


@pytest.mark.parametrize(("micros", "is_slow"), [(2_000, False), (3_500, False), (30_000, True)])
def test_a_challenger_is_slow_when_it_is_much_slower_than_the_champions_slowest(micros: float, is_slow: bool) -> None:
    requests = {"1": _counts(400, 2_000), "2": _counts(20, micros)}
    looks = [_look(number, [], [], requests=requests) for number in range(1, 8)]

    found = gather_evidence(_rollout(), looks).challengers[2]

    assert found.slow.exceeds(0.01) is is_slow


def test_a_challenger_that_fails_is_found_by_its_requests() -> None:
    looks = [_look(1, [], [], requests={"1": _counts(400, 2_000, failed=1), "2": _counts(10, 2_000, failed=8)})]

    decision = decide(_rollout(), gather_evidence(_rollout(), looks), _START)

    assert isinstance(decision, Close)
    assert "fails more often" in decision.reason


def test_the_verdict_says_better_worse_or_cannot_tell_with_an_interval() -> None:
    draw = np.random.default_rng(8)
    old = draw.random(600)
    verdicts = {
        name: judge_arms(_rollout(kind="ab"), [_look(1, old.tolist(), (old + shift + noise).tolist())])
        for name, shift, noise in (
            ("better", -0.2, draw.normal(0, 0.2, 600)),
            ("worse", 0.2, draw.normal(0, 0.2, 600)),
            ("cannot tell", 0.0, draw.normal(0, 0.2, 600)),
        )
    }

    assert {name: found["challengers"]["2"]["outcome"] for name, found in verdicts.items()} == {
        name: name for name in verdicts
    }
    assert [found["winner"] for found in verdicts.values()] == [2, 1, None]
    low, high = verdicts["better"]["challengers"]["2"]["interval"]
    assert low < -0.2 < high < 0


def test_without_labels_nobody_can_tell() -> None:
    assert judge_arms(_rollout(kind="ab"), [])["winner"] is None


def test_a_bandits_shares_follow_the_rewards_keep_the_floor_and_are_the_same_for_the_same_seed() -> None:
    draw = np.random.default_rng(9)
    rewards = {
        name: (draw.random(400) < share).astype(float).tolist() for name, share in (("1", 0.6), ("2", 0.8), ("3", 0.5))
    }

    shares = allocate(rewards, is_share=True, exploration=0.05, seed=3)

    assert shares == allocate(rewards, is_share=True, exploration=0.05, seed=3)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["2"] > 0.85
    assert min(shares.values()) == pytest.approx(0.05)


def test_a_bandit_over_values_prefers_the_smaller_loss_and_tries_who_is_new() -> None:
    draw = np.random.default_rng(10)
    losses = {"1": -np.abs(draw.normal(0, 2, 300)), "2": -np.abs(draw.normal(0, 1, 300))}
    known = {name: each.tolist() for name, each in losses.items()}

    shares = allocate(known | {"3": []}, is_share=False, exploration=0.05, seed=3)

    assert shares["2"] > shares["1"]
    assert shares["3"] > 0.2


def test_evidence_uses_the_same_bets_as_the_gate() -> None:
    looks = [_look(1, [0.0] * 50, [1.0] * 50)]

    assert gather_evidence(_rollout(), looks).challengers[2].worse == bet_on_mean([1.0] * 50)
