"""What is put on the desk, and what comes back: a wish for a training, and the arbiter's word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from base.references import Trigger

Outcome = Literal["start", "merge", "suppress"]


@dataclass(frozen=True)
class TriggerRequest:
    """A wish for a training.

    Parameters
    ----------
    key : str
        The sender's idempotency key: the same again is the same trigger.
    actor : str
        Who or what asks, for the ledger.
    payload : mapping
        What the sender said, as JSON; kept with the trigger.
    as_of : datetime, optional
        The moment of the data that it speaks of; default: all there is.
    occurred_at : datetime, optional
        When it was asked, which may be before it arrives; default: now.
    priority : int, optional
        Default: that of its kind.
    caused_by : str, optional
        The run that it came of (or its flow run, launch or trigger), for the guard against loops.
    evidence : mapping
        The few figures behind it that the ledger keeps.
    is_exact, can_follow, blocked
        See :class:`monitoring.arbiter.Wish`.
    """

    pipeline: str
    kind: Trigger
    key: str
    reason: str
    actor: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    as_of: datetime | None = None
    occurred_at: datetime | None = None
    priority: int | None = None
    caused_by: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    is_exact: bool = False
    can_follow: bool = True
    blocked: str = ""


@dataclass(frozen=True)
class Taken:
    """What became of a wish: the arbiter's word, and the launch that it started or went into, where there is one.

    ``carries``: the flow run that brought the wish is to begin that launch itself.
    """

    trigger_id: str
    is_new: bool
    outcome: Outcome
    reason: str
    launch_id: str | None = None
    carries: bool = False
    into: str | None = None
