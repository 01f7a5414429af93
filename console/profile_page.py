"""The page of a profile: a table at a glance, then column by column, with small plots."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from base.pages import cards, page, section, table
from console.data_snapshots import show_bytes
from console.plots import STYLE, draw_distribution, draw_strip, show_number, show_share, show_value
from console.profile_findings import Finding, find_remarkable

if TYPE_CHECKING:
    from features.data_profile import ColumnDetails, DataProfile
    from features.time_slices import TimeSlices

_STYLE = """
body { max-width: 1080px } .card { flex-basis: 150px }
.findings { list-style: none; padding: 0; margin: 0 } .findings li { padding: .28em 0 .28em 1.3em; position: relative }
.findings li::before { content: ""; position: absolute; left: 0; top: .72em; width: .62em; height: .62em;
  border-radius: 50%; background: currentColor } .findings span { color: var(--ink) }
.ties { display: grid; grid-template-columns: minmax(6em, max-content) minmax(120px, 1fr) 3.2em max-content;
  gap: 4px 1em; align-items: center } .ties i { display: block; height: .95em; border-radius: 3px; min-width: 1px;
  background: var(--accent) } .ties i.down { background: var(--second) } .ties em { font-style: normal;
  text-align: right; font-variant-numeric: tabular-nums }
.strips { display: grid; grid-template-columns: minmax(6em, max-content) minmax(260px, 1fr) 3.4em; gap: 3px 1em;
  align-items: center } .strips em { font-style: normal; text-align: right; font-variant-numeric: tabular-nums }
.scale { display: flex; justify-content: space-between; font-size: .82em; position: relative }
.scale i { position: absolute; left: 0; top: 0; border-top: 2px solid var(--soft) }
.foot { font-size: .87em; max-width: 75ch }
.column { display: grid; grid-template-columns: 230px 320px 1fr; gap: .4em 2em; padding: 1em 0;
  border-top: 1px solid var(--rule); break-inside: avoid }
.column h3 { margin: 0; font-size: 1.02em; overflow-wrap: anywhere }
.column p { margin: .15em 0; font-size: .87em } .column dl { font-size: .87em; gap: .1em 1.1em; align-content: start }
.tag { display: inline-block; font-size: .75em; padding: .05em .55em; border: 1px solid currentColor;
  border-radius: 1em; margin: .25em .3em 0 0 }
.full { height: 4px; border-radius: 2px; background: var(--rule); margin: .5em 0 .25em }
.full i { display: block; height: 100%; border-radius: 2px; background: var(--fill) }
details { margin-top: 2.4em } summary { cursor: pointer; font-weight: 600 }
iframe { width: 100%; height: 900px; border: 1px solid var(--rule); border-radius: 6px; background: #fff;
  margin-top: .8em }
