"""Values of key columns, as labels and served rows are compared by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np


def plain_key_value(value: Any) -> Any:
    """Write a value of a key column as it is compared: a missing one as None, a moment in UTC.

    Examples
    --------
    >>> plain_key_value(float("nan")), plain_key_value(np.int64(3)), plain_key_value(datetime(2013, 4, 1, tzinfo=UTC))
    (None, 3, '2013-04-01T00:00:00+00:00')
    """
    # Neither NaN nor pandas' missing moment is equal to itself.
    if value is None or (isinstance(value, float | datetime) and value != value):  # noqa: PLR0124
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.item() if isinstance(value, np.generic) else value
