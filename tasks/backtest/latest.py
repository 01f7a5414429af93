"""The latest of what was made, by name: what policies have in common is made once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Latest(Generic[Made]):
    """Keeps the things that were asked for last.

    Examples
    --------
    >>> kept = Latest[int](most=1)
    >>> kept.take("one", lambda: 1), kept.take("one", lambda: 2), kept.take("other", lambda: 3)
    (1, 1, 3)
    >>> kept.take("one", lambda: 2)
    2
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, Made] = OrderedDict()

    def take(self, name: str, make: Callable[[], Made]) -> Made:
        """Return what has this name, made now if it is not kept."""
        if name not in self._kept:
            self._kept[name] = make()
        self._kept.move_to_end(name)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return self._kept[name]
