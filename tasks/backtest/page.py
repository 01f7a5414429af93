"""The page of a backtest: which policy to take, and why, as one self-contained HTML file."""

from __future__ import annotations

from html import escape

from base.pages import cards, facts, page, section
from base.times import describe_duration
from tasks.backtest.charts import STYLE, show_cost, show_loss
from tasks.backtest.charts_cost import draw_costs
from tasks.backtest.charts_time import draw_losses_over_time, draw_trainings
from tasks.backtest.page_tables import policy_details, policy_table, price_table
from tasks.backtest.policies import EVERY_WINDOW
from tasks.backtest.result import BacktestResult, PolicyResult
from tasks.backtest.table import NO_ANSWER, show_share

_STYLE = """
body { max-width: 1080px } .card { flex-basis: 150px }
.take { display: grid; grid-template-columns: minmax(0, 1.5fr) minmax(0, 1fr); gap: 1.2em 2em; align-items: start;
        border: 1px solid var(--rule); border-left: 5px solid var(--accent); border-radius: 6px; padding: 1.1em 1.4em;
        margin: 1.2em 0; background: var(--card); break-inside: avoid }
.take h2 { margin: 0 0 .3em; font-size: 1.5em; line-height: 1.25; overflow-wrap: anywhere } .take p { margin: .3em 0 }
.take h2 span { color: var(--accent) }
pre { font: .88em/1.45 ui-monospace, monospace; margin: .3em 0; padding: .7em .9em; border: 1px solid var(--rule);
      border-radius: 6px; background: var(--page); white-space: pre-wrap; overflow-wrap: anywhere; user-select: all }
.notice { border-left: 4px solid var(--warn); padding: .1em 0 .1em .9em }
.policies { font-size: .87em } .policies th, .policies td { padding-left: .9em } .policies td:first-child,
.policies th:first-child { padding-left: 0; min-width: 13em } .policies .n { white-space: nowrap }
.policies th.n { white-space: normal }
.tag { display: inline-block; font-size: .78em; padding: 0 .55em; border: 1px solid var(--third); color: var(--soft);
       border-radius: 1em; white-space: nowrap } .tag.best { color: var(--accent); border-color: var(--accent) }
.tag.warn { color: var(--warn); border-color: var(--warn) } b.cheapest { color: var(--accent) }
details { border-bottom: 1px solid var(--rule); padding: .45em 0 } summary { cursor: pointer }
details table { font-size: .87em } details .n { white-space: nowrap } .foot { max-width: 80ch }
section p { margin: .3em 0 .7em } ul.notes { margin: 0; padding-left: 1.2em }
@media (max-width: 760px) { .take { grid-template-columns: minmax(0, 1fr) } }
@media print { body { font-size: 12px } .policies { font-size: .78em } .policies th, .policies td { padding-left: .5em;
  padding-right: .2em } .wide { overflow: visible } .take { grid-template-columns: minmax(0, 1.5fr) minmax(0, 1fr) } }
"""


def render_backtest(result: BacktestResult) -> str:
    """Write the page of a backtest.

    Above all stand the recommended policy, why, and the block to paste; then the evidence, from the choice at a glance
    to every training of every policy.

    Parameters
    ----------
    result : BacktestResult
        With at least one policy.
    """
    details = "".join(policy_details(policy) for policy in result.policies)
    parts = [
        f"<h1>Backtest of {escape(result.pipeline)}</h1>",
        f"<p class='lead soft'>{escape(_lead(result))}</p>",
        _notice(result),
        _take(result),
        cards(_figures(result)) if result.n_judged else "",
        section("Cost against loss", draw_costs(result)) if result.n_judged else "",
        section("What was served", draw_losses_over_time(result)),
        section("When each policy trained", draw_trainings(result)),
        section("All policies", policy_table(result)),
        section("At another price", price_table(result)) if result.n_judged else "",
        section("What each training brought", _about_gains() + details),
        section("Notes", _notes(result)) if result.notes else "",
        section("Method", f"<p class=foot>{escape(_method(result))}</p>"),
        section("How it was computed", facts(_computed(result))),
    ]
    return page(f"Backtest of {result.pipeline}", "".join(parts), style=STYLE + _STYLE)


def _lead(result: BacktestResult) -> str:
    later = f"{describe_duration(result.label_delay)} later" if result.label_delay else "at once"
    return (
        f"{result.start:%Y-%m-%d} to {result.stop:%Y-%m-%d}: {result.n_windows:,} windows of {result.window}, "
        f"{result.n_rows:,} rows, labels known {later}. A training costs "
        f"{result.price:g} windows of full loss ({result.price_tells})."
    )


