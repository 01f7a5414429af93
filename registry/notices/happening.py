"""A happening: something that the loop did, or that befell it, in the words in which people are told of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from base.receivers import HappeningKind, Severity


class Happening(BaseModel):
    """One thing that happened.

    Parameters
    ----------
    title, text : str
        In a line; and what happened and why, with the figures, in a few.
    link : str
        The path of the service at which it is shown, such as ``/v1/models/bike``; empty where nothing shows it.
    key : str
        Names it for ever: whoever reads the same ledger gives it the same key.
    topic, sign : str
        What it is about, and what it says of it. The same sign of a topic again is a repetition; without a topic it
        is none.
    details : dict
        Figures and identifiers, as JSON, for programs.
    """

    model_config = ConfigDict(frozen=True)

    kind: HappeningKind
    pipeline: str
    title: str
    text: str
    severity: Severity
    key: str
    at: datetime
    link: str = ""
    topic: str = ""
    sign: str = ""
    run_id: str | None = None
    flow_run: str | None = None
    details: dict[str, Any] = {}
