"""Likely renames: a column that is gone and one that is new, alike in name, type and values."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from base.changes.change import Change
from base.changes.profiles import ColumnProfile
from base.changes.units import similarity
from base.json_values import ColumnType

_LIKELY = 0.6
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Fewer values than this say little: any two flags or counts look alike.
_TELLING_NUMBERS, _TELLING_TEXTS = 20, 3


@dataclass(frozen=True)
class Rename:
    """A column's likely new name, and how alike the two are, from 0 to 1."""

    old: str
    new: str
    likeness: float

    def as_change(self) -> Change:
        """Tell it as a change of the old column."""
        return Change(
            kind="renamed column",
            column=self.old,
            now=repr(self.new),
            detail=f"likely: {self.likeness:.0%} alike",
            other=self.new,
        )


def find_renames(
    missing: Collection[str],
    new: Collection[str],
    before: Mapping[str, ColumnProfile],
    now: Mapping[str, ColumnProfile],
) -> list[Rename]:
    """Pair missing with new columns, the most alike first; each column is used once.

    Likeness is by name and, as far as a profile of both is given, by type, values and share of nulls.
    """
    pairs = [
        Rename(one, other, _likeness(one, other, before.get(one), now.get(other))) for one in missing for other in new
    ]
    taken: set[tuple[str, str]] = set()
    renames = []
    for pair in sorted(pairs, key=lambda pair: (-pair.likeness, pair.old, pair.new)):
        if pair.likeness >= _LIKELY and not {("old", pair.old), ("new", pair.new)} & taken:
            taken |= {("old", pair.old), ("new", pair.new)}
            renames.append(pair)
    return renames


def name_similarity(one: str, other: str) -> float:
    """Tell how alike two columns' names are, from 0 to 1; word order, case and separators do not count.

    Examples
    --------
    >>> name_similarity("pickupLatitude", "latitude_pickup")
    1.0
    >>> name_similarity("fare", "fare_usd") > 0.6 > name_similarity("fare", "company")
    True
    """
    words, others = (sorted(word.lower() for word in _WORDS.findall(name)) for name in (one, other))
    if words and words == others:
        return 1.0
    letters = SequenceMatcher(None, "".join(words) or one, "".join(others) or other, autojunk=False).ratio()
    shared = set(words) & set(others)
    # One name within the other, such as 'fare' in 'fare_usd', is how most renames look.
    covered = sum(map(len, shared)) / max(1, min(sum(map(len, words)), sum(map(len, others))))
    return max(letters, 0.8 * covered)


def value_similarity(before: ColumnProfile, now: ColumnProfile) -> float:
    """Tell how alike the values of two columns are, from 0 to 1; 0 where their types differ."""
    if _kind(before.type) != _kind(now.type):
        return 0.0
    nulls = 1.0 - abs(before.null_share - now.null_share)
    if not before.n_present or not now.n_present:
        return nulls if before.n_present == now.n_present else 0.0
    if before.type == "text" and (before.top or now.top):
        shares = {item.value: item.n / before.n_present for item in before.top}
        values = sum(min(shares.get(item.value, 0.0), item.n / now.n_present) for item in now.top)
    else:
        values = similarity(before.quantiles, now.quantiles)
    return values * nulls


def _likeness(one: str, other: str, before: ColumnProfile | None, now: ColumnProfile | None) -> float:
    names = name_similarity(one, other)
    if before is None or now is None:
        return names
    values = value_similarity(before, now)
    if values == 0.0 and _kind(before.type) != _kind(now.type):
        return 0.0
    n_values = min(before.n_distinct, now.n_distinct)
    if n_values < (_TELLING_TEXTS if before.type == "text" else _TELLING_NUMBERS):
        return names * (0.5 + 0.5 * values)
    # Either alone may be enough: the same values under a new name, or the same name over values in a new unit.
    return max(0.5 * names + 0.5 * values, values**3 * 0.9, names * 0.75)


def _kind(kind: ColumnType) -> str:
    return "number" if kind == "integer" else kind
