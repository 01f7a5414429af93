"""What all parts of a definition share: frozen, and no key is let through unread."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Strict

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

NOTHING = timedelta(0)

Whole = Annotated[int, Strict()]
"""An integer that is written as one: true, 1.0 and '1' are none."""

Fraction = Annotated[float, Strict()]
"""A number that is written as one."""


class Section(BaseModel):
    """A part of the definition: frozen, and no key is let through unread."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def is_function(source: str) -> bool:
    """Tell a function of the user's code (``module:function``) from a path or URL.

    Examples
    --------
    >>> is_function("features:load_flights"), is_function("data/*.parquet"), is_function("s3://bucket/key")
    (True, False, False)
    """
    return _FUNCTION.fullmatch(source) is not None


def one_or_more(value: object) -> object:
    """Let a single text stand for a list of one.

    Examples
    --------
    >>> one_or_more("customer"), one_or_more(["city", "customer"])
    (('customer',), ['city', 'customer'])
    """
    return (value,) if isinstance(value, str) else value
