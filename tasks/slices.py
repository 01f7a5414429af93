"""Slices of the judged rows: those that are declared, and those that were found, each with its rows and losses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.judged import SliceMetrics
from base.pipeline import Pipeline
from base.row_groups import FEWEST_ROWS, OTHERS, group_rows
from tasks.scored_rows import ScoredRows
from tasks.slice_search import search_slices

_log = logging.getLogger(__name__)

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MeasuredSlice:
    """One slice: its figures, and which of the judged rows it was measured on."""

    figures: SliceMetrics
    rows: Booleans


def cut_slices(rows: ScoredRows, pipeline: Pipeline, missing: dict[str, str]) -> list[MeasuredSlice]:
    """Measure the declared slices, then look for the worst ones.

    A declared column that gives no slice is noted in *missing* as ``slices.<column>``.
    """
    found = []
    for column in pipeline.spec.evaluate.slices:
        groups, reason = group_column(column, rows)
        frequent = {name: each for name, each in groups.items() if each.sum() >= FEWEST_ROWS and name != OTHERS}
        if not frequent:
            missing[f"slices.{column}"] = reason or f"no value has {FEWEST_ROWS} of the {rows.n_rows:,} rows"
            _log.warning("slices of %r are left out: %s", column, missing[f"slices.{column}"])
        found += [_measure(column, name, each, rows) for name, each in frequent.items()]
    if pipeline.spec.evaluate.find_slices:
        searched = searched_columns(rows, pipeline)
        for hit in search_slices(searched, rows.losses["challenger"], rows.losses.get("champion")):
            found.append(_measure(", ".join(hit.columns), hit.condition, hit.rows, rows, found=True))
    return found


def group_column(column: str, rows: ScoredRows) -> tuple[dict[str, Booleans], str]:
    """Group the judged rows by a column of the data or a feature; else say why not. Personal values are never told."""
    if column in rows.personal:
        return {}, "it is marked personal, and its values appear nowhere"
    if column in rows.raw.column_names:
        return group_rows(rows.raw[column].to_pandas()), ""
    if column in rows.features.columns:
        return group_rows(rows.features[column]), ""
    return {}, "it is neither in the data nor a feature"


def searched_columns(rows: ScoredRows, pipeline: Pipeline) -> pd.DataFrame:
    """Return the columns by which slices are looked for: features, sensitive and declared ones; none personal."""
    contract, personal = pipeline.contract, rows.personal
    sensitive = [name for name, rule in contract.columns.items() if rule.sensitive] if contract else []
    evaluate = pipeline.spec.evaluate
    also = dict.fromkeys([*sensitive, *evaluate.fairness, *evaluate.slices])
    columns: dict[str, pd.Series[Any]] = {
        str(name): rows.features[name] for name in rows.features.columns if name not in personal
    }
    for name in also:
        if name in rows.raw.column_names and name not in personal:
            columns[name] = rows.raw[name].to_pandas().set_axis(rows.features.index)
    return pd.DataFrame(columns)


def _measure(column: str, value: str, members: Booleans, rows: ScoredRows, *, found: bool = False) -> MeasuredSlice:
    metrics = _mean_losses(rows.losses, members)
    figures = SliceMetrics(column=column, value=value, n_rows=int(members.sum()), metrics=metrics, found=found)
    return MeasuredSlice(figures, members)


def _mean_losses(losses: Mapping[str, npt.NDArray[np.float64]], rows: Booleans) -> dict[str, float]:
    return {f"{name}_loss": float(values[rows].mean()) for name, values in losses.items()}
