"""What takes happenings to a sink, and how it says that it could not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from base.errors import RunFailed
from registry.notices.happening import Happening


class NotCarried(RunFailed):
    """A sink did not take what was sent; with *is_final* it never will, and the next one is tried."""

    def __init__(self, problem: str, *, is_final: bool = False) -> None:
        super().__init__(problem)
        self.is_final = is_final


class Carrier(Protocol):
    """What takes happenings to one sink."""

    def carry(self, happenings: Sequence[Happening], *, owner: str) -> None:
        """Send happenings as one message; when this returns, the sink has taken them.

        Raises
        ------
        NotCarried
            If the sink did not take them.
        """
