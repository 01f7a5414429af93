"""The message that people read: what happened, why, what to do next, and where to look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from base.receivers import SEVERITIES, HappeningKind, Severity
from registry.notices.happening import Happening

# More lines than that nobody reads in a message.
_MOST_LINES = 20

_NEXT: Mapping[HappeningKind, str] = {
    "drift.detected": "`everfit why {pipeline}` tells what became of it",
    "alarm.raised": "`everfit alarms list {pipeline}` shows its figures, `everfit why-not {pipeline}` whether a "
    "training follows",
    "alarm.closed": "nothing; `everfit alarms list {pipeline}` has its history",
    "data.refused": "`everfit data quarantine {pipeline}` shows the rows; mend the source, then `everfit train "
    "{pipeline}`",
    "data.missing": "look at the source, then `everfit train {pipeline}`",
    "training.requested": "`everfit triggers list {pipeline}` shows where it stands",
    "training.started": "`everfit why {pipeline}` when it has ended",
    "training.finished": "`everfit why {pipeline}`",
    "training.given_up": "`everfit triggers list {pipeline}`, Prefect's log of the flow run, then `everfit train "
    "{pipeline}`",
    "approval.asked": "`everfit approve {pipeline}` or `everfit reject {pipeline}`, after `everfit why {pipeline}`",
    "approval.answered": "`everfit why {pipeline}`",
    "model.promoted": "`everfit why {pipeline}`; `everfit rollback {pipeline}` goes back",
    "model.rolled_back": "`everfit why {pipeline}`",
    "rollout.moved": "`everfit rollout status {pipeline}`",
}

_AFTER_FAILURE = "`everfit why {pipeline}`, then `everfit train {pipeline}`, which goes on at the step that broke"


@dataclass(frozen=True)
class Message:
    """What is sent: a headline, some lines, and how grave it is."""

    title: str
    body: str
    severity: Severity


def write_message(happening: Happening, *, public_url: str | None = None, environment: str = "prod") -> Message:
    """Write the message of one happening.

    Parameters
    ----------
    public_url : str, optional
        Where people reach the service; without it the message has no link.
    environment : str
        Told where it is not production.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> moved = Happening(kind="model.promoted", pipeline="bike", title="bike: promoted: version 3",
    ...     text="Why: better", severity="notice", key="decision/7", at=datetime(2026, 3, 2, 12, tzinfo=UTC),
    ...     link="/v1/models/bike")
    >>> print(write_message(moved, public_url="https://ml.example.org/").body)
    Why: better
    Next: `everfit why bike`; `everfit rollback bike` goes back
    Look: https://ml.example.org/v1/models/bike
    When: 2026-03-02 12:00 UTC
    """
    is_failure = happening.kind == "training.finished" and happening.severity == "critical"
    advice = _AFTER_FAILURE if is_failure else _NEXT[happening.kind]
    lines = [happening.text, f"Next: {advice.format(pipeline=happening.pipeline)}"]
    if public_url and happening.link:
        lines.append(f"Look: {public_url.rstrip('/')}{happening.link}")
    if happening.flow_run:
        lines.append(f"Prefect flow run: {happening.flow_run}")
    lines.append(f"When: {happening.at:%Y-%m-%d %H:%M} UTC")
    return Message(_of_environment(happening.title, environment), "\n".join(lines), happening.severity)


def write_digest(
    happenings: Sequence[Happening], *, public_url: str | None = None, environment: str = "prod"
) -> Message:
    """Write one message for many happenings: the gravest first, with how many there are of each."""
    by_severity = Counter(happening.severity for happening in happenings)
    gravest = max(by_severity, key=SEVERITIES.index)
    counts = ", ".join(f"{by_severity[name]} {name}" for name in reversed(SEVERITIES) if by_severity[name])
    pipelines = Counter(happening.pipeline for happening in happenings)
    named = ", ".join(name for name, _ in pipelines.most_common(3)) + (", …" if len(pipelines) > 3 else "")
    title = f"{named}: {len(happenings)} happenings ({counts})"
    first = sorted(happenings, key=lambda happening: (-SEVERITIES.index(happening.severity), happening.at))
    lines = [f"{each.at:%m-%d %H:%M} {each.severity}: {each.title}" for each in first[:_MOST_LINES]]
    if len(first) > _MOST_LINES:
        lines.append(f"… and {len(first) - _MOST_LINES} more")
    lines.append("Next: `everfit notices list` has all of them, `everfit why NAME` what is behind one")
    if public_url:
        lines.append(f"Look: {public_url.rstrip('/')}/v1/models")
    return Message(_of_environment(title, environment), "\n".join(lines), gravest)


def _of_environment(title: str, environment: str) -> str:
    return title if environment == "prod" else f"[{environment}] {title}"
