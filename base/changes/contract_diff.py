"""Differences between two contracts, two sets of data, or a contract and data: each named for what it is."""

from __future__ import annotations

from collections.abc import Mapping

from base.changes.change import Change
from base.changes.profiles import ColumnProfile, Profile
from base.changes.renames import find_renames
from base.contract import ColumnRule, DataContract
from base.times import parse_moment

_SHOWN = 5


def compare_contracts(before: DataContract, now: DataContract) -> list[Change]:
    """Say what one contract demands that the other does not.

    Examples
    --------
    >>> before = DataContract(columns={"fare": ColumnRule(type="number", minimum=0), "zone": ColumnRule(type="text")})
    >>> now = DataContract(columns={"fare": ColumnRule(type="number", maximum=90), "zones": ColumnRule(type="text")})
    >>> for change in compare_contracts(before, now):
    ...     print(change)
    renamed column 'zone': 'zones' now (likely: 89% alike)
    range in 'fare': at least 0 before, at most 90 now
    """
    changes, pairs = _compare_names(before.types, now.types, None, None)
    for old, new in pairs:
        changes += _compare_rules(new, before.columns[old], now.columns[new])
    for part in ("keys", "unique_severity", "distinct_rows"):
        if getattr(before, part) != getattr(now, part):
            was, has = (str(getattr(contract, part)) for contract in (before, now))
            changes.append(Change(kind="rule", column=part, before=was, now=has))
    rules, others = ({rule.name: rule for rule in contract.rules} for contract in (before, now))
    for name in [*rules, *(name for name in others if name not in rules)]:
        if rules.get(name) != others.get(name):
            was, has = (
                f"{one.expression} ({one.severity})" if one else "none" for one in (rules.get(name), others.get(name))
            )
            changes.append(Change(kind="rule", column=name, before=was, now=has))
    if before.expectations != now.expectations:
        was, has = (", ".join(rule.type for rule in one.expectations) or "none" for one in (before, now))
        changes.append(Change(kind="rule", column="expectations", before=was, now=has))
    return changes


def compare_data(before: Profile, now: Profile, changes: list[Change]) -> list[Change]:
    """Add to the *changes* between two sets of data what else their profiles show: new extremes, nulls, categories."""
    changes = list(changes)
    told = {change.column for change in changes}
    for name, one in before.columns.items():
        other = now.columns.get(name)
        if other is None or name in told or not one.n_present or not other.n_present:
            continue
        if other.n_null and not one.n_null:
            changes.append(
                Change(kind="nullability", column=name, before="never null", now=f"{other.null_share:.2%} null")
            )
        if _is_wider(one, other):
            changes.append(Change(kind="range", column=name, before=_span(one), now=_span(other)))
        new = [value for value in other.categories or () if value not in (one.categories or ())]
        if one.type == "text" and one.categories is not None and new:
            changes.append(Change(kind="new categories", column=name, now=", ".join(map(repr, new[:_SHOWN]))))
    return changes


def judge_profile(contract: DataContract, profile: Profile) -> list[Change]:
    """Say where data do not keep a contract, by their profile; uniqueness and rules over rows are not looked at.

    A column that is missing while a new one looks like it is told as a likely rename.
    """
    types = {name: column.type for name, column in profile.columns.items()}
    changes, pairs = _compare_names(contract.types, types, None, profile)
    for old, new in pairs:
        changes += _judge_column(new, contract.columns[old], profile.columns[new])
    return changes


def _compare_names(
    before: Mapping[str, str], now: Mapping[str, str], profile: Profile | None, current: Profile | None
) -> tuple[list[Change], list[tuple[str, str]]]:
    missing = [name for name in before if name not in now]
    new = [name for name in now if name not in before]
    renames = find_renames(missing, new, profile.columns if profile else {}, current.columns if current else {})
    renames = [rename for rename in renames if _fits(before[rename.old], now[rename.new])]
    changes = [rename.as_change() for rename in renames]
    taken = {rename.old for rename in renames} | {rename.new for rename in renames}
    changes += [
        Change(kind="missing column", column=name, before=before[name]) for name in missing if name not in taken
    ]
    changes += [Change(kind="new column", column=name, now=now[name]) for name in new if name not in taken]
    pairs = [(name, name) for name in before if name in now] + [(rename.old, rename.new) for rename in renames]
    return changes, pairs


