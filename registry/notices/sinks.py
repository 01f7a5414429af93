"""Sinks: where happenings go; each reads the ledger at its own pace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from base.receivers import OWNER, Receiver, is_mail_address
from registry.notices.happening import Happening

PREFECT = "prefect"
"""The sink that hands everything to Prefect as events."""
_RECEIVER = "to "


@dataclass(frozen=True)
class Sink:
    """Where happenings go: one address of a receiver, or Prefect, which wants to know everything."""

    name: str
    receiver: Receiver | None = None
    url: SecretStr | None = None

    @property
    def is_personal(self) -> bool:
        """Whether the address has a place for that of the pipeline's owner."""
        return self.url is not None and OWNER in self.url.get_secret_value()

    def wants(self, happening: Happening, *, owner: str) -> bool:
        """Tell whether a happening is for this sink."""
        if self.receiver is None or self.url is None:
            return True
        if self.is_personal and not is_mail_address(owner):
            return False
        return self.receiver.wants(happening.kind, happening.severity, happening.pipeline, owner=owner)


def receiver_sinks(receivers: Mapping[str, Receiver]) -> list[Sink]:
    """Make a sink of each address, so that one that is down does not have the others told twice.

    Examples
    --------
    >>> both = {"ops": Receiver.model_validate("json://a.org"), "team": Receiver.model_validate(["xml://b", "json://c"])}
    >>> [sink.name for sink in receiver_sinks(both)]
    ['to ops', 'to team', 'to team/2']
    """
    return [
        Sink(_RECEIVER + name + (f"/{number}" if number > 1 else ""), receiver, url)
        for name, receiver in receivers.items()
        for number, url in enumerate(receiver.url, start=1)
    ]


def name_receiver(sink: str) -> str:
    """Return the name by which people know a sink: the receiver's.

    Examples
    --------
    >>> name_receiver("to team/2"), name_receiver("prefect")
    ('team/2', 'prefect')
    """
    return sink.removeprefix(_RECEIVER)
