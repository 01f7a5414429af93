"""The desk that takes a wish and has it ruled upon; it lies on a floor above, so it is given by name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from threading import Lock
from typing import Any, Protocol

from base.errors import EverfitError
from registry.store import Registry
from serving.hooks.wish import Wish

KIND = "webhook"
"""As which kind of trigger a hook is filed."""


class DeskMissing(EverfitError):
    """There is no function of that name: a fault of whoever started the service, not of who sends a hook."""


class Taken(Protocol):
    """What a desk answers: the trigger, whether it is new, and the arbiter's word."""

    @property
    def trigger_id(self) -> str: ...
    @property
    def is_new(self) -> bool: ...
    @property
    def outcome(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def launch_id(self) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Filed:
    """A wish as it is handed in: for which pipeline, by whom, and under which key it is known if it comes again."""

    pipeline: str
    key: str
    actor: str
    wish: Wish
    occurred_at: datetime
    payload: dict[str, Any]


class Desk:
    """A function ``take(registry, request, *, now)`` by its name, and the class of its requests beside it.

    Parameters
    ----------
    name : str
        Such as ``monitoring.desk:take``. It is imported with the first hook, so that a service that hears of none
        starts as if there were no desk.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._found: tuple[Any, Any] | None = None

    def take(self, registry: Registry, filed: Filed, *, now: datetime) -> Taken:
        """File a wish in one transaction, have it ruled upon, and return what came of it."""
        take, request = self._find()
        wish = filed.wish
        taken: Taken = take(
            registry,
            request(
                pipeline=filed.pipeline,
                kind=KIND,
                key=filed.key,
                reason=wish.reason,
                actor=filed.actor,
                payload=filed.payload,
                as_of=wish.as_of,
                occurred_at=filed.occurred_at,
                priority=wish.priority,
                caused_by=wish.caused_by,
                blocked=wish.blocked,
            ),
            now=now,
        )
        return taken

    def _find(self) -> tuple[Any, Any]:
        with self._lock:
            if self._found is None:
                module, _, function = self._name.partition(":")
                try:
                    found = import_module(module)
                    self._found = getattr(found, function), found.TriggerRequest
                except (ImportError, AttributeError, ValueError) as error:
                    raise DeskMissing(
                        f"the desk {self._name!r} is not there ({error}); expected one such as 'monitoring.desk:take'"
                    ) from error
            return self._found
