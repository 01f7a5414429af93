"""Which columns of a request each feature is made of, found by trying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

_MOST_SHIFTS = 3


def find_sources(
    frame: pd.DataFrame, features: Sequence[str], build: Callable[[pd.DataFrame], pd.DataFrame]
) -> dict[str, tuple[str, ...]]:
    """Name the columns that each feature changes with, in the order of the frame.

    A column's values are given to other rows, and whatever is not as it was depends on it. A feature that looks at a
    column only in cases that none of the rows shows is not found to depend on it.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_inputs)
        Real rows, as a request brings them and views complete them.
    build : callable
        Makes the features of such rows.

    Examples
    --------
    >>> frame = pd.DataFrame({"miles": [1.0, 2.0], "minutes": [5.0, 8.0], "note": ["a", "b"]})
    >>> find_sources(frame, ["speed", "one"], lambda rows: rows.assign(speed=rows["miles"] / rows["minutes"], one=1))
    {'speed': ('miles', 'minutes'), 'one': ()}
    """
    before = build(frame)
    found: dict[str, list[str]] = {name: [] for name in features}
    for column in frame.columns:
        open_ones = list(features)
        for shift in range(1, min(_MOST_SHIFTS + 1, len(frame))):
            order = [(place + shift) % len(frame) for place in range(len(frame))]
            after = build(frame.assign(**{column: frame[column].take(order).set_axis(frame.index)}))
            changed = [name for name in open_ones if not _is_equal(before[name], after[name])]
            for name in changed:
                found[name].append(str(column))
            open_ones = [name for name in open_ones if name not in changed]
    return {name: tuple(columns) for name, columns in found.items()}


def _is_equal(before: pd.Series[Any], after: pd.Series[Any]) -> bool:
    return before.reset_index(drop=True).equals(after.reset_index(drop=True))
