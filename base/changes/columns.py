"""What has changed in one column: nulls, categories, units, signs; named only where chance cannot explain it."""

from __future__ import annotations

import math

from base.changes.change import Change
from base.changes.profiles import Category, ColumnProfile
from base.changes.units import find_conversion

# A run compares dozens of columns in several ways, every day: at this rate chance speaks once in thousands of runs.
_CHANCE = 1e-7
_FEWEST_ROWS = 30
_MOST_CATEGORIES = 100
_SHOWN = 3
_NULL_RISE = 0.05


def find_column_changes(name: str, reference: ColumnProfile, current: ColumnProfile) -> list[Change]:
    """Compare a column with its past.

    Each finding has two conditions: chance alone would hardly ever make it, and no stretch of the reference,
    half as long as the current rows, looked like it.

    Parameters
    ----------
    reference : ColumnProfile
        With stretches, where the rows have an order (:func:`base.changes.profiled_rows.profile_table`).
    """
    if current.n < _FEWEST_ROWS or reference.n < _FEWEST_ROWS:
        return []
    burst = _null_burst(name, reference, current)
    changes = [] if burst is None else [burst]
    if not reference.n_present or not current.n_present:
        return changes
    if retyped := _retyped(name, reference, current):
        return [*changes, retyped]
    if stuck := _stuck(name, reference, current):
        return [*changes, stuck]
    if distinct := _all_distinct(name, reference, current):
        return [*changes, distinct]
    if current.type in ("number", "integer"):
        changes += _number_changes(name, reference, current)
    elif current.type == "text":
        changes += _category_changes(name, reference, current)
    return changes


def _null_burst(name: str, reference: ColumnProfile, current: ColumnProfile) -> Change | None:
    usual = max([reference.null_share, *(part.n_null / part.n for part in reference.stretches if part.n)])
    now = current.null_share
    if now < usual + _NULL_RISE or ((1 - now) > 0.7 * (1 - usual) and now < 3 * usual):
        return None
    # Laplace's rule: a null that never came in n rows may come in 1 of n + 2.
    rate = (usual * reference.n + 1) / (reference.n + 2)
    if _chance_of_at_least(current.n_null, current.n, rate) > _CHANCE:
        return None
    return Change(
        kind="null burst",
        column=name,
        before=f"{reference.null_share:.1%} null",
        now="null in every row" if not current.n_present else f"{now:.1%} null",
    )


def _retyped(name: str, reference: ColumnProfile, current: ColumnProfile) -> Change | None:
    if reference.type == current.type:
        return None
    if {reference.type, current.type} == {"integer", "number"} and reference.n_fractions == current.n_fractions == 0:
        return None  # whole numbers with a gap among them come as numbers
    if (reference.type, current.type) == ("number", "integer"):
        return None  # as a few whole ones of many measures do
    example = f", such as {current.top[0].value[:40]!r}" if current.top else ""
    return Change(kind="retyped column", column=name, before=reference.type, now=f"{current.type}{example}")


def _stuck(name: str, reference: ColumnProfile, current: ColumnProfile) -> Change | None:
    is_stuck = current.is_counted and current.n_distinct == 1
    if not is_stuck or reference.n_distinct <= 1 or any(part.n_distinct <= 1 for part in reference.stretches if part.n):
        return None
    value = current.top[0].value
    usual = max((item.n for item in reference.top), default=1) / reference.n_present
    if current.n_present * math.log(min(usual, 1 - 1e-12)) > math.log(_CHANCE):
        return None
    return Change(
        kind="stuck column",
        column=name,
        before=f"{reference.n_distinct:,} values",
        now=f"{value[:40]!r} in every row",
    )


def _all_distinct(name: str, reference: ColumnProfile, current: ColumnProfile) -> Change | None:
    if current.type not in ("text", "integer") or current.n_present < 100:
        return None
    is_distinct = current.n_once == current.n_present if current.is_counted else _distinct_share(current) > 0.85
    # A stretch counts about as roughly as the rest; half as many rows have fewer doubles than all.
    shares = [part.n_distinct / (part.n - part.n_null) for part in reference.stretches if part.n > part.n_null]
    usual = max([_distinct_share(reference), *shares])
    if not is_distinct or usual > 0.5:
        return None
    return Change(
        kind="all distinct",
        column=name,
        before=f"{reference.n_distinct:,} values in {reference.n_present:,} rows",
        now=f"another one in each of {current.n_present:,} rows",
    )


def _number_changes(name: str, reference: ColumnProfile, current: ColumnProfile) -> list[Change]:
    if found := find_conversion(reference, current):
        conversion, factor = found
        middle = len(current.scale) // 2
        return [
            Change(
                kind="sign flip" if factor < 0 else "unit jump",
                column=name,
                before=f"median {reference.scale[middle]:,.4g}",
                now=f"median {current.scale[middle]:,.4g}",
                detail=conversion,
            )
        ]
    rate = (reference.n_negative + 1) / (reference.n_present + 2)
    is_new = not reference.n_negative and current.n_negative >= max(3, 0.01 * current.n_present)
    if is_new and _chance_of_at_least(current.n_negative, current.n_present, rate) < _CHANCE:
        share = current.n_negative / current.n_present
        return [Change(kind="negative values", column=name, before="none negative", now=f"{share:.1%} negative")]
    return []


def _category_changes(name: str, reference: ColumnProfile, current: ColumnProfile) -> list[Change]:
    known, now = reference.categories, current.categories
    if known is None or now is None or len(known) > _MOST_CATEGORIES:
        return []
    changes = []
    new = [item for item in current.top if item.value not in known]
    n_new = sum(item.n for item in new)
    # Good and Turing: values that were seen once tell how much there is that was not seen at all.
    unseen = (reference.n_once + 1) / (reference.n_present + 2)
    if new and _chance_of_at_least(n_new, current.n_present, unseen) < _CHANCE:
        share = n_new / current.n_present
        changes.append(
            Change(kind="new categories", column=name, now=f"{_list(new)} in {share:.1%} of the rows", detail="unseen")
        )
    gone = [item for item in reference.top if item.value not in now and _should_be_there(item, reference, current)]
    if gone:
        share = sum(item.n for item in gone) / reference.n_present
        changes.append(
            Change(
                kind="vanished categories",
                column=name,
                before=f"{_list(gone)} in {share:.1%} of the rows",
                now="in none",
            )
        )
    return changes


def _should_be_there(item: Category, reference: ColumnProfile, current: ColumnProfile) -> bool:
    if reference.stretches and item.n_stretches < len(reference.stretches):
        return False
    return current.n_present * math.log1p(-item.n / (reference.n_present + 1)) < math.log(_CHANCE)


def _distinct_share(profile: ColumnProfile) -> float:
    return profile.n_distinct / profile.n_present


def _list(items: list[Category]) -> str:
    shown = ", ".join(repr(item.value[:40]) for item in items[:_SHOWN])
    return shown + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")


def _chance_of_at_least(n_seen: int, n: int, rate: float) -> float:
    """Bound the chance that a binomial count reaches *n_seen* (Chernoff): never below the truth."""
    share = n_seen / n
    if share <= rate:
        return 1.0
    rate = max(rate, 1e-12)
    divergence = share * math.log(share / rate)
    if share < 1:
        divergence += (1 - share) * math.log((1 - share) / (1 - rate))
    return math.exp(-n * divergence)