def _compare_rules(name: str, before: ColumnRule, now: ColumnRule) -> list[Change]:
    changes = []
    if before.type != now.type:
        changes.append(Change(kind="retyped column", column=name, before=before.type, now=now.type))
    if before.nullable != now.nullable:
        was, has = ("may be null" if rule.nullable else "never null" for rule in (before, now))
        changes.append(Change(kind="nullability", column=name, before=was, now=has))
    if (was := _bounds(before)) != (has := _bounds(now)):
        changes.append(Change(kind="range", column=name, before=was, now=has))
    if before.categories != now.categories:
        changes += _compare_categories(name, before.categories, now.categories)
    for part in ("severity", "sensitive", "personal"):
        if getattr(before, part) != getattr(now, part):
            was, has = (f"{part} {getattr(rule, part)}" for rule in (before, now))
            changes.append(Change(kind="rule", column=name, before=was, now=has))
    return changes


def _compare_categories(name: str, before: tuple[str, ...] | None, now: tuple[str, ...] | None) -> list[Change]:
    if before is None or now is None:
        was, has = ("any text" if values is None else f"{len(values)} values" for values in (before, now))
        return [Change(kind="rule", column=name, before=was, now=has)]
    new, gone = [value for value in now if value not in before], [value for value in before if value not in now]
    changes = []
    if new:
        changes.append(Change(kind="new categories", column=name, now=", ".join(map(repr, new))))
    if gone:
        changes.append(Change(kind="vanished categories", column=name, before=", ".join(map(repr, gone))))
    return changes


def _judge_column(name: str, rule: ColumnRule, column: ColumnProfile) -> list[Change]:
    if not column.n_present:
        return [Change(kind="null burst", column=name, before=rule.type, now="null in every row")]
    if not _fits(rule.type, column.type) or (rule.type == "integer" and column.n_fractions):
        return [Change(kind="retyped column", column=name, before=rule.type, now=column.type)]
    changes = []
    if column.n_null and not rule.nullable:
        changes.append(
            Change(kind="nullability", column=name, before="never null", now=f"{column.null_share:.2%} null")
        )
    if (fault := _end_outside(rule, column)) is not None:
        changes.append(Change(kind="range", column=name, before=_bounds(rule), now=fault))
    if rule.categories is not None and column.type == "text":
        new = [item.value for item in column.top if item.value not in rule.categories]
        if new:
            shown = ", ".join(map(repr, new[:_SHOWN])) + (f" and {len(new) - _SHOWN} more" if len(new) > _SHOWN else "")
            changes.append(Change(kind="new categories", column=name, now=shown))
    return changes


def _end_outside(rule: ColumnRule, column: ColumnProfile) -> str | None:
    if column.minimum is None or column.maximum is None:
        return None
    if column.type == "time":
        ends = (parse_moment(column.minimum), parse_moment(column.maximum))
        is_out = (rule.earliest is not None and ends[0] < rule.earliest) or (
            rule.latest is not None and ends[1] > rule.latest
        )
    else:
        least, most = float(column.minimum), float(column.maximum)
        lower, upper = (None, rule.max_length) if column.type == "text" else (rule.minimum, rule.maximum)
        is_out = (lower is not None and least < lower) or (upper is not None and most > upper)
    return _span(column) if is_out else None


def _is_wider(before: ColumnProfile, now: ColumnProfile) -> bool:
    if before.type not in ("number", "integer") or now.type not in ("number", "integer"):
        return False
    ends = [float(str(end)) for end in (before.minimum, before.maximum, now.minimum, now.maximum)]
    return ends[2] < ends[0] or ends[3] > ends[1]


def _span(column: ColumnProfile) -> str:
    if column.type == "text":
        return f"up to {float(str(column.maximum)):,.0f} characters"
    if column.type == "time":
        return f"{column.minimum} to {column.maximum}"
    return f"{float(str(column.minimum)):,.6g} to {float(str(column.maximum)):,.6g}"


def _bounds(rule: ColumnRule) -> str:
    parts = [f"at least {rule.minimum:,.6g}"] if rule.minimum is not None else []
    parts += [f"at most {rule.maximum:,.6g}"] if rule.maximum is not None else []
    parts += [f"from {rule.earliest.isoformat()}"] if rule.earliest is not None else []
    parts += [f"until {rule.latest.isoformat()}"] if rule.latest is not None else []
    parts += [f"at most {rule.max_length:,} characters"] if rule.max_length is not None else []
    return ", ".join(parts) or "without bounds"


def _fits(expected: str, found: str) -> bool:
    return expected == found or {expected, found} == {"integer", "number"}
