"""A labelled batch holds the champion's window against the one that a training would choose now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.train_spec import TrainingWindow
from monitoring.policies import live
from monitoring.policies.cost_aware import LabelledBatch
from monitoring.policies.labelled_rows import LabelledRows
from monitoring.policies.live import make_batch

_START = datetime(2026, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_ROWS_A_DAY, _TRAINED_DAYS, _SERVED_DAYS, _FLIP = 200, 20, 10, 25


def _rows(first: int, stop: int) -> LabelledRows:
    """Days of rows whose feature says the class; from day 25 on it says the other one."""
    draw = np.random.default_rng(0)
    feature = draw.normal(size=_ROWS_A_DAY * (_TRAINED_DAYS + _SERVED_DAYS + 1))
    target = ((feature > 0) != (np.arange(len(feature)) >= _FLIP * _ROWS_A_DAY)).astype(np.int64)
    rows = slice(first * _ROWS_A_DAY, stop * _ROWS_A_DAY)
    return LabelledRows(pd.DataFrame({"feature": feature[rows]}), target[rows])


def _measure(
    monkeypatch: pytest.MonkeyPatch, *, declared: TrainingWindow | None, champion: TrainingWindow | None = None
) -> tuple[LabelledBatch, list[int]]:
    """Make the batch of the eleventh served day, and tell how many rows each probe learnt from."""
    today = _START + (_TRAINED_DAYS + _SERVED_DAYS) * _DAY
    newest = _rows(_TRAINED_DAYS + _SERVED_DAYS, _TRAINED_DAYS + _SERVED_DAYS + 1)
    sizes: list[int] = []
    manifest: Any = SimpleNamespace(
        task="classification",
        classes=(0, 1),
        threshold=0.5,
        seed=0,
        plan=SimpleNamespace(numeric=("feature",), categorical=()),
        window=champion,
        first=_START,
        learnt_until=_START + _TRAINED_DAYS * _DAY,
        watermark=None,
    )
    measured: Any = SimpleNamespace(
        labelled=pd.DataFrame({"value": newest.target}), features=newest.features, start=today, stop=today + _DAY
    )

    def read(_version: Any, _store: Any, *, start: datetime, stop: datetime, label_delay: timedelta) -> LabelledRows:
        return _rows((start - _START) // _DAY, (stop - _START) // _DAY)

    def find(rows: LabelledRows, manifest: Any, store: Any) -> Any:
        sizes.append(len(rows.target))
        return found(rows, manifest, SimpleNamespace(probe=lambda _key, fit: fit()))

    found = live.find_probe
    monkeypatch.setattr(live, "find_probe", find)
    monkeypatch.setattr(live, "read_served_rows", read)
    monkeypatch.setattr(live, "read_answers", lambda labelled, _classes: np.full((len(labelled), 2), 0.5))
    version: Any = SimpleNamespace(number=1, manifest=manifest)
    store: Any = None
    batch = make_batch(
        measured,
        version,
        store,
        training=_rows(0, _TRAINED_DAYS),
        window=_DAY,
        label_delay=timedelta(0),
        declared=declared,
    )
    return batch, sizes


def test_after_a_flip_a_fresh_probe_of_the_window_that_a_training_would_choose_is_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch, sizes = _measure(monkeypatch, declared=None)

    assert sizes == [4_000, 5_800, 2_900, 1_450, 1_500]
    assert batch.twin_loss is not None
    assert batch.probe_loss is not None
    assert batch.twin_loss - batch.probe_loss > 0.5


@pytest.mark.parametrize(("written", "n_rows"), [("expanding", 6_000), ("500 rows", 500), ("3 days", 600)])
def test_a_window_that_the_definition_fixes_is_not_raced(
    monkeypatch: pytest.MonkeyPatch, written: str, n_rows: int
) -> None:
    window = TrainingWindow.read(written)

    _, sizes = _measure(monkeypatch, declared=window, champion=window)

    assert sizes == [min(n_rows, 4_000), n_rows]