@media (max-width: 860px) { .column { grid-template-columns: 1fr } }
"""
# Evidently's summary draws itself with inline scripts; the sandbox gives it an origin of its own, and no address.
_WITH_SCRIPTS = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "script-src 'unsafe-inline' 'unsafe-eval'"
)
_MOST_TIES, _MOST_STRIPS = 20, 25
DRIFTED_FAR = 0.3
_FULL_DRIFT = 0.6


def render_profile(
    title: str, lead: str, profile: DataProfile, *, n_bytes: int, personal: frozenset[str], summary: str | None = None
) -> str:
    """Write the page of a profile.

    Parameters
    ----------
    personal : frozenset of str
        Columns whose values must not be shown.
    summary : str, optional
        A page of Evidently's, to be shown in a frame of its own.
    """
    findings = find_remarkable(profile, personal, drift_limit=DRIFTED_FAR)
    parts = [
        f"<h1>{escape(title)}</h1><p class='lead soft'>{escape(lead)}</p>",
        cards(_figures(profile, n_bytes)),
        section("What stands out", _findings(findings)) if findings else "",
        section(f"What goes with {profile.target}", _ties(profile)) if profile.associations else "",
        section("Looks like a leak, a clock or an identifier", _suspects(profile)) if profile.suspects else "",
    ]
    if profile.slices is not None:
        parts += [section("Drift over time", _drift(profile.slices)), _missing_section(profile.slices)]
    parts.append(section("Columns", "".join(_column(column, profile, personal) for column in profile.columns)))
    if summary is not None:
        frame = f'<iframe sandbox="allow-scripts" loading="lazy" title="Evidently" srcdoc="{escape(summary)}"></iframe>'
        parts.append(f"<details class=screen><summary>Evidently's summary of the sample</summary>{frame}</details>")
    parts.append(f"<p class='soft foot'>{escape(_method(profile))}</p>")
    body = "".join(parts)
    return page(title, body, style=STYLE + _STYLE, **({} if summary is None else {"policy": _WITH_SCRIPTS}))


def _figures(profile: DataProfile, n_bytes: int) -> list[tuple[str, str, str, str]]:
    kinds: dict[str, int] = {}
    for column in profile.columns:
        kinds[column.profile.type] = kinds.get(column.profile.type, 0) + 1
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]))
    n_cells = profile.n_rows * len(profile.columns)
    n_missing = sum(column.profile.n_null for column in profile.columns)
    figures = [
        ("rows", f"{profile.n_rows:,}", show_bytes(n_bytes) if n_bytes else "", "accent"),
        ("columns", f"{len(profile.columns)}", listed, "accent"),
        ("missing", show_share(n_missing / n_cells) if n_cells else "–", f"of {n_cells:,} values", "accent"),
        ("repeated rows", f"{profile.n_double:,}", "" if not profile.n_double else "see below", "accent"),
    ]
    if profile.slices is not None:
        first, last = profile.slices.edges[0], profile.slices.edges[-1]
        figures.insert(2, ("time", f"{(last - first).days:,} days", f"{first:%Y-%m-%d} to {last:%Y-%m-%d}", "accent"))
    return figures


def _findings(findings: Sequence[Finding]) -> str:
    items = []
    for finding in findings:
        column = "" if finding.column is None else f"<b>{escape(finding.column)}</b> "
        items.append(f"<li class={finding.weight}><span>{column}{escape(finding.text)}</span></li>")
    return f"<ul class=findings>{''.join(items)}</ul>"


def _ties(profile: DataProfile) -> str:
    rows = []
    for tie in profile.associations[:_MOST_TIES]:
        bar = f"<i{' class=down' if tie.value < 0 else ''} style='width:{100 * abs(tie.value):.1f}%'></i>"
        value = f"{tie.value:.2f}".replace("-", "−")
        rows.append(
            f"<span>{escape(tie.column)}</span><div>{bar}</div><em>{value}</em><span class=soft>{tie.measure}</span>"
        )
    rest = len(profile.associations) - _MOST_TIES
    more = f"<p class=soft>and {rest} weaker ones</p>" if rest > 0 else ""
    return f"<div class=ties>{''.join(rows)}</div>{more}"


def _suspects(profile: DataProfile) -> str:
    kinds = {"leak": "<span class=bad>leak</span>", "identifier": "identifier", "time": "clock"}
    rows = [[f"<b>{escape(one.column)}</b>", kinds[one.kind], escape(one.reason)] for one in profile.suspects]
    return table(["column", "looks like", "because"], rows, n_texts=3)


def _drift(slices: TimeSlices) -> str:
    from features.time_slices import largest

    order = sorted(slices.drift, key=lambda name: -largest(slices.drift[name]))
    strips = {name: slices.drift[name] for name in order[:_MOST_STRIPS]}
    start = f"{slices.edges[0]:%Y-%m-%d} to {slices.edges[slices.n_reference]:%Y-%m-%d}"
    rest = len(order) - len(strips)
    more = f"; {rest} columns that moved less are left out" if rest else ""
    note = (
        f"How far each column lies from its start ({start}, underlined): Jensen and Shannon's distance, 0 to 1, "
        f"less what chance explains. The last figure is the farthest{more}."
    )
    return _strips(slices, strips, kind="heat", full=_FULL_DRIFT, note=note)


def _missing_section(slices: TimeSlices) -> str:
    from features.time_slices import largest

    gaps = {name: values for name, values in slices.missing.items() if largest(values) > 0}
    if not gaps:
        return ""
    order = sorted(gaps, key=lambda name: -largest(gaps[name]))[:_MOST_STRIPS]
    note = "The share of values that are missing in each slice of time; the last figure is the largest."
    strips = {name: gaps[name] for name in order}
    return section("Missing over time", _strips(slices, strips, kind="gap", full=1.0, note=note))


def _strips(
    slices: TimeSlices, strips: dict[str, tuple[float | None, ...]], *, kind: str, full: float, note: str
) -> str:
    from features.time_slices import largest

    days = [f"{edge:%Y-%m-%d}" for edge in slices.edges[:-1]]
    rows = []
    for name, values in strips.items():
        strip = draw_strip(values, kind=kind, titles=[f"{name}, from {day}" for day in days], full=full)
        top = largest(values)
        rows.append(f"<span>{escape(name)}</span>{strip}<em>{top:.2f}</em>")
    # A line under the slices that the others are measured from.
    line = f"<i style='width:{100 * slices.n_reference / len(days):.1f}%'></i>" if kind == "heat" else ""
    scale = f"<div class='scale soft'>{line}<span>{days[0]}</span><span>{slices.edges[-1]:%Y-%m-%d}</span></div>"
    return (
        f"<p class='soft foot'>{escape(note)}</p><div class=strips>{''.join(rows)}<span></span>{scale}<em></em></div>"
    )


def _column(column: ColumnDetails, profile: DataProfile, personal: frozenset[str]) -> str:
    own = column.profile
    is_personal = column.name in personal
    tags = [f"<span class='tag soft'>{own.type}</span>"]
    if column.name == profile.target:
        tags.append("<span class='tag good'>target</span>")
    if is_personal:
        tags.append("<span class='tag warn'>personal</span>")
    for suspect in profile.suspects:
        if suspect.column == column.name:
            kind = "clock" if suspect.kind == "time" else suspect.kind
            tags.append(f"<span class='tag {'bad' if kind == 'leak' else 'warn'}'>{kind}</span>")
    share = 1 - own.null_share if own.n else 0.0
    filled = f"<div class=full><i style='width:{100 * share:.1f}%'></i></div>"
    note = (
        "in every row" if own.n_null == 0 else f"missing in {_count(own.n_null, 'row')} ({show_share(own.null_share)})"
    )
    if column.is_empty or is_personal:
        plot = "<p class=soft>no value</p>" if column.is_empty else "<p class=soft>personal: not drawn</p>"
    else:
        plot = draw_distribution(column.bins, column.counts)
    return (
        f"<div class=column><div><h3>{escape(column.name)}</h3>{''.join(tags)}{filled}<p class=soft>{note}</p></div>"
        f"<div>{plot}</div><dl>{_facts(column, is_personal=is_personal)}</dl></div>"
    )


def _facts(column: ColumnDetails, *, is_personal: bool) -> str:
    own = column.profile
    named = {"distinct": f"{'' if own.is_counted else '≈ '}{own.n_distinct:,}"}
    if own.type in ("number", "integer", "time") and own.quantiles and not is_personal:
        low, quarter, median, third, high = (own.quantiles[index] for index in (0, 3, 4, 5, 8))
        ends = [own.minimum, own.maximum]
        if own.type == "time":
            named["from, to"] = " to ".join(str(end)[:16].replace("T", " ") for end in ends)
        else:
            named["least, most"] = " to ".join(show_number(end) for end in ends if isinstance(end, float))
        named["1 % to 99 %"] = f"{show_value(low, own.type)} to {show_value(high, own.type)}"
        # Between two whole numbers an estimated quantile is neither.
        middle = [round(value) if own.type == "integer" else value for value in (quarter, median, third)]
        named["quartiles"] = ", ".join(show_value(value, own.type) for value in middle)
        if column.mean is not None and column.deviation is not None:
            named["mean"] = f"{show_number(column.mean)} ± {show_number(column.deviation)}"
        for name, count in (("zero", column.n_zero), ("below 0", own.n_negative), ("infinite", column.n_infinite)):
            if count:
                named[name] = f"{_count(count, 'row')} ({show_share(count / own.n)})"
    elif own.type == "text" and own.quantiles:
        named["length"] = f"{_length(own.minimum)} to {_length(own.maximum)} characters"
    if own.is_counted and own.n_once:
        named["seen once"] = _count(own.n_once, "value")
    return "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in named.items())


def _method(profile: DataProfile) -> str:
    parts = ["Missing values, ends, counts and repeated rows are of every row."]
    if profile.n_drawn < profile.n_rows:
        parts.append(f"Distributions and drift are of {profile.n_drawn:,} rows, drawn at random with a fixed seed.")
    if profile.target is not None and profile.n_judged < profile.n_rows:
        parts.append(f"Ties to the target and leaks were looked for in {profile.n_judged:,} of them.")
    parts.append("≈ marks a count that is right within some percent.")
    return " ".join(parts)


def _length(end: float | str | None) -> str:
    return show_number(end) if isinstance(end, float) else "0"


def _count(n_things: int, thing: str) -> str:
    return f"{n_things:,} {thing}{'' if n_things == 1 else 's'}"
