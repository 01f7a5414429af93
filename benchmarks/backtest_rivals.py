"""What the field retrains by, replayed beside the shipped policy: Evidently's defaults, ADWIN, DDM and Page-Hinkley.

Detectors of the stream-learning literature (river's, at their defaults) see the champion's errors row by row and begin
anew with each champion. Evidently compares each window's features with the rows that the champion has learnt from.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pandas as pd

from benchmarks.gate_streams import DATA_SETS, find_data
from benchmarks.policy_replay import Policy, Schedule, decide_each
from benchmarks.policy_streams import CACHE, PolicyStream, read_raw_rows

_DRIFTED_SHARE = 0.5
# DDM counts wrong answers; a value is one where it is off by more than half a full loss.
_WRONG = 0.5

RowAlarm = Callable[[float], bool]
"""Takes a row's loss, and says whether the loss has risen."""


def adwin(stream: PolicyStream, _price: float) -> Schedule:
    """Train when an adaptive window over the errors is cut, and has risen (Bifet & Gavaldà 2007)."""
    return _watch_rows(stream, _make_adwin)


def ddm(stream: PolicyStream, _price: float) -> Schedule:
    """Train when the error rate is three standard deviations above its least (Gama et al. 2004)."""
    return _watch_rows(stream, _make_ddm)


def page_hinkley_on_rows(stream: PolicyStream, _price: float) -> Schedule:
    """Train when the errors' cumulative sum has risen as far as river's default says (Page 1954)."""
    return _watch_rows(stream, _make_page_hinkley)


def evidently_half(stream: PolicyStream, _price: float) -> Schedule:
    """Train when Evidently's defaults call half of the columns drifted.

    It needs no labels, so that it is shown the batch that has just been served, one later than those with labels.
    """
    answers = _EvidentlyAnswers(stream)

    def sees(batch: int, model: int) -> bool:
        served = batch + 1
        return served < stream.models.shape[1] and answers.share(model, served) >= _DRIFTED_SHARE

    try:
        return decide_each(stream, sees)
    finally:
        answers.keep()


RIVALS: dict[str, Policy] = {
    "Evidently's default, half the columns": evidently_half,
    "ADWIN on the errors": adwin,
    "DDM on the errors": ddm,
    "Page-Hinkley on the errors": page_hinkley_on_rows,
}


def drifted_share(reference: pd.DataFrame, window: pd.DataFrame, *, whole_preset: bool = False) -> float:
    """Return the share of columns that Evidently's defaults call drifted.

    Columns without a value on one of the sides are left out: Evidently refuses them. *whole_preset* runs the preset
    with all its charts, ten times the work, of which this is the measure of dataset drift.
    """
    import warnings

    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import DriftedColumnsCount
    from evidently.presets import DataDriftPreset

    columns = [name for name in window.columns if window[name].notna().any() and reference[name].notna().any()]
    numeric = [name for name in columns if pd.api.types.is_numeric_dtype(reference[name])]
    categorical = [name for name in columns if name not in numeric]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    sides = [
        Dataset.from_pandas(rows[columns].assign(**{name: rows[name].astype(str) for name in categorical}), definition)
        for rows in (window, reference)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = Report([DataDriftPreset() if whole_preset else DriftedColumnsCount()])
        found = json.loads(report.run(sides[0], sides[1]).json())
    return float(found["metrics"][0]["value"]["share"])


class _EvidentlyAnswers:
    """What Evidently says of windows, kept beside the fits: a window and a reference are asked about once."""

    def __init__(self, stream: PolicyStream) -> None:
        self._stream = stream
        self._file = CACHE / f"evidently-{stream.name}-{stream.order[:2].strip()}-{stream.n_rows}.json"
        self._known: dict[str, float] = json.loads(self._file.read_text()) if self._file.is_file() else {}
        self._n_kept = len(self._known)

    def share(self, model: int, batch: int) -> float:
        """The drifted share of a batch's columns, held against what a model has learnt from."""
        edges, begins = self._stream.edges, self._stream.begins
        spans = [int(each) for each in (begins[model], edges[model], edges[batch], edges[batch + 1])]
        key = "-".join(map(str, spans))
        if key not in self._known:
            rows = _raw_rows(self._stream.name, self._stream.order)
            self._known[key] = drifted_share(rows.iloc[spans[0] : spans[1]], rows.iloc[spans[2] : spans[3]])
        return self._known[key]

    def keep(self) -> None:
        """Write down what is new."""
        if len(self._known) == self._n_kept:
            return
        CACHE.mkdir(exist_ok=True)
        aside = self._file.with_suffix(f".{os.getpid()}.json")
        aside.write_text(json.dumps(self._known), encoding="utf-8")
        aside.rename(self._file)
        self._n_kept = len(self._known)


@functools.lru_cache(maxsize=8)
def _raw_rows(name: str, order: Any) -> pd.DataFrame:
    (each,) = (data for data in DATA_SETS if data.name == name)
    return read_raw_rows(cast(Path, find_data()) / f"{name}.parquet", each, order)[0]


def _watch_rows(stream: PolicyStream, make: Callable[[], RowAlarm]) -> Schedule:
    champion: int | None = None
    sees_row = make()

    def sees(batch: int, model: int) -> bool:
        nonlocal champion, sees_row
        if model != champion:
            champion, sees_row = model, make()
        begin, stop = (int(stream.edges[each] - stream.edges[0]) for each in (batch, batch + 1))
        return any(sees_row(float(loss)) for loss in stream.rows[model, begin:stop])

    return decide_each(stream, sees)


def _make_adwin() -> RowAlarm:
    from river.drift import ADWIN

    detector = ADWIN()

    def sees(loss: float) -> bool:
        usual = detector.estimation
        detector.update(loss)
        return bool(detector.drift_detected and detector.estimation > usual)

    return sees


def _make_ddm() -> RowAlarm:
    from river.drift.binary import DDM

    detector = DDM()

    def sees(loss: float) -> bool:
        detector.update(loss > _WRONG)
        return bool(detector.drift_detected)

    return sees


def _make_page_hinkley() -> RowAlarm:
    from river.drift import PageHinkley

    detector = PageHinkley(mode="up")

    def sees(loss: float) -> bool:
        detector.update(loss)
        return bool(detector.drift_detected)

    return sees
