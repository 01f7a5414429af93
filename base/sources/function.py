"""A function of the user's code as a source of rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from base.errors import UserCodeError
from base.rows.tables import frame_to_table
from base.sources.cuts import Cut
from base.user_code import UserCode

if TYPE_CHECKING:
    import pyarrow as pa


def call_source(source: str, code: UserCode, cut: Cut | None) -> pa.Table:
    """Call a function of the user's code for its rows.

    One that has a parameter ``since`` is told from where to read: None for everything, else the value that the
    watermark column must be above.

    Raises
    ------
    UserCodeError
        If it fails, or returns anything but a DataFrame or a pyarrow Table.
    DataRefused
        If a column holds values of several types.
    """
    import pandas as pd
    import pyarrow as pa

    function = code.function(source)
    arguments = {"since": None if cut is None else cut.value} if takes_since(function) else {}
    try:
        rows = function(**arguments)
    except (Exception, SystemExit) as error:
        raise UserCodeError(source, f"raised {code.describe_error(error)}", "mend it and run again") from error
    if isinstance(rows, pa.Table):
        return rows
    if not isinstance(rows, pd.DataFrame):
        raise UserCodeError(source, f"returned {type(rows).__name__}", "return a DataFrame or a pyarrow Table")
    return frame_to_table(rows)


def takes_since(function: Callable[..., Any]) -> bool:
    """Tell whether a function can be asked for what is new only."""
    try:
        return "since" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
