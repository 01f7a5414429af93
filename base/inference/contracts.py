"""Infer a first contract from good rows: rules that broken data break, and a growing world does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from base.changes.profiles import STRETCH, ColumnProfile, Profile, profile_view
from base.contract import ColumnRule, DataContract
from base.inference.hints import find_hints
from base.inference.keys import FEWEST_ROWS, RowFacts, find_row_facts
from base.inference.ranges import Range, infer_categories, infer_ranges
from base.rows.duck import open_duckdb, quote_name, quote_text
from base.times import parse_moment
from base.yaml_text import yaml_scalar

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_VIEW = "inferred"
_MOST_SHOWN = 5
_LONGEST_SHOWN = 24
# A text that is longer than anything seen by so much is no name any more but a broken file.
_LENGTH_MARGIN = 4
_SHORTEST_LIMIT = 100


@dataclass(frozen=True)
class InferredContract:
    """A contract with what was seen: a note for each column, and advice on what only a person can decide."""

    contract: DataContract
    notes: dict[str, str] = field(default_factory=dict)
    advice: tuple[str, ...] = ()
    n_rows: int = 0


def infer_contract(table: pa.Table, *, target: str | None = None, time: str | None = None) -> InferredContract:
    """Infer a contract from a normalised table; see :func:`infer_from_view`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rows = pa.table({"age": [20 + n % 50 for n in range(100)], "name": ["Ann", None] * 50})
    >>> inferred = infer_contract(rows)
    >>> inferred.contract.columns["age"].model_dump(exclude_defaults=True)
    {'type': 'integer', 'nullable': False, 'minimum': 0.0, 'maximum': 94.0}
    >>> print(inferred.notes["age"])
    20 to 69, median 44; 50 values; tells age, by its name? then sensitive: true keeps it from estimators
    """
    with open_duckdb() as connection:
        connection.register("rows", table)
        return infer_from_view(connection, "rows", target=target, time=time)


def infer_from_view(
    connection: duckdb.DuckDBPyConnection, view: str, *, target: str | None = None, time: str | None = None
) -> InferredContract:
    """Infer what each column of a view must be; each question is one pass, and memory stays bounded.

    A rule is written only where breaking it later would mean broken data, not a changed world:

    - ``type`` always; a column without any value counts as numbers;
    - ``nullable: false`` where no value was missing, except for the target, whose newest values may be to come;
    - a range with a margin of half of what was seen; what lies far off alone is left outside. No range for the
      target, for what names things and for what only grows;
    - ``categories`` where they are few, each was seen several times, and early as well as late;
    - ``unique`` for the time where it runs on a regular grid, one row a step, and for columns that differ in
      every one of a thousand rows or more.

    Of fewer than a hundred rows only types are believed.
    """
    _view_in_halves(connection, view, time)
    profile = profile_view(connection, _VIEW)
    facts = find_row_facts(connection, view, profile, time=time)
    others = {name: column for name, column in profile.columns.items() if name != target}
    ranges = infer_ranges(connection, view, others)
    hints = find_hints(connection, view, profile.columns)
    columns = {
        name: _infer_rule(column, ranges.get(name, Range()), is_target=name == target, is_time=name == time)
        for name, column in profile.columns.items()
    }
    notes = {
        name: _describe(column, ranges.get(name, Range()), hints.get(name), n_rows=profile.n_rows)
        for name, column in profile.columns.items()
    }
    keys = _choose_keys(facts, profile, time)
    return InferredContract(
        contract=DataContract(columns=columns, unique=keys),
        notes=notes,
        advice=_advise(facts, profile, time, chosen=keys),
        n_rows=profile.n_rows,
    )


def _view_in_halves(connection: duckdb.DuckDBPyConnection, view: str, time: str | None) -> None:
    half = "NULL"
    if time is not None:
        column, rows = quote_name(time), quote_name(view)
        found = connection.execute(f"SELECT approx_quantile(epoch({column}), 0.5) FROM {rows}").fetchone()
        if found is not None and found[0] is not None:
            half = f"CAST(epoch({column}) > {found[0]!r} AS INTEGER)"
    stretch = "" if half == "NULL" else f", {half} AS {quote_name(STRETCH)}"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {_VIEW} AS SELECT *{stretch} FROM {quote_name(view)}")


def _infer_rule(column: ColumnProfile, seen: Range, *, is_target: bool, is_time: bool) -> ColumnRule:
    tells = column.n >= FEWEST_ROWS
    # A row without its moment has no place in the order, whatever the number of rows.
    nullable = not is_time and (is_target or column.n_null > 0 or not tells)
    if not tells:
        return ColumnRule(type=column.type, nullable=nullable)
    categories = None if is_target else infer_categories(column)
    limits_length = column.type == "text" and categories is None and not is_target and column.maximum is not None
    return ColumnRule(
        type=column.type,
        nullable=nullable,
        minimum=seen.minimum,
        maximum=seen.maximum,
        earliest=_earliest(column) if is_time else None,
        categories=categories,
        max_length=max(_SHORTEST_LIMIT, _LENGTH_MARGIN * int(float(column.maximum or 0))) if limits_length else None,
    )


def _earliest(column: ColumnProfile) -> datetime | None:
    """The beginning of the year before the first: a clock that was never set says 1970."""
    if column.minimum is None:
        return None
    first = parse_moment(column.minimum)
    return first.replace(year=max(1, first.year - 1), month=1, day=1, hour=0, minute=0, second=0, microsecond=0)


def _choose_keys(facts: RowFacts, profile: Profile, time: str | None) -> tuple[str, ...]:
    """Choose one key: the time on its grid, else the first column that differs in a thousand rows or more."""
    if time is not None and facts.is_on_grid:
        return (time,)
    # That moments differ may be chance, unless they lie on a grid.
    sure = [key[0] for key in facts.keys if len(key) == 1 and profile.columns[key[0]].type != "time"]
    return tuple(sure[:1]) if profile.n_rows >= 10 * FEWEST_ROWS else ()


def _describe(column: ColumnProfile, seen: Range, hint: str | None, *, n_rows: int) -> str:
    if not column.n_present:
        return "null in every row"
    parts = [] if not column.n_null else [f"{column.n_null:,} null ({column.n_null / n_rows:.2%})"]
    is_personal = hint is not None and "personal" in hint
    n_values = f"{'' if column.is_counted else 'about '}{column.n_distinct:,} values"
    if column.type in ("number", "integer"):
        middle = column.quantiles[len(column.quantiles) // 2] if column.quantiles else 0.0
        # The sketch takes the mean of neighbours, which whole numbers do not have.
        median = f"{middle:,.0f}" if column.type == "integer" else f"{middle:,.6g}"
        parts += [f"{_number(column.minimum)} to {_number(column.maximum)}, median {median}", n_values]
        parts += [f"outside lie {seen.n_outside:,}"] if seen.n_outside else []
    elif column.type == "time":
        parts += [f"{str(column.minimum)[:16]} to {str(column.maximum)[:16]}", n_values]
    elif is_personal or not column.top:
        parts.append(n_values)
    else:
        shown = ", ".join(
            f"{item.value[:_LONGEST_SHOWN]!r} {item.n / column.n_present:.2%}" for item in column.top[:_MOST_SHOWN]
        )
        rest = column.n_distinct - _MOST_SHOWN
        parts.append(f"{n_values}: {shown}{f' and {rest:,} more' if rest > 0 else ''}")
    return "; ".join([*parts, *([hint] if hint else [])])


def _number(value: object) -> str:
    return f"{float(str(value)):,.6g}"


def _advise(facts: RowFacts, profile: Profile, time: str | None, *, chosen: Sequence[str]) -> tuple[str, ...]:
    advice = []
    if time is not None:
        order = "come in the order" if facts.is_ordered else "do not come in the order"
        advice.append(f"The rows {order} of {time}; a training orders them.")
    advice += [
        f"No two rows have the same {' and '.join(key)}: unique: [{_key(key)}]"
        for key in facts.keys
        if key != tuple(chosen)
    ]
    if facts.n_repeated:
        single = [key[0] for key in facts.keys if len(key) == 1]
        rest = [name for name in profile.columns if name not in single]
        way = f"unique: [{_key(rest)}], unique_severity: quarantine" if single else "distinct_rows: quarantine"
        but = f" but for {', '.join(single)}" if single else ""
        advice.append(f"{facts.n_repeated:,} rows repeat another one{but}. To set them aside: {way}")
    advice += [
        f"{one} is never later than {other}: rules: [{{name: {one} first, expression: {_never_later(one, other)}}}]"
        for one, other in facts.ordered_times
    ]
    if not profile.n_rows:
        advice.append("There were no rows.")
    return tuple(advice)


def _key(columns: Sequence[str]) -> str:
    names = [yaml_scalar(name) for name in columns]
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]"


def _never_later(one: str, other: str) -> str:
    names = [name if name.isidentifier() else f"`{name}`" for name in (one, other)]
    return quote_text(f"{names[0]} <= {names[1]}")
