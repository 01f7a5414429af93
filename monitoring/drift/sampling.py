"""Rows of a window, sampled, for what looks at rows and not at columns: the classifier and the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from features.columns import as_categories
from monitoring.drift.reading import read_values
from serving.loading.stored_rows import PREDICTION

_SAMPLED_ROWS = 5_000
_SEED = 0


def sample_window(
    window: pd.DataFrame | pa.Table, names: Sequence[str], *, predictions: pd.Series[Any] | None = None
) -> pd.DataFrame:
    """Take at most 5,000 rows at random, so that what comes and goes with the hour does not meet the step."""
    places = np.arange(len(window))
    if len(window) > _SAMPLED_ROWS:
        places = np.sort(np.random.default_rng(_SEED).choice(len(window), _SAMPLED_ROWS, replace=False))
    frame: pd.DataFrame
    if isinstance(window, pd.DataFrame):
        frame = window[list(names)].iloc[places].reset_index(drop=True)
    else:
        frame = window.select(list(names)).take(pa.array(places)).to_pandas()
    return frame if predictions is None else frame.assign(**{PREDICTION: predictions.to_numpy()[places]})


def conform(sample: pd.DataFrame, *, numeric: Sequence[str], categorical: Sequence[str]) -> pd.DataFrame:
    """Write sampled rows as the profile's sample is: finite numbers as float64, categories as text, gaps as NaN."""
    columns: dict[str, Any] = {name: read_values(sample[name]) for name in numeric}
    columns |= {name: as_categories(sample[name]) for name in categorical}
    return pd.DataFrame(columns, index=sample.index)
