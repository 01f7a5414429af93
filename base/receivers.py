"""Who is told of what happens, by Slack, e-mail, Teams or whatever Apprise knows, and how much they want to hear."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from base.section import NOTHING, Whole, one_or_more
from base.times import parse_duration

Severity = Literal["info", "notice", "warning", "critical"]
"""*info*: the loop at work; *notice*: somebody wants to know; *warning*: somebody should look; *critical*: now."""
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

HappeningKind = Literal[
    "drift.detected",
    "alarm.raised",
    "alarm.closed",
    "data.refused",
    "data.missing",
    "training.requested",
    "training.started",
    "training.finished",
    "training.given_up",
    "approval.asked",
    "approval.answered",
    "model.promoted",
    "model.rolled_back",
    "rollout.moved",
]
KINDS: tuple[HappeningKind, ...] = get_args(HappeningKind)

OWNER = "{owner}"
"""Stands in an address for the e-mail address of the pipeline's owner."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://\S+")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_LONGEST_QUIET = timedelta(days=30)


def _check_urls(urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if not urls or not all(_SCHEME.fullmatch(url.get_secret_value()) for url in urls):
        raise ValueError("expected addresses as Apprise has them, such as mailtos://user:password@example.org")
    return urls


def _check_quiet(quiet: str) -> str:
    if not NOTHING <= _read_quiet(quiet) <= _LONGEST_QUIET:
        raise ValueError("expected at most 30 days")
    return quiet


def _read_quiet(quiet: str) -> timedelta:
    duration = parse_duration(quiet)
    return duration if isinstance(duration, timedelta) else NOTHING


class Receiver(BaseModel):
    """One receiver: where it is reached, and what it wants to hear of.

    An address holds passwords or tokens, so it is never shown, stored or logged. In the settings a receiver may be
    its address alone.

    Examples
    --------
    >>> receiver = Receiver.model_validate({"url": "slack://T0/B0/XXX", "from": "warning", "pipelines": ["bike"]})
    >>> receiver.url, receiver.least, receiver.schemes
    ((SecretStr('**********'),), 'warning', ('slack',))
    >>> receiver.wants("model.promoted", "notice", "bike", owner="")
    False
    >>> Receiver.model_validate("json://example.org").quiet_period
    datetime.timedelta(days=1)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True)

    url: Annotated[tuple[SecretStr, ...], BeforeValidator(one_or_more), AfterValidator(_check_urls)]
    least: Severity = Field("notice", alias="from")
    kinds: Annotated[tuple[HappeningKind, ...], BeforeValidator(one_or_more)] = ()
    pipelines: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = ()
    owners: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = ()
    # Text and no timedelta: settings go to other processes as they were written.
    quiet: Annotated[str, AfterValidator(_check_quiet)] = "1 day"
    per_hour: Whole = Field(20, ge=1, le=3600)

    @model_validator(mode="before")
    @classmethod
    def _address_alone(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str | list) else value

    @property
    def quiet_period(self) -> timedelta:
        """For so long the same is not told again; nothing: each time."""
        return _read_quiet(self.quiet)

    @property
    def schemes(self) -> tuple[str, ...]:
        """What kinds of addresses they are: all of an address that is not secret."""
        return tuple(name_scheme(url) for url in self.url)

    def wants(self, kind: str, severity: Severity, pipeline: str, *, owner: str) -> bool:
        """Tell whether the receiver wants to hear of something; *owner* is the pipeline's owner, or empty."""
        return (
            SEVERITIES.index(severity) >= SEVERITIES.index(self.least)
            and (not self.kinds or kind in self.kinds)
            and (not self.pipelines or pipeline in self.pipelines)
            and (not self.owners or owner in self.owners)
        )


def name_scheme(url: SecretStr) -> str:
    """Name the kind of an address, such as ``slack``; its host may be a secret already."""
    found = _SCHEME.fullmatch(url.get_secret_value())
    return "" if found is None else found[1].lower()


def is_mail_address(text: str) -> bool:
    """Tell whether an owner can be written to.

    Examples
    --------
    >>> is_mail_address("ana@example.org"), is_mail_address("team data"), is_mail_address("a@b.org?to=x")
    (True, False, False)
    """
    return _ADDRESS.fullmatch(text) is not None


def address_owner(url: SecretStr, owner: str) -> str | None:
    """Return an address with the owner's in the place that is left for it; None where the owner has none.

    Examples
    --------
    >>> address_owner(SecretStr("mailtos://me:pass@example.org?to={owner}"), "ana@example.org")
    'mailtos://me:pass@example.org?to=ana%40example.org'
    >>> address_owner(SecretStr("mailtos://me:pass@example.org?to={owner}"), "team data")
    >>> address_owner(SecretStr("json://example.org"), "team data")
    'json://example.org'
    """
    text = url.get_secret_value()
    if OWNER not in text:
        return text
    if not is_mail_address(owner):
        return None
    from urllib.parse import quote

    return text.replace(OWNER, quote(owner, safe=""))
