"""Evidently's own summary of a table, as a page to look at."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

# More rows cost seconds and megabytes, and the page looks the same.
_MOST_ROWS = 20_000


def summarise_with_evidently(table: pa.Table) -> str:
    """Make Evidently's data summary of some rows: a self-contained page of 4 MB.

    A column without a value would end the report with an error, and infinity make two of its figures disagree:
    the one is left out, the other counts as missing.

    Parameters
    ----------
    table : Table of shape (n_rows, n_columns)
        Normalised; more than 20,000 rows are thinned evenly.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataSummaryPreset

    if table.num_rows > _MOST_ROWS:
        table = table.take(np.linspace(0, table.num_rows - 1, _MOST_ROWS).astype(np.int64))
    frame = table.to_pandas().replace([np.inf, -np.inf], np.nan)
    frame = frame[[name for name in frame.columns if frame[name].notna().any()]]
    moments = [name for name in frame.columns if pd.api.types.is_datetime64_any_dtype(frame[name])]
    numbers = [
        name
        for name in frame.columns
        if pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name])
    ]
    texts = [name for name in frame.columns if name not in (*moments, *numbers)]
    frame = frame.assign(**{name: frame[name].astype(object).map(str, na_action="ignore") for name in texts})
    frame = frame.assign(**{name: frame[name].dt.tz_localize(None) for name in moments})
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts, datetime_columns=moments)
    data = Dataset.from_pandas(frame, data_definition=definition)
    return str(Report([DataSummaryPreset()]).run(data).get_html_str(as_iframe=False))
