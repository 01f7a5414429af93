"""Which form a document has, and what it wishes for."""

from __future__ import annotations

from typing import Any

from base.errors import Fault
from base.json_values import name_type
from serving.hooks.forms.alertmanager import is_alertmanager, read_alertmanager
from serving.hooks.forms.everfit import is_everfit, read_everfit
from serving.hooks.forms.evidently import is_evidently, read_evidently
from serving.hooks.forms.great_expectations import is_great_expectations, read_great_expectations
from serving.hooks.forms.plain import read_plain
from serving.hooks.wish import Wish
from serving.web.problems import FaultsFound


def read_known(document: Any, *, pipeline: str) -> Wish | None:
    """Read a document of a system that is known; None where it is none of them.

    Raises
    ------
    FaultsFound
        422, where it has the form of one, but not wholly.
    """
    if not isinstance(document, dict):
        return None
    if is_alertmanager(document):
        return read_alertmanager(document)
    if is_evidently(document):
        return read_evidently(document)
    if is_great_expectations(document):
        return read_great_expectations(document)
    if is_everfit(document):
        return read_everfit(document, pipeline=pipeline)
    return None


def read_wish(document: Any, *, pipeline: str) -> Wish:
    """Read a body that is no CloudEvent: of a known system, or of Everfit's own form.

    Raises
    ------
    FaultsFound
        422, with every fault.
    """
    if not isinstance(document, dict):
        raise FaultsFound([Fault(None, name_type(document), 'an object such as {"reason": "new prices"}')])
    return read_known(document, pipeline=pipeline) or read_plain(document)
