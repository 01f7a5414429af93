"""Many columns, one window: p-values that count how many columns were looked at."""

from __future__ import annotations

from collections.abc import Mapping


def adjust_family(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust the p-values of one window for their number (Holm 1979).

    The chance that *any* undrifted column of the window falls below a level is at most that level, however the columns
    hang together. That is what a budget of false alarms counts: one wrong column makes the window's alarm a false one.
    The false discovery rate (Benjamini & Hochberg 1995) would let in a share of wrong columns beside right ones, and
    name columns to a person who then looks at them for nothing; its gain in power is small for tens of columns.

    Examples
    --------
    >>> adjust_family({"age": 0.01, "fare": 0.04, "city": 0.5})
    {'age': 0.03, 'fare': 0.08, 'city': 0.5}
    >>> adjust_family({})
    {}
    """
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    adjusted: dict[str, float] = {}
    largest = 0.0
    for place, (name, p_value) in enumerate(ordered):
        largest = max(largest, min(1.0, p_value * (len(ordered) - place)))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
