"""How happenings are put: a headline of one line, what happened and why in a few, cut where nobody reads on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from base.receivers import HappeningKind, Severity
from registry.notices.happening import Happening
from registry.tables import Decision

# The ledger keeps every word; a message need not.
_LONGEST_TEXT, _LONGEST_TITLE = 1500, 150


def tell_of(
    decision: Decision,
    kind: HappeningKind,
    title: str,
    what: str,
    *,
    severity: Severity = "info",
    topic: str = "",
    sign: str = "",
    version: object = None,
    details: Mapping[str, Any] | None = None,
) -> Happening:
    """Tell of a decision: *what* happened in a sentence or two; why stands in the ledger.

    Parameters
    ----------
    version : optional
        The number of the model's version whose report is the page to look at; default: the model's page.
    """
    page = "" if version is None else f"/versions/{version}/report"
    return Happening(
        kind=kind,
        pipeline=decision.pipeline,
        title=as_line(f"{decision.pipeline}: {title}"),
        text=cut_text(f"{what}\nWhy: {decision.reason or 'no reason was given'}"),
        severity=severity,
        key=f"decision/{decision.sequence}/{kind}",
        at=decision.decided_at,
        link=f"/v1/models/{decision.pipeline}{page}",
        topic=topic,
        sign=sign,
        run_id=decision.run_id,
        details={"decision": decision.sequence, "actor": decision.actor, **(details or {})},
    )


def name_window(evidence: Mapping[str, Any]) -> str:
    """Say of which window of traffic something is told; nothing where there is none.

    Examples
    --------
    >>> name_window({"window": ["2026-02-23T00:00:00+00:00", "2026-03-02T00:00:00+00:00"]})
    ' in the window 2026-02-23T00:00 to 2026-03-02T00:00'
    """
    window = evidence.get("window")
    return f" in the window {window[0][:16]} to {window[1][:16]}" if window else ""


def as_line(text: str) -> str:
    """Return text as one line of printable characters, as a subject or a headline must be.

    Examples
    --------
    >>> as_line("bike: promoted\\r\\nBcc: all@example.org")
    'bike: promoted Bcc: all@example.org'
    """
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _LONGEST_TITLE else line[: _LONGEST_TITLE - 1] + "…"


def cut_text(text: str) -> str:
    """Return text as it is, or its beginning where it is longer than anybody reads in a message."""
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
