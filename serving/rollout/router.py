"""Who answers which rows: the champion, or the versions of a running rollout, by a hash of a key."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from serving.loading.follower import Follower, Served
from serving.rollout.counts import Counters
from serving.rollout.running import RunningRollout

CHAMPION_ARM = "champion"
SHADOW_ARM = "shadow"

_POINTS = 2.0**64


class Share(msgspec.Struct, frozen=True, gc=False):
    """The rows of a request that one version answers; ``positions`` None: all of them."""

    served: Served
    arm: str
    positions: Sequence[int] | None = None


class Router:
    """Splits requests between the versions that the follower has loaded; asks nobody else.

    The same key gets the same arm in every process, for as long as the shares stay; where a challenger's share grows,
    no key goes back to the champion.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self.counters = Counters()

    def split(self, model: str, rows: Sequence[Mapping[str, Any]], *, request_key: str | None = None) -> list[Share]:
        """Say which version answers which rows; nothing where no version of the model serves.

        A row that has all columns of the model's declared key goes by them, others by *request_key*.

        Parameters
        ----------
        request_key : str, optional
            Whom or what the request is about, for rows that do not say it themselves; without one, each request
            is about somebody new.

        Returns
        -------
        list of Share
            Each row in one of them; more than one only where the rows have keys of their own.
        """
        champion = self._follower.find(model)
        if champion is None:
            return []
        rollout = self._follower.find_rollout(model)
        if rollout is None or not rollout.bounds or not rollout.challengers:
            return [Share(champion, CHAMPION_ARM)]
        whole = _point_of(rollout, request_key if request_key is not None else os.urandom(8).hex())
        columns = champion.manifest.key
        if not columns:
            return [_share(rollout, champion, rollout.choose(whole), None)]
        parts: dict[int, tuple[Served | None, list[int]]] = {}
        for position, row in enumerate(rows):
            key = row_key(row, columns)
            chosen = rollout.choose(whole if key is None else _point_of(rollout, key))
            number = 0 if chosen is None else chosen.number
            parts.setdefault(number, (chosen, []))[1].append(position)
        if len(parts) == 1:
            return [_share(rollout, champion, chosen, None) for chosen, _ in parts.values()]
        return [_share(rollout, champion, chosen, positions) for chosen, positions in parts.values()]

    def shadows(self, model: str) -> Sequence[Served]:
        """Return the versions that answer a model's rows too, unseen."""
        rollout = self._follower.find_rollout(model)
        return () if rollout is None or rollout.state.kind != "shadow" else tuple(rollout.challengers.values())

    def observe(self, model: str, number: int, *, n_rows: int, micros: int, failed: bool = False) -> None:
        """Count a request (or the part of one) that a version has answered or failed, and how long that took."""
        rollout = self._follower.find_rollout(model)
        if rollout is not None:
            self.counters.add(rollout.state.id, number, n_rows=n_rows, micros=micros, failed=failed)


def point_of(rollout_id: str, key: str) -> float:
    """Lay a key down in [0, 1): the same point in every process, another one in the next rollout.

    Examples
    --------
    >>> point_of("one", "customer 7") == point_of("one", "customer 7") != point_of("two", "customer 7")
    True
    """
    digest = blake2b(f"{rollout_id}\x00{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    # Of the 64 bits only 53 fit a float; 2**64 - 1 would be rounded up to 1.
    return (int.from_bytes(digest, "big") >> 11 << 11) / _POINTS


def row_key(row: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    """Return the key of a row, or None where one of its columns is missing.

    Examples
    --------
    >>> row_key({"city": "Rome", "customer": 7}, ["city", "customer"]), row_key({"city": None}, ["city"])
    ("['Rome', 7]", None)
    """
    values = [row.get(column) for column in columns]
    # JSON has one kind of number: 7 and 7.0 are the same customer.
    plain = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    return None if None in plain else repr(plain)


def _point_of(rollout: RunningRollout, key: str) -> float:
    return point_of(rollout.state.id, key)


def _share(rollout: RunningRollout, champion: Served, chosen: Served | None, positions: Sequence[int] | None) -> Share:
    served = champion if chosen is None else chosen
    return Share(served, rollout.arm_of(served.number), positions)
