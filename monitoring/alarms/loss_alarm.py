"""The alarm about performance: when what was won by betting on a higher loss is more than chance wins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from base.monitor_spec import MonitorSpec
from monitoring.alarms.alarm import Alarm
from monitoring.alarms.loss_bets import NO_FORTUNES, LossSample, bet_on_losses, total_fortune
from monitoring.alarms.measures import WindowFacts
from monitoring.alarms.quiet_history import QuietHistory, largest_usual


def judge_losses(
    losses: LossSample,
    facts: WindowFacts,
    history: QuietHistory,
    spec: MonitorSpec,
    *,
    level: float,
    fortunes: tuple[float, ...],
) -> tuple[tuple[float, ...], Alarm | None]:
    """Bet on a window's losses, and raise an alarm where the fortune is beyond what the level allows.

    Returns
    -------
    fortunes
        For the next window.
    Alarm or None
    """
    # Of past windows only how much one differs from the next: a level that has risen would else be what is usual.
    jumps = np.diff(history.past_values("loss", before=facts.start)) / math.sqrt(2)
    usual = largest_usual(np.concatenate([losses.reference_increases(), jumps]), level)
    tolerance = spec.max_loss_increase if usual is None else max(spec.max_loss_increase, usual)
    carried = bet_on_losses(losses, fortunes, tolerance=tolerance)
    fortune, increase = total_fortune(carried), losses.increase
    if increase is None or fortune < 1 / level:
        return carried, None
    evidence: dict[str, Any] = {
        "n_rows": len(losses.losses),
        "expected": losses.expected,
        "found": losses.expected * (1 + increase),
        "increase": increase,
        "tolerance": tolerance,
        "fortune": fortune,
        "needed": 1 / level,
    }
    told = f"loss {evidence['found']:.4g} on {len(losses.losses):,} labelled rows, {increase:+.1%} against "
    told += f"{losses.expected:.4g} at promotion; tolerated are {tolerance:+.1%}"
    alarm = Alarm(kind="performance", severity="high", reason=told, evidence=evidence, p_adjusted=min(1.0, 1 / fortune))
    # What was won against this loss is spent: the next alarm needs its own evidence.
    return NO_FORTUNES, alarm
