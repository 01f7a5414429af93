"""Make features of all rows by the user's code, and prove that one row alone would get the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from base.artifacts import Artifact, ArtifactStore
from base.errors import UserCodeError
from base.user_code import UserCode
from features.fitted import FittedFeature, load_states, store_states
from features.independence import check_independence, find_difference, show_cell
from features.plan import apply_fitted, apply_function
from tasks.splits import Split

_ROWS_COMPARED = 1_000


def add_features(frame: pd.DataFrame, functions: Sequence[str], code: UserCode) -> pd.DataFrame:
    """Let each feature function add its columns to all rows.

    Raises
    ------
    UserCodeError, LooksAtOtherRows
    """
    for path in functions:
        before = frame
        frame = apply_function(before, path, code)
        check_independence(path, before, frame, partial(apply_function, path=path, code=code))
    return frame


def add_fitted(
    frame: pd.DataFrame,
    target: pd.Series[Any],
    split: Split,
    paths: Sequence[str],
    artifacts: ArtifactStore,
    *,
    code: UserCode,
    trusted: Sequence[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame | None, Artifact | None]:
    """Fit features, and add their columns to all rows.

    Returns
    -------
    frame : DataFrame
        All rows, with features fitted on those before ``validation.stop``, read back from what was stored.
    trial : DataFrame, optional
        The rows before ``validation.stop``, with features fitted on the train part alone.
    states : Artifact, optional
        What the features of *frame* have learnt.

    Raises
    ------
    UserCodeError
        If a class fails, gives other columns when it is fitted on other rows, or other values once it was stored.
    LooksAtOtherRows
    """
    if not paths:
        return frame, None, None
    learnt = frame.iloc[: split.validation.stop]
    _, trial = _fit(learnt, target, split.train.stop, paths, code)
    fitted, expected = _fit(learnt, target, len(learnt), paths, code)
    states = store_states(artifacts, fitted)
    for feature in load_states(artifacts, states, code, trusted=trusted):
        before = frame
        frame = apply_fitted(before, [feature])
        check_independence(feature.path, before, frame, partial(apply_fitted, fitted=[feature]))
    _check_same_columns(paths[-1], trial, frame)
    _check_restored(paths[-1], expected, frame)
    return frame, trial, states


def _fit(
    frame: pd.DataFrame, target: pd.Series[Any], stop: int, paths: Sequence[str], code: UserCode
) -> tuple[list[FittedFeature], pd.DataFrame]:
    fitted = []
    for path in paths:
        feature = FittedFeature.fit(path, frame.iloc[:stop], target.iloc[:stop], code)
        frame = apply_fitted(frame, [feature])
        fitted.append(feature)
    return fitted, frame


def _check_same_columns(path: str, trial: pd.DataFrame, frame: pd.DataFrame) -> None:
    if changed := sorted(set(trial.columns) ^ set(frame.columns)):
        raise UserCodeError(
            path,
            f"gives column {changed[0]!r} or not, depending on the rows that it was fitted on",
            "make the same columns whatever it has learnt",
        )


def _check_restored(path: str, expected: pd.DataFrame, frame: pd.DataFrame) -> None:
    n_rows = min(len(expected), _ROWS_COMPARED)
    for name in expected.columns:
        before, after = expected[name].head(n_rows), frame[name].head(n_rows)
        if (row := find_difference(before, after)) is not None:
            raise UserCodeError(
                path,
                f"gives {show_cell(after.iloc[row])} for column {name!r} of row {row:,} once it was stored and read "
                f"again, and gave {show_cell(before.iloc[row])}",
                "keep all that is learnt in the object's attributes, or in get_state() and set_state()",
            )
