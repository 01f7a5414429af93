"""The messages that Everfit itself sends: what happens to one model may call for a training of another."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from base.times import parse_moment
from base.webhooks import EVENTS
from serving.hooks.forms.checked import check_document
from serving.hooks.forms.plain import RunId
from serving.hooks.wish import Wish, cut_reason

NAME = "everfit"
_TEST = "webhook.test"


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str = ""
    run: RunId | None = None
    version: int | None = None
    reason: str = ""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str
    timestamp: Annotated[datetime, BeforeValidator(parse_moment)]
    data: _Told


def is_everfit(document: dict[str, Any]) -> bool:
    """Tell whether a document is a message of Everfit's own outgoing webhooks."""
    return document.get("type") in (*EVENTS, _TEST) and "data" in document and "timestamp" in document


def read_everfit(document: dict[str, Any], *, pipeline: str) -> Wish:
    """Read a message: of another model it asks for a training, of the pipeline's own it never does.

    A run that it names is passed on as its cause, so that the arbiter recognises what this pipeline's own training
    has caused by way of others.

    Raises
    ------
    FaultsFound
        422, where it has another form.
    """
    message = check_document(_Message, document)
    told = message.data
    facts = {"type": message.type, "model": told.model, "version": told.version, "run": told.run}
    if message.type == _TEST:
        return Wish(form=NAME, reason="a test message was heard", asks=False, facts=facts)
    which = f"{told.model}@{told.version}" if told.version is not None else told.model
    reason = f"{message.type} of {which}" + (f": {told.reason}" if told.reason else "")
    own = told.model == pipeline
    return Wish(
        form=NAME,
        reason=cut_reason(reason),
        blocked=cut_reason(f"{message.type} of {which} is of this pipeline's own model") if own else "",
        occurred_at=message.timestamp,
        caused_by=told.run,
        facts=facts,
    )
