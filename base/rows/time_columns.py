"""Read a column of moments, however its source writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from base.errors import DataRefused, Fault, nearest
from base.rows.tables import MOMENT

if TYPE_CHECKING:
    import pandas as pd

_MOST_SHOWN = 3
_EXPECTED = "moments, such as '2013-04-01', '2013-04-01T06:00Z' or seconds since 1970"


@dataclass(frozen=True)
class _NumberForm:
    """A way to write moments as integers, told by the range that all values lie in."""

    minimum: int
    maximum: int
    unit: str = ""
    date_format: str = ""


# The ranges do not meet: years, days as digits, then seconds, milliseconds … from 1973 to about 5000.
_NUMBER_FORMS = (
    _NumberForm(1900, 2100, date_format="%Y"),
    _NumberForm(1900_01_01, 2100_12_31, date_format="%Y%m%d"),
    _NumberForm(10**8, 10**11 - 1, unit="s"),
    _NumberForm(10**11, 10**14 - 1, unit="ms"),
    _NumberForm(10**14, 10**17 - 1, unit="us"),
    _NumberForm(10**17, 2**63 - 1, unit="ns"),
)


def parse_time(table: pa.Table, column: str) -> pa.Table:
    """Turn a column of a normalised table into moments (UTC) if it is not of that type already.

    Understood are text (ISO 8601, or any one format that pandas recognises), seconds, milliseconds,
    microseconds or nanoseconds since 1970, dates as digits (20130401) and years. Nulls stay null.

    Raises
    ------
    DataRefused
        If there is no such column, or a value is no moment; it names the first such values.

    Examples
    --------
    >>> parse_time(pa.table({"start": [1357000200]}), "start")["start"][0].as_py().isoformat()
    '2013-01-01T00:30:00+00:00'
    >>> parse_time(pa.table({"start": ["2013-01-01", "soon"]}), "start")
    Traceback (most recent call last):
    base.errors.DataRefused: time column 'start' is refused:
      - row 1, column 'start': found 'soon' (1 rows), expected moments, such as '2013-04-01', …
    """
    if column not in table.column_names:
        fault = Fault(column, "no such column", f"it, as the definition says{nearest(column, table.column_names)}")
        raise DataRefused("the table", [fault], "name another column under 'time', or bring it back")
    values = table.column(column)
    if values.type == MOMENT:
        return table
    if pa.types.is_string(values.type):
        moments = _from_text(column, values)
    elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        moments = _from_numbers(column, values)
    else:
        raise _refuse(column, [Fault(column, str(values.type), _EXPECTED)])
    return table.set_column(table.column_names.index(column), column, moments)


def _from_numbers(column: str, values: pa.ChunkedArray) -> pa.Array:
    import pandas as pd

    numbers = values.to_pandas()
    if not len(present := numbers.dropna()):
        return pa.nulls(len(numbers), MOMENT)
    typical = present.median()
    form = next((form for form in _NUMBER_FORMS if form.minimum <= typical <= form.maximum), None)
    if form is None:
        raise _refuse_values(column, values, numbers.notna())
    fits = numbers.between(form.minimum, form.maximum)
    if form.unit:
        moments = pd.to_datetime(numbers.where(fits), unit=form.unit, utc=True)  # type: ignore[call-overload]
    else:
        digits = numbers.where(fits).astype("Int64").astype("string")
        moments = pd.to_datetime(digits, format=form.date_format, utc=True, errors="coerce")
    return _finish(column, values, moments)


def _from_text(column: str, values: pa.ChunkedArray) -> pa.Array:
    import pandas as pd

    texts = values.to_pandas()
    moments = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    if not (texts.notna() & moments.isna()).any():
        return _finish(column, values, moments)
    # One format for the whole column, guessed from its first value; the readings differ in 03/04/2013.
    readings = [_guess(texts, dayfirst=dayfirst) for dayfirst in (False, True)]
    whole = [reading for reading in readings if reading.notna().equals(texts.notna())]
    if len(whole) == 2 and not whole[0].equals(whole[1]):
        row = int((whole[0] != whole[1]).to_numpy().argmax())
        found = f"{texts[row]!r}, which may be {whole[0][row]:%d %B %Y} or {whole[1][row]:%d %B %Y}"
        raise _refuse(column, [Fault(column, found, "dates with one reading, such as '2013-04-01'", row=row)])
    best = whole[0] if whole else max([moments, *readings], key=lambda reading: int(reading.notna().sum()))
    return _finish(column, values, best)


def _guess(texts: pd.Series[Any], *, dayfirst: bool) -> pd.Series[Any]:
    import warnings

    import pandas as pd

    with warnings.catch_warnings():
        # pandas warns that it cannot guess a format; the values that it cannot read are refused by name.
        warnings.simplefilter("ignore", UserWarning)
        return pd.to_datetime(texts, utc=True, errors="coerce", dayfirst=dayfirst)


def _finish(column: str, values: pa.ChunkedArray, moments: pd.Series[Any]) -> pa.Array:
    bad = moments.isna().to_numpy() & pc.is_valid(values).to_numpy()
    if bad.any():
        raise _refuse_values(column, values, bad)
    return pa.Array.from_pandas(moments).cast(MOMENT, safe=False)


def _refuse_values(column: str, values: pa.ChunkedArray, bad: Any) -> DataRefused:
    flags = np.asarray(bad)
    rows = [int(row) for row in flags.nonzero()[0][:_MOST_SHOWN]]
    count = int(flags.sum())
    faults = [
        Fault(column, repr(values[row].as_py()), _EXPECTED, row=row, n_rows=count if row == rows[0] else None)
        for row in rows
    ]
    return _refuse(column, faults)


def _refuse(column: str, faults: list[Fault]) -> DataRefused:
    way_out = "mend these values, or name another column under 'time'; write dates as year-month-day"
    return DataRefused(f"time column {column!r}", faults, way_out)
