"""Signs that rows are broken on their way, not that the world has changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from monitoring.alarms.alarm import Judgement, Standout
from monitoring.alarms.measures import WindowFacts

BreakKind = Literal["schema", "null burst", "unit change", "constant column", "upstream outage", "impossible values"]

_KINDS: dict[str, BreakKind] = {
    "unit": "unit change",
    "missing": "null burst",
    "gap": "null burst",
    "missing column": "schema",
    "type": "schema",
    "infinite": "impossible values",
    "impossible": "impossible values",
    "refused": "impossible values",
    "rows": "upstream outage",
}


@dataclass(frozen=True)
class Break:
    """One thing that is broken: what it looks like, in which column, and a few rows of the log that show it."""

    kind: BreakKind
    column: str | None
    reason: str
    share: float
    rows: tuple[str, ...] = ()


def find_breaks(
    judgement: Judgement,
    facts: WindowFacts,
    unit_ratios: Mapping[str, float],
    constant: Collection[str] = (),
) -> tuple[Break, ...]:
    """Find what is broken among what stands out in a window, each column once, the largest share first.

    Parameters
    ----------
    unit_ratios : mapping of str to float
        By column, the factor by which its values look like the reference in another unit.
    constant : collection of str
        Columns with one value only. Many are so in most windows (a month, a season); only one that otherwise differs
        from what is usual here is broken.
    """
    found: dict[tuple[BreakKind, str | None], Break] = {}
    for each in judgement.standouts:
        kind = _break_kind(each, unit_ratios, constant)
        if kind is None or each.is_muted:
            continue
        rows = facts.examples.get(each.column or "", ())
        told = Break(kind, each.column, _tell(each, kind, unit_ratios), min(each.effect, 1.0), rows)
        if (kind, each.column) not in found or told.share > found[kind, each.column].share:
            found[kind, each.column] = told
    return tuple(sorted(found.values(), key=lambda each: -each.share))


def _break_kind(standout: Standout, unit_ratios: Mapping[str, float], constant: Collection[str]) -> BreakKind | None:
    if standout.kind == "broken data":
        return _KINDS[standout.aspect]
    if standout.aspect != "values" or standout.kind != "drift":
        return None
    if standout.column in constant:
        return "constant column"
    return "unit change" if standout.column in unit_ratios else None


def _tell(standout: Standout, kind: BreakKind, unit_ratios: Mapping[str, float]) -> str:
    ratio = unit_ratios.get(standout.column or "")
    if kind == "unit change" and ratio is not None:
        return f"{standout.column} looks like another unit: as before times {ratio:.3g}; {standout.text}"
    return f"{kind}: {standout.text}"
