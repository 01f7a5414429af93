"""Self-contained HTML pages in one style: light and dark, printable, and no request leaves them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

_LIGHT = """--ink: #1f2328; --soft: #667; --rule: #d9dde3; --card: #f6f7f9; --page: #fff; --accent: #1769aa;
  --second: #c2571a; --third: #8a8f98; --fill: #7fb2dc; --good: #1a7f37; --warn: #9a6700; --bad: #b42318"""
_DARK = """--ink: #e6e8eb; --soft: #9aa2ad; --rule: #363c45; --card: #1c2128; --page: #14181d; --accent: #58a6ff;
  --second: #f0883e; --third: #8b949e; --fill: #2f6ea8; --good: #3fb950; --warn: #d29922; --bad: #f85149"""

STYLE = f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
@media print {{ :root {{ color-scheme: light; {_LIGHT} }} body {{ max-width: none !important; margin: 0 !important }}
  section, tr, .card {{ break-inside: avoid }} h2, h3 {{ break-after: avoid }} .screen {{ display: none }} }}
* {{ box-sizing: border-box; print-color-adjust: exact; -webkit-print-color-adjust: exact }}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
       max-width: 900px; margin: 2.2em auto 4em; padding: 0 1.2em }}
h1 {{ font-size: 1.9em; margin: 0; overflow-wrap: anywhere }} h2 {{ font-size: 1.15em; margin: 2.2em 0 .5em }}
a {{ color: var(--accent) }} code {{ font: .92em ui-monospace, monospace; overflow-wrap: anywhere }}
.soft {{ color: var(--soft) }} .lead {{ margin: .2em 0 1.2em }}
.cards {{ display: flex; gap: 14px; flex-wrap: wrap }}
.card {{ flex: 1 1 200px; background: var(--card); border: 1px solid var(--rule); border-top-width: 3px;
        border-radius: 6px; padding: .7em 1em }}
.card b {{ display: block; font-size: 1.65em; font-variant-numeric: tabular-nums; line-height: 1.3 }}
.card small {{ font-size: .5em; font-weight: 400 }}
.card.good {{ border-top-color: var(--good) }} .card.warn {{ border-top-color: var(--warn) }}
.card.bad {{ border-top-color: var(--bad) }} .card.accent {{ border-top-color: var(--accent) }}
.wide {{ overflow-x: auto }}
table {{ border-collapse: collapse; min-width: 60% }}
th, td {{ padding: .32em 1.1em .32em 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top }}
th {{ font-weight: 600; color: var(--soft); font-size: .9em }}
.n {{ text-align: right; font-variant-numeric: tabular-nums; padding-left: 1.1em; padding-right: 0 }}
.good {{ color: var(--good) }} .warn {{ color: var(--warn) }} .bad {{ color: var(--bad) }}
.card.good, .card.warn, .card.bad {{ color: var(--ink) }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .25em 1.4em; margin: 0 }}
dt {{ color: var(--soft) }} dd {{ margin: 0; overflow-wrap: anywhere }}
svg {{ width: 100%; height: auto; display: block }} svg text {{ font: 12px system-ui, sans-serif; fill: var(--ink) }}
svg .label {{ fill: var(--soft) }} svg .grid {{ stroke: var(--rule) }} svg .axis {{ stroke: var(--soft) }}
svg .line {{ fill: none; stroke-width: 2; stroke-linejoin: round }}
"""
"""What all pages look like; its variables (``--ink``, ``--accent``, ``--good`` …) are for the pages' own rules."""

# A page holds other people's data: nothing in it may run or be fetched, whatever a value looks like.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, body: str, *, style: str = "", policy: str = _POLICY) -> str:
    """Write a whole page.

    Parameters
    ----------
    title : str
        Plain text, for the browser's tab.
    body : str
        HTML; what comes from data must be escaped in it.
    style : str
        CSS of this page alone, behind :data:`STYLE`.
    policy : str
        The page's content security policy; the default lets no script run and no request leave.

    Examples
    --------
    >>> "<title>a &lt; b</title>" in page("a < b", "<h1>Rows</h1>")
    True
    """
    head = (
        "<meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style>"
    )
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{body}</body></html>"


def name_page(text: str, name: str) -> str:
    """Put a name before a finished page's title and its first heading, or over all where it has none.

    Examples
    --------
    >>> name_page("<title>Evaluation</title><body><h1>bike</h1>", "bike@7")
    '<title>bike@7: Evaluation</title><body><h1>bike@7: bike</h1>'
    >>> name_page("<body><p>rows</p>", "bike@7")
    '<body><h1>bike@7</h1><p>rows</p>'
    """
    told = escape(name)
    text = re.sub("(<title>)", lambda found: f"{found[1]}{told}: ", text, count=1)
    named, n_headings = re.subn("(<h1[^>]*>)", lambda found: f"{found[1]}{told}: ", text, count=1)
    if n_headings:
        return named
    return re.sub("(<body[^>]*>)", lambda found: f"{found[1]}<h1>{told}</h1>", text, count=1)


def in_light(style: str) -> str:
    """Write the light colours into rules in place of their variables, for a picture that stands alone.

    Examples
    --------
    >>> in_light("svg text { fill: var(--ink) }")
    'svg text { fill: #1f2328 }'
    """
    colours = dict(re.findall(r"--(\w+): ([^;\s]+)", _LIGHT))
    return re.sub(r"var\(--(\w+)\)", lambda found: colours[found[1]], style)


def section(title: str, content: str) -> str:
    """Write a part of a page: a heading (plain text), and HTML that scrolls where it is too wide."""
    return f"<section><h2>{escape(title)}</h2><div class='wide'>{content}</div></section>"


def cards(figures: Sequence[tuple[str, str, str, str]]) -> str:
    """Write the figures that a page begins with: title, figure, note and kind (``good``, ``warn``, ``bad`` or "")."""
    return (
        "<div class='cards'>"
        + "".join(
            f"<div class='card {kind}'>{escape(title)}<b>{escape(figure)}</b>"
            f"<span class='soft'>{escape(note)}</span></div>"
            for title, figure, note, kind in figures
        )
        + "</div>"
    )


def facts(named: Mapping[str, str]) -> str:
    """Write plain facts by name."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>' for name, fact in named.items())}</dl>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, n_texts: int = 1) -> str:
    """Write a table; the cells are HTML already, and all columns but the first *n_texts* hold figures.

    Examples
    --------
    >>> table(["column", "rows"], [["age", "3"]])
    '<table><tr><th>column</th><th class=n>rows</th></tr><tr><td>age</td><td class=n>3</td></tr></table>'
    """
    kinds = ["" if index < n_texts else " class=n" for index in range(len(head))]
    cells = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, head, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{cells}</tr>{body}</table>"
