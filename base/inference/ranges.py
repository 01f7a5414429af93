"""Ranges and categories for a first contract: wide enough for a growing world, narrow enough for broken units."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from base.changes.profiles import PROBABILITIES, ColumnProfile
from base.inference.keys import FEWEST_ROWS
from base.rows.duck import quote_name

if TYPE_CHECKING:
    import duckdb

# Beyond what was seen, numbers may go on for half of what they span: records are broken, units are not.
_MARGIN = 0.5
# A value that lies so many times farther from the median than 99 % of all do, and no more than one row in a thousand
# does, is taken as broken: it shall not set the range.
_OUTLYING = 5
_ISOLATED = 2
_MOST_OUTLYING_SHARE = 0.001
_MOST_CODES = 60
_MOST_CATEGORIES = 20
_FEWEST_FOR_CATEGORIES = 1_000
_FEWEST_OF_CATEGORY = 5
_NUMBER_OF_WHAT = re.compile(
    r"(^|[_\W])(id|ids|key|code|no|nr|num|number|tract|zip|yr|year|version|seq)([_\W]|$)", re.I
)
_MEDIAN, _HIGH, _LOW = PROBABILITIES.index(0.5), PROBABILITIES.index(0.99), PROBABILITIES.index(0.01)


@dataclass(frozen=True)
class Range:
    """Bounds, either of which may be open, and how many rows that were seen lie outside."""

    minimum: float | None = None
    maximum: float | None = None
    n_outside: int = 0


def infer_ranges(
    connection: duckdb.DuckDBPyConnection, view: str, columns: Mapping[str, ColumnProfile]
) -> dict[str, Range]:
    """Find the range of each column of numbers that should have one.

    Numbers that merely name things (by their column's name, or since nearly each row has another) get no maximum,
    nor does what only grows with time.
    """
    ranges = {name: _find_range(name, column) for name, column in columns.items() if _is_measured(column)}
    outside = _count_outside(connection, view, ranges)
    found = {name: Range(one.minimum, one.maximum, outside[name]) for name, one in ranges.items()}
    # So many that lie outside are no accident: the range goes around them.
    crowded = {name for name, one in found.items() if one.n_outside > _MOST_OUTLYING_SHARE * columns[name].n_present}
    return found | {name: _seen_range(name, columns[name]) for name in crowded}


def infer_categories(column: ColumnProfile) -> tuple[str, ...] | None:
    """Return a text's values where they are few and stable: each seen several times, and early as well as late."""
    values = column.categories
    if column.type != "text" or values is None or not 2 <= len(values) <= _MOST_CATEGORIES:
        return None
    is_stable = all(item.n >= _FEWEST_OF_CATEGORY and item.n_stretches >= len(column.stretches) for item in column.top)
    return tuple(sorted(values)) if is_stable and column.n >= _FEWEST_FOR_CATEGORIES else None


def _is_measured(column: ColumnProfile) -> bool:
    return column.type in ("number", "integer") and column.n_present >= FEWEST_ROWS and bool(column.quantiles)


def _find_range(name: str, column: ColumnProfile) -> Range:
    if _has_only_codes(name, column):
        return Range(float(column.minimum or 0), float(column.maximum or 0))
    seen = _seen_range(name, column)
    median, high, low = (column.quantiles[at] for at in (_MEDIAN, _HIGH, _LOW))
    least, most = float(column.minimum or 0), float(column.maximum or 0)
    minimum, maximum = seen.minimum, seen.maximum
    above = high + _OUTLYING * (high - median)
    if maximum is not None and most - median > _ISOLATED * (above - median) > 0:
        maximum = _round(above, up=True)
    below = low - _OUTLYING * (median - low)
    if minimum is not None and median - least > _ISOLATED * (median - below) > 0:
        minimum = _round(below, up=False)
    if least < 0 <= low and column.n_negative <= _MOST_OUTLYING_SHARE * column.n_present:
        minimum = 0.0
    return Range(minimum, maximum)


def _seen_range(name: str, column: ColumnProfile) -> Range:
    least, most = float(column.minimum or 0), float(column.maximum or 0)
    if not (math.isfinite(least) and math.isfinite(most)):
        return Range()
    margin = _MARGIN * (most - least)
    # A count cannot be negative, nor what reaches down to zero and no further; a temperature may, one day.
    has_floor = least >= 0 and (_is_whole(column) or column.n_zero > 0)
    minimum = 0.0 if has_floor else _round(least - margin, up=False)
    if _NUMBER_OF_WHAT.search(name) or _names_rows(column):
        return Range(minimum if has_floor else None, None)
    if most == least or _grows(column):
        return Range(minimum if has_floor else None, None)
    maximum = _round(most + margin, up=True)
    return Range(minimum, math.ceil(maximum) if _is_whole(column) else maximum)


def _has_only_codes(name: str, column: ColumnProfile) -> bool:
    """Tell whether whole numbers without a gap were all seen often, early and late: months, hours, flags."""
    if not _is_whole(column) or not column.is_counted or not 2 <= column.n_distinct <= _MOST_CODES:
        return False
    span = float(column.maximum or 0) - float(column.minimum or 0)
    least = min(item.n for item in column.top)
    return (
        span + 1 == column.n_distinct
        and _NUMBER_OF_WHAT.search(name) is None
        and column.n_present >= 20 * column.n_distinct
        and (least >= 0.2 * column.n_present / column.n_distinct or column.n_distinct == 2)
        and all(item.n_stretches >= len(column.stretches) for item in column.top)
    )


def _names_rows(column: ColumnProfile) -> bool:
    return _is_whole(column) and column.n_distinct > 0.5 * column.n_present


def _is_whole(column: ColumnProfile) -> bool:
    # Whole numbers with a gap among them come as numbers.
    return column.type == "integer" or column.n_fractions == 0


def _grows(column: ColumnProfile) -> bool:
    """Tell whether nearly all of the later half lies beyond nearly all of the earlier."""
    halves = [stretch.scale for stretch in column.stretches if stretch.scale]
    return len(halves) == 2 and (halves[1][1] > halves[0][-2] or halves[1][-2] < halves[0][1])


def _count_outside(connection: duckdb.DuckDBPyConnection, view: str, ranges: Mapping[str, Range]) -> dict[str, int]:
    if not ranges:
        return {}
    counts = []
    for name, one in ranges.items():
        column = quote_name(name)
        tests = [f"{column} < {one.minimum!r}"] if one.minimum is not None else []
        tests += [f"{column} > {one.maximum!r}"] if one.maximum is not None else []
        counts.append(f"count(*) FILTER ({' OR '.join(tests) or 'FALSE'})")
    row = connection.execute(f"SELECT {', '.join(counts)} FROM {quote_name(view)}").fetchone() or ()
    return dict(zip(ranges, row, strict=True))


def _round(value: float, *, up: bool) -> float:
    """Round away from what was seen, to two digits.

    Examples
    --------
    >>> _round(1037.2, up=True), _round(-0.0123, up=False), _round(0.0, up=True)
    (1100.0, -0.013, 0.0)
    """
    if value == 0:
        return 0.0
    digits = 1 - math.floor(math.log10(abs(value)))
    unit = 10.0**-digits
    # 1.1 is a little more than 11 tenths, which shall not become 12.
    whole = (math.ceil if up else math.floor)(round(value / unit, 9))
    return round(whole * unit, max(0, digits))
