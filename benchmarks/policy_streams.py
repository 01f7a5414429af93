"""Streams for the replay of retraining policies: what every model that could have been trained would have lost."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.metrics import Task, row_losses
from benchmarks.gate_streams import DATA_SETS, DataSet, find_data

Floats = npt.NDArray[np.float64]
Order = Literal["as it was", "shuffled"]

N_BATCHES = 80
FIRST_SHARE = 0.2
"""Of the rows, before the first served batch: what the first champion is trained on."""

_N_RACED = 3
_MOST_ROWS = 40_000
_MOST_LEARNT = 20_000
_PROBE_SHARE = 0.2
_N_TREES, _N_PROBE_TREES = 100, 30
# Raise it when anything changes that the cached losses depend on.
_LAYOUT = 2


@dataclass(frozen=True)
class PolicyStream:
    """The mean losses on served batches of each model that could have been trained, in units of full loss.

    Model *e* (and probe *e*) has learnt from the rows before served batch ``e``; it is known on batches from ``e`` on,
    and NaN before. A full loss is 1: every answer wrong (classes), or as far off as the median is (values).

    Attributes
    ----------
    models, probes, young_probes : array of shape (n_batches + 1, n_batches)
        Of the full recipe; of a probe on a fifth of the same rows; of a probe on the newest fifth of them.
    noise : array of shape (n_batches + 1, n_batches)
        Standard error of the mean of probe *e* minus probe *b* on batch *b*, from its rows.
    """

    name: str
    order: Order
    n_rows: int
    models: Floats
    probes: Floats
    young_probes: Floats
    noise: Floats


def load_policy_streams(order: Order) -> list[PolicyStream]:
    """Fit, or take from the cache under the temporary folder, each shared data set's streams."""
    folder = find_data()
    there = [] if folder is None else [each for each in DATA_SETS if (folder / f"{each.name}.parquet").is_file()]
    if folder is None or not there:
        raise SystemExit("the shared data sets are not there; name their folder in EVERFIT_SHARED_DATA")
    return [_load(folder / f"{each.name}.parquet", each, order) for each in there]


def _load(file: Path, each: DataSet, order: Order) -> PolicyStream:
    key = hashlib.sha256(f"{_LAYOUT} {each} {order} {file.stat().st_size}".encode()).hexdigest()[:16]
    cached = Path(tempfile.gettempdir()) / "everfit-policy-streams" / f"{each.name}-{key}.npz"
    if not cached.is_file():
        found = _fit_all(file, each, order)
        cached.parent.mkdir(exist_ok=True)
        aside = cached.with_suffix(f".{os.getpid()}.npz")
        np.savez(aside, **found)
        aside.rename(cached)
    with np.load(cached) as stored:
        return PolicyStream(
            each.name,
            order,
            int(stored["n_rows"]),
            **{name: stored[name] for name in ("models", "probes", "young_probes", "noise")},
        )


