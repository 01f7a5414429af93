"""Which policy to take, in a sentence that says why, and as YAML to paste."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.backtest.policies import EVERY_WINDOW, NEVER
from tasks.backtest.result import PolicyResult

# A policy that is cheaper by less than this share is not worth a change of habits.
_WORTH_A_CHANGE = 0.01


@dataclass(frozen=True)
class Recommendation:
    """A policy by its name, why it is that one, and the keys of the definition that say it."""

    name: str
    why: str
    yaml: str


def recommend(results: Sequence[PolicyResult], *, price: float) -> Recommendation:
    """Take the policy that costs least, loss and trainings together, of those that a definition can say.

    The pipeline's own stays where no other is cheaper by a hundredth.

    Parameters
    ----------
    results : sequence of PolicyResult
        The cheapest first; *never* and *every window* are among them.
    """
    possible = [result for result in results if result.kind != "comparison" and result.section]
    best = possible[0]
    own = next((result for result in possible if result.kind == "own"), None)
    if own is not None and own.cost <= best.cost * (1 + _WORTH_A_CHANGE):
        best = own
    return Recommendation(best.name, _explain(best, own, results, price), _write(best.section))


def _explain(best: PolicyResult, own: PolicyResult | None, results: Sequence[PolicyResult], price: float) -> str:
    always = next(result for result in results if result.name == EVERY_WINDOW)
    never = next(result for result in results if result.name == NEVER)
    parts = [f"at a price of {price:g} windows of full loss a training, its loss and trainings cost {best.cost:.2f}"]
    if best.name != always.name:
        parts.append(f"training after every window costs {always.cost:.2f}{_beside(best)}")
    if best.name != never.name:
        parts.append(f"never training {never.cost:.2f}")
    told = "; ".join([parts[0], ", ".join(parts[1:])]) if len(parts) > 1 else parts[0]
    told += f". It trains {_times(best.n_trainings)}"
    if best.name != always.name:
        told += f" where that trains {always.n_trainings}"
    if best.gain_kept is not None and best.name not in (always.name, never.name):
        told += f", and keeps {best.gain_kept:.0%} of what that gains"
    if own is not None and own.name != best.name:
        told += f"; the pipeline's own policy costs {own.cost:.2f} with {own.n_trainings} trainings"
    elif own is not None:
        other = next((result for result in results if result.section and result.name != own.name), None)
        if other is not None:
            told += f"; no other costs as much as a hundredth less (next: {other.name}, {other.cost:.2f})"
    return told


def _beside(best: PolicyResult) -> str:
    """Say how far the mean loss of training after every window lies from this policy's."""
    if best.low is None or best.high is None:
        return ""
    if best.low > 0:
        return f" (its mean loss is {best.excess:.4f} lower, interval {best.low:.4f} to {best.high:.4f})"
    if best.high < 0:
        return f" (its mean loss is {-best.excess:.4f} higher, interval {-best.high:.4f} to {-best.low:.4f})"
    return (
        f" (its mean loss is the same but for chance: difference {-best.excess:+.4f}, "
        f"interval {-best.high:+.4f} to {-best.low:+.4f})"
    )


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _write(section: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML

    stream = io.StringIO()
    writer = YAML()
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.dump(dict(section), stream)
    return stream.getvalue()
