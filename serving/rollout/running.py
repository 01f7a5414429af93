"""A rollout as one process follows it: the shares, and the versions that are loaded for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.tables import Rollout

if TYPE_CHECKING:
    from serving.loading.served import Served


@dataclass(frozen=True)
class RunningRollout:
    """One state of a rollout; the next one replaces it as a whole.

    ``challengers`` are those that are loaded here, ``refused`` tells why others are not; the share of one that is not
    loaded goes to the champion. ``bounds`` are the challengers' parts of [0, 1), one after the other from 0, so that
    a first challenger's part that grows never gives a key back.
    """

    state: Rollout
    challengers: Mapping[int, Served]
    refused: Mapping[int, str] = field(default_factory=dict)
    bounds: tuple[tuple[float, int], ...] = ()

    @classmethod
    def of(cls, state: Rollout, challengers: Mapping[int, Served], refused: Mapping[int, str]) -> RunningRollout:
        """Lay the shares of a rollout side by side."""
        bounds, upper = [], 0.0
        for number in state.challengers:
            upper += state.shares.get(str(number), 0.0)
            bounds.append((upper, number))
        return cls(state, challengers, refused, tuple(bounds) if state.kind != "shadow" else ())

    def choose(self, point: float) -> Served | None:
        """Return the loaded challenger to whose part a point of [0, 1) belongs, or None for the champion."""
        for upper, number in self.bounds:
            if point < upper:
                return self.challengers.get(number)
        return None

    def arm_of(self, number: int) -> str:
        """Name the arm of a version: ``champion``, ``challenger``, or ``v7`` where there are several challengers."""
        if number == self.state.champion:
            return "champion"
        return "challenger" if len(self.state.challengers) == 1 else f"v{number}"
