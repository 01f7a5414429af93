"""How many requests each caller may make: token buckets in one number each, in bounded memory."""

from __future__ import annotations

# Callers that are remembered; at some 150 bytes each this is 3 MB.
_MOST_CALLERS = 20_000


class RateLimiter:
    """Token buckets by caller, as the moment at which each will be full again (GCRA, ITU-T I.371).

    A bucket holds *burst* requests and gains *per_second* of them. A caller whose bucket is full needs no memory,
    so such callers are the first to be forgotten; then those that were seen first.

    Parameters
    ----------
    per_second : float
        Requests that a caller may make in the long run, in each second.
    burst : int
        Requests that a caller may make at once, after a rest.

    Examples
    --------
    >>> limiter = RateLimiter(per_second=2, burst=3)
    >>> [limiter.take("ann", now=100.0) for _ in range(4)]
    [0.0, 0.0, 0.0, 0.5]
    >>> limiter.take("ann", now=100.5), limiter.take("bob", now=100.5)
    (0.0, 0.0)
    """

    __slots__ = ("_full_at", "_interval", "_most", "_slack")

    def __init__(self, *, per_second: float, burst: int, most_callers: int = _MOST_CALLERS) -> None:
        self._interval = 1.0 / per_second
        self._slack = self._interval * burst
        self._most = most_callers
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, caller: str, *, now: float) -> float:
        """Take one request from a caller's bucket.

        Returns
        -------
        float
            0.0 if it was there, else in how many seconds it will be; nothing is taken then.
        """
        full_at = self._full_at.get(caller)
        if full_at is None:
            if len(self._full_at) >= self._most:
                self._forget(now)
            full_at = now
        elif full_at < now:
            full_at = now
        full_at += self._interval
        # Half a nanosecond: what rounding makes of a bucket that is exactly empty.
        wait = full_at - now - self._slack
        if wait > 5e-10:
            return wait
        self._full_at[caller] = full_at
        return 0.0

    def _forget(self, now: float) -> None:
        self._full_at = {caller: full_at for caller, full_at in self._full_at.items() if full_at > now}
        if len(self._full_at) >= self._most:
            for caller in list(self._full_at)[: self._most // 10 + 1]:
                del self._full_at[caller]


def caller_of(address: str) -> str:
    """Say who calls from an address: itself, or its /64 network, since one IPv6 client has 2^64 addresses.

    Examples
    --------
    >>> caller_of("192.0.2.7"), caller_of("2001:db8:1:2:aaaa::1")
    ('192.0.2.7', '2001:db8:1:2::/64')
    """
    if ":" not in address:
        return address
    from ipaddress import IPv6Network

    try:
        return str(IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
