"""A backtest in plain cells: the table for a terminal, for Prefect's artifact, and prices side by side."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from tasks.backtest.charts import show_cost, show_loss
from tasks.backtest.policies import EVERY_WINDOW
from tasks.backtest.request import BacktestProgress
from tasks.backtest.result import BacktestResult, PolicyResult
from tasks.batch.progress import describe_seconds

COLUMNS = ("policy", "loss", "above every window", "trainings", "in vain", "delay", "cost", "gain kept")
"""The names of what :func:`policy_rows` gives."""

NO_ANSWER = "There is no answer yet: no window was walked by every policy. The same again goes on from here."
"""In place of a recommendation, where a budget ended too early."""

_KINDS = {"own": " (yours)", "comparison": " (for comparison)", "shipped": ""}


def policy_rows(result: BacktestResult) -> list[list[str]]:
    """Write a row of cells for each policy, the cheapest first; the recommended one is marked with an arrow."""
    taken = result.recommended if result.n_judged else None
    return [
        [
            f"{'→ ' if policy.name == taken else ''}{policy.name}{_KINDS[policy.kind]}",
            show_loss(policy.loss if policy.n_windows else None),
            show_excess(policy),
            f"{policy.n_trainings:,}" + ("" if policy.is_complete else " so far"),
            f"{policy.n_in_vain:,}",
            show_delay(policy.delay),
            show_cost(policy.cost) if policy.n_windows else "–",
            show_share(policy.gain_kept),
        ]
        for policy in result.policies
    ]


def summarise(result: BacktestResult) -> dict[str, Any]:
    """Return a result as plain JSON without its windows, which are many: they are in ``windows.parquet``."""
    document: dict[str, Any] = json.loads(result.model_dump_json(exclude={"policies": {"__all__": {"windows"}}}))
    return document


def describe_progress(progress: BacktestProgress) -> str:
    """Say how far a backtest is.

    Examples
    --------
    >>> describe_progress(BacktestProgress(120, 480, "cost-aware", 95.0))
    '120 of 480 steps, cost-aware, 1 min left'
    """
    left = "" if progress.seconds_left is None else f", {describe_seconds(progress.seconds_left)} left"
    doing = f", {progress.doing}" if progress.doing else ""
    return f"{progress.done:,} of {progress.total:,} steps{doing}{left}"


def tabulate(result: BacktestResult, *, page: str) -> str:
    """Write a backtest as Markdown: what to take and why, the table, the block to paste, and where the page is.

    Parameters
    ----------
    page : str
        The page's address.
    """
    lines = [
        f"# Backtest of {_cell(result.pipeline)}",
        *_answer(result),
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(map(_cell, row))} |" for row in policy_rows(result)),
        "",
        f"Losses are means over {result.n_judged:,} windows of {_cell(result.window)} ({_cell(result.unit)} = 1); "
        f"a training costs {result.price:g}.",
        *(f"- {_cell(note)}" for note in result.notes),
        "",
        f"[The whole page]({page})",
    ]
    return "\n".join(lines)


def cheapest_by_price(result: BacktestResult) -> dict[str, str]:
    """Return the name of the cheapest policy that a definition can say, by price; of any, where none can be said."""
    walked = [policy for policy in result.policies if policy.n_windows]
    takeable = [policy for policy in walked if policy.kind != "comparison"] or walked
    found: dict[str, str] = {}
    for price in prices_of(result):
        able = [policy for policy in takeable if price in policy.costs]
        if able:
            found[price] = min(able, key=lambda policy: policy.costs[price]).name
    return found


def prices_of(result: BacktestResult) -> list[str]:
    """Return the prices for which costs are known, the lowest first."""
    return sorted({price for policy in result.policies for price in policy.costs}, key=float)


def tell_cheapest(result: BacktestResult) -> str:
    """Say in a sentence which policy is the cheapest at which price.

    Returns
    -------
    str
        Such as ``Cheapest at 0.02: your own; at 0.05 to 1: cost-aware``, or "" where there are no prices.
    """
    parts = []
    for name, group in groupby(cheapest_by_price(result).items(), key=lambda found: found[1]):
        prices = [f"{float(price):g}" for price, _ in group]
        ends = prices[0] if len(prices) == 1 else f"{prices[0]} to {prices[-1]}"
        parts.append(f"at {ends}: {name}")
    return f"Cheapest {'; '.join(parts)}" if parts else ""


def show_excess(policy: PolicyResult) -> str:
    """Write by how much a policy's loss is above that of every window, with its interval."""
    if policy.name == EVERY_WINDOW or not policy.n_windows:
        return "–"
    interval = "" if policy.low is None or policy.high is None else f" [{_signed(policy.low)}, {_signed(policy.high)}]"
    return f"{_signed(policy.excess)}{interval}"


def show_delay(delay: float | None) -> str:
    """Write a number of windows, or a dash."""
    return "–" if delay is None else f"{delay:.1f}".replace("-", "−")


def show_share(share: float | None) -> str:
    """Write a share in per cent, or a dash.

    Examples
    --------
    >>> show_share(0.876), show_share(-0.1), show_share(None)
    ('88 %', '−10 %', '–')
    """
    return "–" if share is None else f"{100 * share:.0f} %".replace("-", "−")


def _answer(result: BacktestResult) -> list[str]:
    if not result.n_judged:
        return [NO_ANSWER]
    return [
        f"**Take {_cell(result.recommended)}.** {_cell(result.why)}",
        "",
        f"```yaml\n{result.yaml.strip()}\n```",
    ]


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _cell(text: str) -> str:
    """Keep text within its cell, and as text: Markdown would take marks and tags for its own."""
    plain = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\|*_`[]#" else letter for letter in plain).replace("<", "&lt;")
