"""How a training was granted, in plain words: from the triggers by the arbiter to the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.wording import tell_moment, tell_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.tables import Launch, TriggerRow

_MOST_NAMED = 4
_NAMES = {
    "person": "a person",
    "schedule": "the schedule",
    "drift": "an alarm of drift",
    "performance": "an alarm of performance",
    "webhook": "a webhook",
    "new_data": "new data",
    "staleness": "the champion's age",
    "code": "a change of code",
}


def explain_grant(launch: Launch | None, triggers: Sequence[TriggerRow]) -> str:
    """Tell the way from what asked to the run; empty for a run that no launch stands for.

    Parameters
    ----------
    triggers
        All that went into the launch, in the order in which they came.
    """
    if launch is None or not triggers:
        return ""
    first, *others = triggers
    text = f"{_name(first)} asked on {tell_moment(first.received_at)} (trigger {first.id})"
    text += f"; the arbiter granted launch {launch.id}" + (
        "" if first.decision is None else f" (entry {first.decision})"
    )
    text += f": {first.ruling}."
    if others:
        named = tell_names([f"{_NAMES.get(row.kind, row.kind)} ({row.actor})" for row in others[:_MOST_NAMED]])
        more = f", and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        text += f" Into the same training went what {named}{more} asked."
    if launch.begun_at is not None:
        waited = (launch.begun_at - launch.created_at).total_seconds()
        text += f" It began {waited:,.1f} seconds after it was granted"
        text += "." if launch.n_sent < 2 else f", having been sent {launch.n_sent} times."
    return text


def _name(row: TriggerRow) -> str:
    name = _NAMES.get(row.kind, row.kind)
    return f"{name[:1].upper()}{name[1:]} ({row.actor})"
