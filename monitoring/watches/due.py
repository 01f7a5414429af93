"""Which watches are due: a pure function of what was seen and what the definition asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from base.references import Trigger
from base.sources.arrivals import Arrivals
from base.times import describe_duration
from base.triggers_spec import TriggersSpec


@dataclass(frozen=True)
class Seen:
    """What a watch looks at; all moments are UTC.

    Parameters
    ----------
    champion, trained_at : optional
        The version in service, and when it was trained; None where there is none.
    snapshot : str, optional
        Digest of the data that was read last.
    arrivals : Arrivals, optional
        What has come into the source since; None where nobody asked.
    last_labels : datetime, optional
        When labels last came; None: never.
    changed_to : str, optional
        Digest of the definition as it is now, where it is not the one that was trained last.
    """

    now: datetime
    champion: int | None = None
    trained_at: datetime | None = None
    snapshot: str | None = None
    arrivals: Arrivals | None = None
    last_labels: datetime | None = None
    changed_to: str | None = None


@dataclass(frozen=True)
class Due:
    """A watch that is due: the kind of trigger, a key that is the same until something changes, and why."""

    kind: Trigger
    key: str
    reason: str


def find_due(spec: TriggersSpec, seen: Seen) -> list[Due]:
    """List the watches that are due.

    A pipeline without a champion asks for nothing: its first training is a person's decision. What is asked for and
    refused is asked again when as much has come, or grown old, once more.

    Examples
    --------
    >>> spec = TriggersSpec(staleness="30 days", new_data="1000 rows")
    >>> noon = datetime(2024, 5, 1, 12)
    >>> seen = Seen(noon, 3, noon - timedelta(days=65), "ab12", Arrivals(n_rows=2500, n_bytes=0))
    >>> [(due.kind, due.key) for due in find_due(spec, seen)]
    [('new_data', 'new_data:ab12:2'), ('staleness', 'staleness:3:2')]
    """
    if seen.champion is None:
        return []
    found = (_new_data(spec, seen), _staleness(spec, seen), _change(spec, seen), *_silences(spec, seen))
    return [due for due in found if due is not None]


def _new_data(spec: TriggersSpec, seen: Seen) -> Due | None:
    wanted, arrived = spec.new_data, seen.arrivals
    if wanted is None or arrived is None or seen.snapshot is None:
        return None
    n_rows, n_bytes = wanted.n_rows, wanted.n_bytes
    found, limit, unit = (arrived.n_rows, n_rows, "rows") if n_rows is not None else (arrived.n_bytes, n_bytes, "bytes")
    if found is None or not limit or found < limit:
        return None
    reason = f"{found:,} new {unit} since the data was read last, asked for after {limit:,}"
    return Due("new_data", f"new_data:{seen.snapshot}:{found // limit}", reason)


def _staleness(spec: TriggersSpec, seen: Seen) -> Due | None:
    if spec.staleness is None or seen.trained_at is None:
        return None
    age = seen.now - seen.trained_at
    times = age // spec.staleness
    if times < 1:
        return None
    reason = (
        f"version {seen.champion} was trained {_describe_age(age)} ago, asked for after "
        f"{describe_duration(spec.staleness)}"
    )
    return Due("staleness", f"staleness:{seen.champion}:{times}", reason)


def _change(spec: TriggersSpec, seen: Seen) -> Due | None:
    if not spec.on_change or seen.changed_to is None:
        return None
    return Due("code", f"code:{seen.changed_to}", f"the definition or its code has changed, to {seen.changed_to[:12]}")


def _silences(spec: TriggersSpec, seen: Seen) -> list[Due | None]:
    newest = None if seen.arrivals is None else seen.arrivals.newest
    return [
        _silence("data", spec.expect_data, newest, seen.now),
        _silence("labels", spec.expect_labels, seen.last_labels, seen.now),
    ]


def _silence(what: str, patience: timedelta | None, last: datetime | None, now: datetime) -> Due | None:
    if patience is None or last is None or now - last <= patience:
        return None
    reason = (
        f"no {what} came since {last:%Y-%m-%d %H:%M} UTC, {_describe_age(now - last)} ago; "
        f"expected at least every {describe_duration(patience)}"
    )
    return Due("missing_data", f"missing_{what}:{last.isoformat()}", reason)


def _describe_age(age: timedelta) -> str:
    days, seconds = age.days, int(age.total_seconds())
    if days >= 2:
        return f"{days} days"
    return f"{seconds // 3600} hours" if seconds >= 7200 else f"{seconds // 60} minutes"
