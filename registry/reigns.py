"""Reigns: which version was champion when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from registry.aliases import CHAMPION
from registry.tables import AliasMove


@dataclass(frozen=True)
class Reign:
    """A time in which a version was champion; *until* is None while it still is."""

    environment: str
    number: int
    since: datetime
    until: datetime | None


def champions_between(session: Session, model: str, first: datetime, last: datetime) -> list[Reign]:
    """Find which versions were champion in a time, in every environment, in the order in which they came.

    A time that begins and ends in one moment has at most one champion in each environment.
    """
    query = select(AliasMove).where(AliasMove.model == model, AliasMove.alias == CHAMPION)
    moves: dict[str, list[AliasMove]] = {}
    for move in session.exec(query.order_by(col(AliasMove.environment), col(AliasMove.revision))):
        moves.setdefault(move.environment, []).append(move)
    reigns = [
        Reign(environment, move.number, move.moved_at, None if after is None else after.moved_at)
        for environment, found in moves.items()
        for move, after in zip(found, [*found[1:], None], strict=True)
    ]
    return [reign for reign in reigns if reign.since <= last and (reign.until is None or reign.until > first)]
