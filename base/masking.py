"""Take secrets out of what other people's libraries say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from base.settings import Settings

_MASK = "***"
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+@")
_PARAMETER = re.compile(r"(?i)([?&;](?:[\w-]*(?:token|secret|password|signature|credential|key)[\w-]*|sig)=)[^&\s'\"]+")
# A shorter value stands in too many places by chance.
_SHORTEST = 4


def mask_secrets(text: str, settings: Settings) -> str:
    """Replace the secrets of the settings, and what an address carries before its ``@``, by ``***``.

    Examples
    --------
    >>> mask_secrets("no route to postgresql://me:hush@db/sales?sslkey=k", Settings())
    'no route to postgresql://***@db/sales?sslkey=***'
    """
    text = _PARAMETER.sub(rf"\1{_MASK}", _IN_ADDRESS.sub(f"{_MASK}@", text))
    for secret in sorted(_secrets(settings), key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return text


def _secrets(settings: Settings) -> Iterator[str]:
    for url in settings.connections.values():
        found = re.search(r"://[^/\s@:]*:(?P<password>[^@\s]+)@", url.get_secret_value())
        if found is not None:
            yield from _long_enough(found["password"], unquote(found["password"]))
    yield from _leaves(settings.storage_options.get_secret_value())


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            # Where a store lies is no secret, and a message without it helps nobody.
            if not re.search(r"endpoint|region|url", str(name)):
                yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield from _long_enough(value)


def _long_enough(*values: str) -> Iterator[str]:
    return (value for value in values if len(value) >= _SHORTEST)
