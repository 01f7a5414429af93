"""What stands out in a profile: the few things that a person should look at first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from console.plots import show_number, show_share

if TYPE_CHECKING:
    from features.data_profile import ColumnDetails, DataProfile

_MOSTLY_MISSING = 0.5
_MOSTLY_ONE = 0.99
# The largest value of a hundredth of the rows is seldom so many times the value that this hundredth begins with.
_FAR_OUT = 10
_FEW = 0.01
_PLACEHOLDER = re.compile(r"\s*(n/?a|nan|null|none|undefined|unknown|missing|\?|-+|\.|xxx+)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """One thing to look at; *weight* is ``bad``, ``warn`` or ``soft``."""

    weight: Literal["bad", "warn", "soft"]
    column: str | None
    text: str


def find_remarkable(profile: DataProfile, personal: frozenset[str], *, drift_limit: float) -> list[Finding]:
    """Find what stands out, the gravest first."""
    found = list(_of_rows(profile))
    for column in profile.columns:
        found += _of_column(column, is_personal=column.name in personal)
    for suspect in profile.suspects:
        if suspect.kind == "leak":
            found.append(Finding("bad", suspect.column, f"may give the target away: {suspect.reason}"))
    if profile.slices is not None:
        from features.time_slices import largest

        clocks = {suspect.column for suspect in profile.suspects if suspect.kind in ("time", "identifier")}
        drifts = {name: largest(values) for name, values in profile.slices.drift.items() if name not in clocks}
        far = sorted((name for name in drifts if drifts[name] >= drift_limit), key=lambda name: -drifts[name])
        if far:
            more = f" and {len(far) - 6} more" if len(far) > 6 else ""
            found.append(Finding("warn", None, f"drifted far from their start: {', '.join(far[:6])}{more}"))
    order = {"bad": 0, "warn": 1, "soft": 2}
    return sorted(found, key=lambda finding: order[finding.weight])


def _of_rows(profile: DataProfile) -> Iterator[Finding]:
    if profile.n_rows == 0:
        yield Finding("bad", None, "there is no row")
    if profile.n_double:
        apart = f", {', '.join(profile.not_compared)} apart" if profile.not_compared else ""
        share = show_share(profile.n_double / profile.n_rows)
        yield Finding("warn", None, f"{profile.n_double:,} rows ({share}) repeat another one{apart}")


def _of_column(column: ColumnDetails, *, is_personal: bool) -> Iterator[Finding]:
    profile, name = column.profile, column.name
    if column.is_empty:
        yield Finding("bad", name, "holds no value in any row")
        return
    if column.is_constant:
        yield Finding("warn", name, "holds the same value in every row")
        return
    if profile.null_share >= _MOSTLY_MISSING:
        yield Finding("warn", name, f"is missing in {show_share(profile.null_share)} of the rows")
    if column.n_infinite:
        yield Finding("bad", name, f"is infinite in {column.n_infinite:,} rows")
    if profile.type in ("text", "boolean"):
        if not is_personal:
            yield from _of_texts(column)
        return
    if profile.top and profile.is_counted and profile.top[0].n >= _MOSTLY_ONE * profile.n_present:
        yield Finding("soft", name, f"is the same in {show_share(profile.top[0].n / profile.n_present)} of the rows")
    if profile.type == "time" or is_personal:
        return
    if 0 < profile.n_negative <= _FEW * profile.n_present and isinstance(profile.minimum, float):
        rows = "1 row" if profile.n_negative == 1 else f"{profile.n_negative:,} rows"
        yield Finding("warn", name, f"is below 0 in {rows} only; the least is {show_number(profile.minimum)}")
    if profile.quantiles and isinstance(profile.maximum, float):
        high = round(profile.quantiles[-1]) if profile.type == "integer" else profile.quantiles[-1]
        if high > 0 and _FAR_OUT * high <= profile.maximum and profile.n_distinct > 2:
            text = f"reaches {show_number(profile.maximum)}, and in 99 % of the rows it is at most {show_number(high)}"
            yield Finding("warn", name, text)


def _of_texts(column: ColumnDetails) -> Iterator[Finding]:
    present = column.profile.n_present
    for item in column.profile.top:
        if _PLACEHOLDER.fullmatch(item.value):
            rows = "1 row" if item.n == 1 else f"{item.n:,} rows"
            text = f"holds {item.value!r} in {rows} ({show_share(item.n / present)}), which may mean missing"
            yield Finding("warn", column.name, text)
