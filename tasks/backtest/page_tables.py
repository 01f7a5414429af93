"""Tables of a backtest's page: policies side by side, costs by price, and what each training brought."""

from __future__ import annotations

from html import escape
from io import StringIO
from typing import Any

from base.pages import table
from tasks.backtest.charts import show_cost, show_loss
from tasks.backtest.charts_time import mean_interval, outcome_of
from tasks.backtest.policies import EVERY_WINDOW
from tasks.backtest.result import BacktestResult, PolicyResult, ReplayedTraining
from tasks.backtest.table import cheapest_by_price, prices_of, show_delay, show_share, tell_cheapest

_KINDS = {"own": "yours", "comparison": "for comparison", "shipped": ""}
_CLASSES = {"paid off": "good", "perhaps paid off": "good", "brought less than it cost": "warn", "did harm": "bad"}


def policy_table(result: BacktestResult) -> str:
    """Write all figures of all policies, the cheapest first; the recommended one stands out."""
    head = [
        "policy",
        "cost",
        "loss",
        "above every window",
        "trainings",
        "promoted / refused / failed",
        "in vain",
        "delay, windows",
        "gain kept",
        "× hindsight",
        "fitting, s",
    ]
    rows = []
    for policy in result.policies:
        split = f"{policy.n_promoted:,} / {policy.n_refused:,} / {policy.n_failed:,}"
        rows.append(
            [
                _name(policy, result),
                f"<b>{show_cost(policy.cost)}</b>" if policy.n_windows else "–",
                f"{show_loss(policy.loss)}{_loss_interval(policy)}" if policy.n_windows else "–",
                _excess(policy),
                f"{policy.n_trainings:,}",
                split,
                f"{policy.n_in_vain:,}",
                show_delay(policy.delay),
                show_share(policy.gain_kept),
                "–" if policy.ratio_to_oracle is None else f"{policy.ratio_to_oracle:.2f}",
                f"{policy.train_seconds:,.1f}",
            ]
        )
    return f"<div class=policies>{table(head, rows)}</div>"


def price_table(result: BacktestResult) -> str:
    """Write what each policy would have cost at other prices, with the cheapest of each in colour."""
    prices, cheapest = prices_of(result), cheapest_by_price(result)
    rows = []
    for policy in result.policies:
        row = [_short_name(policy, result)]
        for price in prices:
            told = show_cost(policy.costs[price]) if price in policy.costs else "–"
            is_cheapest = cheapest.get(price) == policy.name
            row.append(f"<b class=cheapest title='the cheapest at this price'>▸ {told}</b>" if is_cheapest else told)
        rows.append(row)
    head = ["cost in all, at a price of", *(f"{float(price):g}" for price in prices)]
    return (
        f"<p><b>{escape(tell_cheapest(result))}.</b> <span class=soft>Of the same trainings at another price; a policy "
        "that weighs the price would train more, or less, itself. ▸ marks the cheapest that a definition can say."
        f"</span></p>{table(head, rows)}"
    )


def policy_details(policy: PolicyResult) -> str:
    """Write, folded, what a policy says and what each of its trainings brought."""
    gained = sum(training.gain for training in policy.trainings)
    paid = sum(training.price for training in policy.trainings)
    brought = f"; they brought {show_cost(gained)} for {show_cost(paid)}" if policy.trainings else ""
    noun = "training" if policy.n_trainings == 1 else "trainings"
    head = f"<b>{escape(policy.name)}</b> <span class=soft>{policy.n_trainings:,} {noun}{brought}</span>"
    said = f"<pre>{escape(_as_yaml(policy.section))}</pre>" if policy.section else ""
    ends = "" if policy.is_complete else "<p class=warn>The budget ended before it had walked the whole history.</p>"
    listed = _trainings(policy) if policy.trainings else "<p class=soft>It never trained.</p>"
    return (
        f"<details><summary>{head}</summary><p>{escape(policy.tells)}</p>{ends}{said}<div class=wide>{listed}</div>"
        "</details>"
    )


def _name(policy: PolicyResult, result: BacktestResult) -> str:
    return f"{_short_name(policy, result)}<br><span class=soft>{escape(policy.tells)}</span>"


def _short_name(policy: PolicyResult, result: BacktestResult) -> str:
    kind = _KINDS[policy.kind]
    is_taken = policy.name == result.recommended and result.n_judged
    tags = "<span class='tag best'>recommended</span>" if is_taken else ""
    tags += f"<span class=tag>{kind}</span>" if kind else ""
    tags += "" if policy.is_complete else "<span class='tag warn'>unfinished</span>"
    return f"<b>{escape(policy.name)}</b> {tags}"


def _loss_interval(policy: PolicyResult) -> str:
    judged = [window for window in policy.windows if window.loss is not None and not window.skipped]
    if not judged:
        return ""
    mean, low, high = mean_interval(judged)
    if low is None or high is None:
        return ""
    # Around the policy's own figure, should it weigh windows in another way.
    return _small(f"{show_loss(policy.loss + low - mean)} to {show_loss(policy.loss + high - mean)}")


def _excess(policy: PolicyResult) -> str:
    if policy.name == EVERY_WINDOW or not policy.n_windows:
        return "–"
    if policy.low is None or policy.high is None:
        return _signed(policy.excess)
    return f"{_signed(policy.excess)}{_small(f'{_signed(policy.low)} to {_signed(policy.high)}')}"


def _trainings(policy: PolicyResult) -> str:
    head = ["window", "when", "asked by", "outcome", "", "brought", "interval", "cost", "left over", "fitting, s"]
    rows = [
        [
            f"{training.window:,}",
            f"{training.at:%Y-%m-%d %H:%M}",
            escape(training.trigger),
            _outcome(training),
            f"<span class={_CLASSES.get(training.klass, 'soft')}>{escape(training.klass)}</span>",
            _signed(training.gain),
            "–"
            if training.low is None or training.high is None
            else f"{_signed(training.low)} to {_signed(training.high)}",
            show_cost(training.price),
            _signed(training.gain - training.price),
            f"{training.seconds:,.1f}",
        ]
        for training in policy.trainings
    ]
    return table(head, rows, n_texts=5)


def _outcome(training: ReplayedTraining) -> str:
    outcome = outcome_of(training)
    if training.verdict == "unchanged":
        return "nothing new to learn from"
    return outcome if training.verdict in ("", outcome) else f"{outcome}: {escape(training.verdict)}"


def _small(text: str) -> str:
    return f"<br><span class=soft>{text}</span>"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _as_yaml(section: dict[str, Any]) -> str:
    from ruamel.yaml import YAML

    stream = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.dump(section, stream)
    return stream.getvalue().strip()
