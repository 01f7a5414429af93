"""How far a batch is, in words."""

from __future__ import annotations

from tasks.batch.request import Progress


def describe_progress(progress: Progress) -> str:
    """Say how far a batch is.

    Examples
    --------
    >>> describe_progress(Progress(50_000, 200_000, 12.4))
    '50,000 of 200,000 rows, 12 s left'
    """
    done = f"{progress.n_done:,}" if progress.n_rows is None else f"{progress.n_done:,} of {progress.n_rows:,}"
    left = "" if progress.seconds_left is None else f", {describe_seconds(progress.seconds_left)} left"
    return f"{done} rows{' logged' if progress.is_logging else ''}{left}"


def describe_seconds(seconds: float) -> str:
    """Say how long something takes, roughly.

    Examples
    --------
    >>> describe_seconds(12.4), describe_seconds(192), describe_seconds(7300)
    ('12 s', '3 min', '2 h 1 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
