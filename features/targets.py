"""Targets that are computed from columns, such as ``tips > 0.2 * fare``."""

from __future__ import annotations

import ast
import re

import pyarrow as pa

from base.errors import DefinitionError, nearest
from base.pipeline import Target

_KEY = "target.expression"
_QUOTED = re.compile(r"`([^`]+)`")


def columns_of(expression: str) -> tuple[str, ...]:
    """List the columns that an expression names, in alphabetical order.

    Raises
    ------
    DefinitionError
        If it is no expression.

    Examples
    --------
    >>> columns_of("tips > 0.2 * fare")
    ('fare', 'tips')
    >>> columns_of("`total fare` > 10")
    ('total fare',)
    """
    # pandas writes a name that is no identifier in backticks: `my column`.
    quoted = {f"_quoted_{index}": name for index, name in enumerate(_QUOTED.findall(expression))}
    plain = expression
    for replacement, name in quoted.items():
        plain = plain.replace(f"`{name}`", replacement)
    try:
        tree = ast.parse(plain.strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise DefinitionError(
            f"key {_KEY!r} is {expression!r}, expected an expression over columns, such as 'tips > 0.2 * fare'",
            key=_KEY,
        ) from error
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return tuple(sorted(quoted.get(name, name) for name in names))


def compute_target(table: pa.Table, target: Target) -> pa.ChunkedArray:
    """Compute a target for each row; it is null where a column that it needs is.

    Raises
    ------
    DefinitionError
        If the expression names what is no column, or cannot be computed.

    Examples
    --------
    >>> trips = pa.table({"tips": [3.0, 1.0, None], "fare": [10.0, 10.0, 10.0]})
    >>> compute_target(trips, Target(name="big_tip", expression="tips > 0.2 * fare")).to_pylist()
    [True, False, None]
    """
    names = columns_of(target.expression)
    for name in names:
        if name not in table.column_names:
            raise DefinitionError(
                f"key {_KEY!r} names {name!r}, which is no column{nearest(name, table.column_names)}; "
                f"there are {', '.join(table.column_names[:20])}",
                key=_KEY,
            )
    if not names:
        raise DefinitionError(f"key {_KEY!r} is {target.expression!r}, expected a column in it", key=_KEY)
    frame = table.select(list(names)).to_pandas()
    try:
        values = frame.eval(target.expression, engine="python")
        # A comparison with a missing value is False in pandas; an unknown target must not become a negative one.
        unknown = frame.isna().any(axis=1).to_numpy()
        return pa.chunked_array([pa.array(values.to_numpy(), from_pandas=True, mask=unknown)])
    except Exception as error:
        raise DefinitionError(
            f"key {_KEY!r} is {target.expression!r}, which cannot be computed: {error}", key=_KEY
        ) from error
