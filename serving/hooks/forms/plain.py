"""Everfit's own form: ``{"reason": …, "as_of": …}``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from base.times import parse_moment
from serving.hooks.forms.checked import check_document
from serving.hooks.wish import LONGEST_REASON, Wish, cut_reason

NAME = "plain"
EVENT_TYPE = "everfit.retrain.requested"
"""The type of CloudEvents whose data has this form."""

MOST_PRIORITY = 100

RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]


def _read_moment(value: object) -> object:
    # A number is no moment, though 20130401 could be read as one.
    return parse_moment(value) if isinstance(value, str) else value


_Moment = Annotated[datetime, BeforeValidator(_read_moment)]


class PlainBody(BaseModel):
    """What may stand in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_REASON)]
    as_of: _Moment | None = None
    occurred_at: _Moment | None = None
    priority: Annotated[int, Field(ge=-MOST_PRIORITY, le=MOST_PRIORITY)] | None = None
    caused_by: RunId | None = None
    data: Any = None


def read_plain(document: Any) -> Wish:
    """Read the form.

    Raises
    ------
    FaultsFound
        422, for what is missing, unknown or of another kind.
    """
    body = check_document(PlainBody, document)
    return Wish(
        form=NAME,
        reason=cut_reason(body.reason),
        as_of=body.as_of,
        occurred_at=body.occurred_at,
        priority=body.priority,
        caused_by=body.caused_by,
        facts={} if body.data is None else {"data": body.data},
    )
