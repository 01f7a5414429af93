"""Claims about arms: the same key gets the same one everywhere, growth takes nobody back, shares are what was said."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.rollout_spec import RolloutKind
from registry.tables import Rollout
from serving.loading.follower import Follower, Served
from serving.rollout.router import Router, Share, point_of, row_key
from serving.rollout.running import RunningRollout

_keys = st.text(max_size=20)


def _served(number: int, key: tuple[str, ...] = ()) -> Served:
    version = SimpleNamespace(number=number)
    stub = SimpleNamespace(version=version, number=number, manifest=SimpleNamespace(key=key))
    return cast("Served", stub)


def _running(
    shares: dict[str, float], *, kind: RolloutKind = "canary", name: str = "one", loaded: tuple[int, ...] | None = None
) -> RunningRollout:
    champion, *challengers = (int(number) for number in shares)
    state = Rollout(
        id=name,
        environment="prod",
        model="trips",
        kind=kind,
        champion=champion,
        champion_revision=1,
        challengers=challengers,
        shares=shares,
        reason="",
        started_by="",
    )
    there = challengers if loaded is None else loaded
    return RunningRollout.of(state, {number: _served(number) for number in there}, {})


def _router(rollout: RunningRollout | None, *, key: tuple[str, ...] = ()) -> Router:
    follower = SimpleNamespace(find=lambda _model: _served(1, key), find_rollout=lambda _model: rollout)
    return Router(cast("Follower", follower))


def _arms(shares: list[Share], n_rows: int) -> list[str]:
    arms = [""] * n_rows
    for share in shares:
        for position in range(n_rows) if share.positions is None else share.positions:
            assert arms[position] == ""
            arms[position] = share.arm
    return arms


def _arm(router: Router, key: str) -> str:
    (share,) = router.split("trips", [{}], request_key=key)
    return share.arm


def test_without_a_rollout_the_champion_answers_all() -> None:
    (share,) = _router(None).split("trips", [{}, {}], request_key="a")

    assert (share.served.version.number, share.arm, share.positions) == (1, "champion", None)


def test_a_model_that_does_not_serve_has_no_shares() -> None:
    follower = SimpleNamespace(find=lambda _model: None)

    assert Router(cast("Follower", follower)).split("trips", [{}]) == []


@given(key=_keys)
def test_the_same_key_gets_the_same_arm(key: str) -> None:
    rollout = _running({"1": 0.5, "2": 0.5})

    assert _arm(_router(rollout), key) == _arm(_router(_running({"1": 0.5, "2": 0.5})), key)


def test_another_process_gives_the_same_arms() -> None:
    keys = [f"customer {number}" for number in range(50)]
    program = f"from serving.rollout.router import point_of; print([point_of('one', key) for key in {keys!r}])"

    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        env={"PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.strip() == str([point_of("one", key) for key in keys])


@given(key=_keys, shares=st.lists(st.floats(0, 1), min_size=2, max_size=6).map(sorted))
def test_a_growing_share_never_gives_a_key_back_to_the_champion(key: str, shares: list[float]) -> None:
    arms = [_arm(_router(_running({"1": 1 - share, "2": share})), key) for share in shares]

    assert arms == sorted(arms, reverse=True)  # champion … champion challenger … challenger


@pytest.mark.parametrize("split", [(0.99, 0.01), (0.5, 0.5), (0.2, 0.3, 0.5)])
def test_the_shares_of_many_keys_are_those_of_the_split(split: tuple[float, ...]) -> None:
    n_keys = 20_000
    router = _router(_running({str(number): share for number, share in enumerate(split, start=1)}))

    found = Counter(
        router.split("trips", [{}], request_key=f"k{number}")[0].served.version.number for number in range(n_keys)
    )

    for number, share in enumerate(split, start=1):
        # Five standard deviations: one false alarm in two million.
        assert abs(found[number] - n_keys * share) <= 5 * math.sqrt(n_keys * share * (1 - share))


@given(key=_keys)
def test_points_lie_in_the_unit_interval(key: str) -> None:
    assert 0 <= point_of("one", key) < 1


def test_two_rollouts_draw_their_arms_apart() -> None:
    one, two = (_router(_running({"1": 0.5, "2": 0.5}, name=name)) for name in ("one", "two"))
    keys = [f"k{number}" for number in range(400)]

    both = sum(_arm(one, key) == _arm(two, key) for key in keys)

    assert 140 < both < 260


def test_rows_go_by_their_own_key_and_the_others_by_the_requests() -> None:
    router = _router(_running({"1": 0.5, "2": 0.5}), key=("customer",))
    rows: list[dict[str, Any]] = [{"customer": number % 20} for number in range(40)] + [{"customer": None}, {}]

    arms = _arms(router.split("trips", rows, request_key="whole"), len(rows))
    again = _arms(router.split("trips", list(reversed(rows)), request_key="whole"), len(rows))

    assert arms[:20] == arms[20:40]
    assert len(set(arms[:20])) == 2
    assert arms[40] == arms[41] == _arm(_router(_running({"1": 0.5, "2": 0.5})), "whole")
    assert again[::-1] == arms


def test_seven_and_seven_point_zero_are_one_customer() -> None:
    assert row_key({"customer": 7.0}, ["customer"]) == row_key({"customer": 7}, ["customer"])


def test_requests_without_any_key_are_spread() -> None:
    router = _router(_running({"1": 0.5, "2": 0.5}))

    arms = {router.split("trips", [{}])[0].arm for _ in range(200)}

    assert arms == {"champion", "challenger"}


def test_the_share_of_a_version_that_is_not_loaded_goes_to_the_champion() -> None:
    router = _router(_running({"1": 0.2, "2": 0.4, "3": 0.4}, kind="ab", loaded=(3,)))

    arms = Counter(_arm(router, f"k{number}") for number in range(500))

    assert set(arms) == {"champion", "v3"}
    assert arms["champion"] > 220


def test_a_shadow_answers_nobody_and_is_named() -> None:
    router = _router(_running({"1": 1.0, "2": 0.0}, kind="shadow"))

    assert {_arm(router, f"k{number}") for number in range(200)} == {"champion"}
    assert [served.version.number for served in router.shadows("trips")] == [2]
    assert _router(_running({"1": 0.5, "2": 0.5})).shadows("trips") == ()


def test_what_was_observed_is_counted_by_version() -> None:
    router = _router(_running({"1": 0.5, "2": 0.5}))

    router.observe("trips", 2, n_rows=3, micros=900)
    router.observe("trips", 2, n_rows=1, micros=0, failed=True)

    counts = router.counters.snapshot("one")["2"]
    assert (counts["requests"], counts["rows"], counts["failed"], sum(counts["micros"].values())) == (2, 4, 1, 1)
