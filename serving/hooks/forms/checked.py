"""Documents checked against a pydantic model, every fault of them told at once."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from base.errors import Fault, nearest
from base.json_values import cut_text, show_value
from serving.web.problems import FaultsFound

_Model = TypeVar("_Model", bound=BaseModel)


def check_document(model: type[_Model], document: Any) -> _Model:
    """Read a document as a model.

    Raises
    ------
    FaultsFound
        422, with every fault and its place, such as ``alerts.0.status``.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
    raise FaultsFound([_as_fault(model, each) for each in found])


def _as_fault(model: type[BaseModel], found: Any) -> Fault:
    place = cut_text(".".join(str(part) for part in found["loc"])) or None
    if found["type"] == "missing":
        return Fault(place, "nothing", "a value")
    if found["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in model.model_fields.items()]
        hint = nearest(str(found["loc"][-1]), known)
        return Fault(place, "a key that nothing is known of", f"one of {', '.join(known)}{hint}")
    expected = found["msg"].removeprefix("Input should be ").removeprefix("Value error, expected ")
    return Fault(place, show_value(found["input"]), expected)