def read_rows(file: Path, each: DataSet, order: Order) -> tuple[pd.DataFrame, Floats]:
    """Read a data set's features and target in the order of time, evenly thinned to at most 40,000 rows."""
    frame = pd.read_parquet(file)
    frame = frame.iloc[:: -(-len(frame) // _MOST_ROWS)].reset_index(drop=True)
    if order == "shuffled":
        frame = frame.sample(frac=1.0, random_state=0, ignore_index=True)
    target = np.asarray(frame.eval(each.target), dtype=np.float64)
    gone = {"row_seq", "event_time", "reservation_status_date", *each.left_out, each.target}
    features = frame[[name for name in frame.columns if name not in gone]]
    coded = {
        name: features[name] if pd.api.types.is_numeric_dtype(features[name]) else pd.factorize(features[name])[0]
        for name in features.columns
    }
    return pd.DataFrame(coded).astype(np.float32).dropna(axis="columns", how="all"), target


def _fit_all(file: Path, each: DataSet, order: Order) -> dict[str, Any]:
    features, target = read_rows(file, each, order)
    n_rows = len(features)
    first = int(n_rows * FIRST_SHARE)
    edges = np.linspace(first, n_rows, N_BATCHES + 1).astype(int)
    size = int(edges[1] - edges[0])
    # The race of windows looks at models that were trained three batches earlier, also for the first champion.
    stops = [first - size * back for back in range(_N_RACED, 0, -1)] + [int(edge) for edge in edges]
    all_losses = {}
    for window in ("all", "recent"):
        say(f"{each.name}, {order}: {len(stops)} fits on {window} rows")
        for place, stop in enumerate(stops):
            begin = max(0, stop - (first if window == "recent" else _MOST_LEARNT))
            learnt = np.arange(begin, stop)
            draw = np.random.default_rng(place)
            fifth = np.sort(draw.choice(learnt, int(len(learnt) * _PROBE_SHARE), replace=False))
            young = learnt[-int(len(learnt) * _PROBE_SHARE) :]
            for kind, rows in (("model", learnt), ("probe", fifth), ("young", young)):
                n_trees = _N_TREES if kind == "model" else _N_PROBE_TREES
                model = fit_one(each.task, n_trees, features.iloc[rows], target[rows])
                full = float(np.abs(target[:first] - np.median(target[:first])).mean())
                all_losses[window, kind, place] = _score(model, each.task, features.iloc[stop:], target[stop:], full)
    return _choose_windows(all_losses, stops, edges) | {"n_rows": n_rows}


def _score(model: Any, task: Task, features: pd.DataFrame, target: Floats, full: float) -> Floats:
    if not len(features):
        return np.zeros(0)
    if task == "regression":
        return row_losses(task, target, model.predict(features)) / full
    wrong: Floats = (model.predict(features) != target).astype(np.float64)
    return wrong


def _choose_windows(losses: dict[tuple[str, str, int], Floats], stops: list[int], edges: Any) -> dict[str, Any]:
    """Let each training take the window that was better on its three newest batches, as a race of windows does."""
    shape = (N_BATCHES + 1, N_BATCHES)
    found = {kind: np.full(shape, np.nan) for kind in ("model", "probe", "young")}
    chosen = []
    for number in range(N_BATCHES + 1):
        place = number + _N_RACED
        before = stops[place - _N_RACED]
        raced = {
            window: losses[window, "model", number][: stops[place] - before].mean() for window in ("all", "recent")
        }
        chosen.append(min(raced, key=lambda window: raced[window]))
        for kind, table in found.items():
            rows = losses[chosen[-1], kind, place]
            for batch in range(number, N_BATCHES):
                start = edges[batch] - stops[place]
                table[number, batch] = rows[start : start + edges[batch + 1] - edges[batch]].mean()
    noise = np.full(shape, np.nan)
    for number in range(N_BATCHES + 1):
        own = losses[chosen[number], "probe", number + _N_RACED]
        for batch in range(number, N_BATCHES):
            start, length = edges[batch] - stops[number + _N_RACED], edges[batch + 1] - edges[batch]
            other = losses[chosen[batch], "probe", batch + _N_RACED][:length]
            noise[number, batch] = (own[start : start + length] - other).std(ddof=1) / np.sqrt(length)
    return {"models": found["model"], "probes": found["probe"], "young_probes": found["young"], "noise": noise}


def fit_one(task: Task, n_trees: int, features: pd.DataFrame, target: Floats) -> Any:
    """Fit boosted trees on rows that may have a column without a value."""
    from sklearn import ensemble

    suffix = "Regressor" if task == "regression" else "Classifier"
    kind = getattr(ensemble, f"HistGradientBoosting{suffix}")
    # scikit-learn refuses a column that has no value yet.
    known = features.assign(**{name: 0.0 for name in features.columns if features[name].isna().all()})
    return kind(max_iter=n_trees, early_stopping=False, random_state=0).fit(known, target)


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"policies: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for order in ("as it was", "shuffled"):
        load_policy_streams(order)