def _notice(result: BacktestResult) -> str:
    if result.is_complete or not result.n_judged:
        return ""
    unfinished = [policy.name for policy in result.policies if not policy.is_complete]
    which = f" Unfinished: {escape(', '.join(unfinished))}." if unfinished else ""
    return (
        "<p class=notice><b>The budget ended before every policy had walked the whole history.</b> This is the best "
        f"answer so far; the same command goes on from here.{which}</p>"
    )


def _take(result: BacktestResult) -> str:
    if not result.n_judged:
        return f"<div class=take><p><b>{NO_ANSWER}</b></p></div>"
    best = _find(result, result.recommended)
    tells = "" if best is None else f"<p class=soft>{escape(best.tells)}</p>"
    pasted = f"<pre>{escape(result.yaml.strip())}</pre>" if result.yaml.strip() else ""
    why = result.why[:1].upper() + result.why[1:]
    where = "<p class=soft>Paste into pipeline.yaml</p>" if pasted else ""
    return (
        f"<div class=take><div><h2>Take <span>{escape(result.recommended)}</span></h2><p>{escape(why)}</p>"
        f"{tells}</div><div>{where}{pasted}</div></div>"
    )


def _figures(result: BacktestResult) -> list[tuple[str, str, str, str]]:
    best = _find(result, result.recommended)
    if best is None:
        return []
    always = _find(result, EVERY_WINDOW)
    own = next((policy for policy in result.policies if policy.kind == "own" and policy.name != best.name), None)
    rivals = [rival for rival in (own, always) if rival is not None and rival.name != best.name]
    saved = "; ".join(_against(best, rival) for rival in rivals)
    above = "" if best.name == EVERY_WINDOW or always is None else f"{best.excess:+.4f} against every window"
    vain = f"of {best.n_windows:,} windows; {best.n_in_vain:,} in vain"
    return [
        ("cost in all", show_cost(best.cost), saved or "windows of full loss", "accent"),
        ("mean loss", show_loss(best.loss), above.replace("-", "−"), "accent"),
        ("trainings", f"{best.n_trainings:,}", vain, "accent"),
        ("gain kept", show_share(best.gain_kept), "of what training every window gains over never", "accent"),
    ]


def _against(best: PolicyResult, rival: PolicyResult) -> str:
    name = "your own" if rival.kind == "own" else rival.name
    more = "" if best.cost <= 0 else f", {100 * (rival.cost / best.cost - 1):+.0f}\u00a0%".replace("-", "−")
    return f"{name} {show_cost(rival.cost)}{more}"


def _find(result: BacktestResult, name: str) -> PolicyResult | None:
    return next((policy for policy in result.policies if policy.name == name), None)


def _about_gains() -> str:
    return (
        "<p class='soft foot'>Brought: the loss of the version before minus its own, over the windows that it served "
        "until the next promotion, in windows of full loss. Left over: that minus the price.</p>"
    )


def _notes(result: BacktestResult) -> str:
    return f"<ul class=notes>{''.join(f'<li>{escape(note)}</li>' for note in result.notes)}</ul>"


def _method(result: BacktestResult) -> str:
    return (
        "Each policy walks the history under a clock of its own, by the code that runs live: a window is looked at "
        f"when its labels are known ({describe_duration(result.label_delay)} later), and monitoring, arbiter, "
        "training, gate and promotion decide. A window's loss is that of the version that served it, over its "
        f"labelled rows, in units of full loss ({result.unit}); a policy's cost is the sum of these losses and the "
        "price of its trainings "
        "(Žliobaitė, Budka & Stahl 2015; Mahadevan & Mathioudakis 2024). Differences from training every window are "
        "taken window by window, and their 95 % intervals are over means of blocks of windows, since neighbours are "
        "alike (batch means; Schmeiser 1982); the band of the chart and the interval of a loss are chance within the "
        "windows alone. "
        "The cheapest schedule in hindsight is found by dynamic programming over which version serves when; nobody can "
        "follow it, and how far the others are above it is what not knowing the future costs (Karp 1992). The past is "
        "one draw: a policy that won by less than the intervals has not won."
    )


def _computed(result: BacktestResult) -> dict[str, str]:
    return {
        "models": f"{result.n_fits:,} fitted, {result.n_fits_reused:,} reused, since equal data give equal models",
        "time": f"{result.seconds:,.0f} s, of which fitting {result.fit_seconds:,.0f} s",
        "judged": f"{result.n_judged:,} of {result.n_windows:,} windows; {result.metric_name} is the pipeline's metric",
        "cheapest in hindsight": "–"
        if result.oracle_cost is None
        else f"{show_cost(result.oracle_cost)} with {len(result.oracle_trainings):,} trainings",
        "definition": result.definition[:12],
    }
