"""Laws of the rate limiter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.access.rates import RateLimiter


@given(
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=80),
    per_second=st.floats(0.1, 50),
    burst=st.integers(1, 20),
)
def test_nobody_gets_more_than_the_burst_and_the_rate_allow(gaps: list[float], per_second: float, burst: int) -> None:
    limiter, now, taken = RateLimiter(per_second=per_second, burst=burst), 1000.0, 0

    for gap in gaps:
        now += gap
        taken += limiter.take("ann", now=now) == 0

    assert taken <= burst + (now - 1000.0 - gaps[0]) * per_second + 1e-6


@given(per_second=st.floats(0.1, 50), burst=st.integers(1, 20))
def test_who_waits_as_long_as_told_is_let_in(per_second: float, burst: int) -> None:
    limiter = RateLimiter(per_second=per_second, burst=burst)
    assert [limiter.take("ann", now=7.0) for _ in range(burst)] == [0.0] * burst

    wait = limiter.take("ann", now=7.0)

    assert wait > 0
    assert limiter.take("ann", now=7.0 + wait) == 0


def test_memory_is_bounded_however_many_callers_come() -> None:
    limiter = RateLimiter(per_second=0.001, burst=1, most_callers=100)

    for number in range(5000):
        limiter.take(f"caller {number}", now=number * 1e-3)

    assert len(limiter) <= 100
