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
from monitoring.policies.probe import N_TREES as N_PROBE_TREES
from monitoring.policies.probe import SHARE as PROBE_SHARE
from monitoring.policies.probe import compare_probes

Floats = npt.NDArray[np.float64]
Losses = npt.NDArray[np.float32]
Positions = npt.NDArray[np.intp]
Order = Literal["as it was", "shuffled"]
Window = Literal["all", "recent"]

N_BATCHES = 80
FIRST_SHARE = 0.2
"""Of the rows, before the first served batch: what the first champion is trained on."""
CACHE = Path(tempfile.gettempdir()) / "everfit-policy-streams"

_WINDOWS: tuple[Window, ...] = ("all", "recent")
_N_RACED = 3
_MOST_ROWS = 40_000
_MOST_LEARNT = 20_000
_N_TREES = 100
# Raise it when anything changes that the cached losses depend on.
_LAYOUT = 3


@dataclass(frozen=True)
class Fits:
    """The losses, row by row, of models and probes trained at each stop on each window of the past.

    Attributes
    ----------
    stops : array of shape (n_stops,)
        How many rows each has before it; the first three lie before the first served batch.
    edges : array of shape (n_batches + 1,)
        Where the served batches begin, and where the last one ends.
    models, probes : dict of arrays of shape (n_stops, n_rows - stops[0])
        By window; NaN on rows before the stop.
    """

    stops: Positions
    edges: Positions
    models: dict[Window, Losses]
    probes: dict[Window, Losses]

    def model(self, window: Window, place: int, begin: int, stop: int) -> Losses:
        """The losses of the model of a stop on the rows from *begin* to *stop*."""
        return self.models[window][place, begin - self.stops[0] : stop - self.stops[0]]

    def probe(self, window: Window, place: int, begin: int, stop: int) -> Losses:
        """The losses of the probe of a stop on the rows from *begin* to *stop*."""
        return self.probes[window][place, begin - self.stops[0] : stop - self.stops[0]]

    def begin(self, window: Window, place: int) -> int:
        """The first row that a window keeps."""
        return _begin(window, int(self.stops[place]), int(self.edges[0]))


@dataclass(frozen=True)
class PolicyStream:
    """The mean losses on served batches of each model that could have been trained, in units of full loss.

    Model *e* (its twin, and probe *e*) has learnt from rows before served batch ``e``; it is known on batches from
    ``e`` on, and NaN before. A full loss is 1: every answer wrong (classes), or as far off as the median is (values).

    Attributes
    ----------
    models, twins, probes : array of shape (n_batches + 1, n_batches)
        Of the full recipe; of a probe on the same window of the past; of a probe on the window whose probe was the
        better one on batch *e - 1*.
    noise : array of shape (n_batches + 1, n_batches)
        Standard error of the mean of twin *e* minus probe *b* on batch *b*, from its rows.
    rows : array of shape (n_batches + 1, n_served_rows)
        The models' losses, row by row.
    edges : array of shape (n_batches + 1,)
        The positions of the served batches in the data set.
    begins : array of shape (n_batches + 1,)
        The position of the first row that each model has learnt from; the last one is before ``edges[e]``.
    """

    name: str
    order: Order
    n_rows: int
    models: Floats
    twins: Floats
    probes: Floats
    noise: Floats
    rows: Losses
    edges: Positions
    begins: Positions


def load_policy_streams(order: Order, *, merged: int = 1) -> list[PolicyStream]:
    """Fit, or take from the cache under the temporary folder, each shared data set's stream.

    Parameters
    ----------
    merged : int
        How many batches count as one: 2 is another replay of the same fits, with half as many decisions.
    """
    folder = find_data()
    there = [] if folder is None else [each for each in DATA_SETS if (folder / f"{each.name}.parquet").is_file()]
    if folder is None or not there:
        raise SystemExit("the shared data sets are not there; name their folder in EVERFIT_SHARED_DATA")
    streams = []
    for each in there:
        file = folder / f"{each.name}.parquet"
        fits = keep_fits(
            f"{each.name}-{order[:2]}",
            f"{each} {order} {file.stat().st_size}",
            each.task,
            lambda file=file, each=each: read_rows(file, each, order),
        )
        streams.append(make_stream(each.name, order, fits, merged=merged))
    return streams


def read_rows(file: Path, each: DataSet, order: Order) -> tuple[pd.DataFrame, Floats]:
    """Read a data set's features as numbers, and its target, in the order of time."""
    features, target = read_raw_rows(file, each, order)
    coded = {
        name: features[name] if pd.api.types.is_numeric_dtype(features[name]) else pd.factorize(features[name])[0]
        for name in features.columns
    }
    return pd.DataFrame(coded).astype(np.float32).dropna(axis="columns", how="all"), target


def read_raw_rows(file: Path, each: DataSet, order: Order) -> tuple[pd.DataFrame, Floats]:
    """Read a data set's features as they are, and its target, evenly thinned to at most 40,000 rows."""
    frame = pd.read_parquet(file)
    frame = frame.iloc[:: -(-len(frame) // _MOST_ROWS)].reset_index(drop=True)
    if order == "shuffled":
        frame = frame.sample(frac=1.0, random_state=0, ignore_index=True)
    target = np.asarray(frame.eval(each.target), dtype=np.float64)
    gone = {"row_seq", "event_time", "reservation_status_date", *each.left_out, each.target}
    return frame[[name for name in frame.columns if name not in gone]], target


def keep_fits(name: str, depends_on: str, task: Task, read: Any) -> Fits:
    """Fit all that could be trained on a stream's rows, or take it from the cache."""
    key = hashlib.sha256(f"{_LAYOUT} {depends_on}".encode()).hexdigest()[:16]
    cached = CACHE / f"{name.replace(' ', '-')}-{key}.npz"
    if not cached.is_file():
        found = fit_all(name, task, *read())
        cached.parent.mkdir(exist_ok=True)
        aside = cached.with_suffix(f".{os.getpid()}.npz")
        tables = {
            f"{kind}_{window}": getattr(found, kind)[window] for kind in ("models", "probes") for window in _WINDOWS
        }
        np.savez_compressed(aside, stops=found.stops, edges=found.edges, **tables)
        aside.rename(cached)
    with np.load(cached) as stored:
        models, probes = ({w: stored[f"{kind}_{w}"] for w in _WINDOWS} for kind in ("models", "probes"))
        return Fits(stored["stops"], stored["edges"], models, probes)


def fit_all(name: str, task: Task, features: pd.DataFrame, target: Floats) -> Fits:
    """Fit a model and a probe on each window of the past at the end of each batch."""
    n_rows = len(features)
    first = int(n_rows * FIRST_SHARE)
    edges = np.linspace(first, n_rows, N_BATCHES + 1).astype(np.intp)
    size = int(edges[1] - edges[0])
    # Races look at what was trained up to three batches earlier, also for the first champion.
    stops = np.concatenate([[first - size * back for back in range(_N_RACED, 0, -1)], edges]).astype(np.intp)
    full = float(np.abs(target[:first] - np.median(target[:first])).mean())
    shape = (len(stops), n_rows - int(stops[0]))
    models, probes = ({window: np.full(shape, np.nan, np.float32) for window in _WINDOWS} for _ in range(2))
    for window in _WINDOWS:
        say(f"{name}: {len(stops)} fits on {window} rows")
        for place, stop in enumerate(stops):
            learnt = np.arange(_begin(window, int(stop), first), stop)
            drawn = np.random.default_rng(place).choice(learnt, int(len(learnt) * PROBE_SHARE), replace=False)
            for tables, n_trees, rows in ((models, _N_TREES, learnt), (probes, N_PROBE_TREES, np.sort(drawn))):
                model = fit_one(task, n_trees, features.iloc[rows], target[rows])
                found = _score(model, task, features.iloc[stop:], target[stop:], full)
                tables[window][place, stop - stops[0] :] = found
    return Fits(stops, edges, models, probes)


def make_stream(name: str, order: Order, fits: Fits, *, merged: int = 1) -> PolicyStream:
    """Choose each training's window on the three newest batches, and each probe's on the newest one, as races do."""
    edges = fits.edges[::merged]
    n_batches = len(edges) - 1
    shape = (n_batches + 1, n_batches)
    models, twins, probes, noise = (np.full(shape, np.nan) for _ in range(4))
    rows = np.full((n_batches + 1, int(edges[-1] - edges[0])), np.nan, np.float32)
    places = [_N_RACED + merged * number for number in range(n_batches + 1)]
    chosen = [_race(fits.model, fits, place, _N_RACED) for place in places]
    raced = [_race(fits.probe, fits, place, merged) for place in places]
    for number, place in enumerate(places):
        window = chosen[number]
        rows[number, edges[number] - edges[0] :] = fits.model(window, place, edges[number], edges[-1])
        for batch in range(number, n_batches):
            span = int(edges[batch]), int(edges[batch + 1])
            models[number, batch] = fits.model(window, place, *span).mean()
            probes[number, batch] = fits.probe(raced[number], place, *span).mean()
            twins[number, batch], _, noise[number, batch] = compare_probes(
                fits.probe(window, place, *span).astype(np.float64),
                fits.probe(raced[batch], places[batch], *span).astype(np.float64),
            )
    begins = np.array([fits.begin(window, place) for window, place in zip(chosen, places, strict=True)])
    n_rows = int(edges[-1])
    return PolicyStream(name, order, n_rows, models, twins, probes, noise, rows, edges, begins)


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


def _begin(window: Window, stop: int, first: int) -> int:
    return max(0, stop - (first if window == "recent" else _MOST_LEARNT))


def _race(losses: Any, fits: Fits, place: int, n_back: int) -> Window:
    """Return the window whose model of *n_back* stops earlier has lost less on all rows since."""
    before = place - n_back
    since, until = int(fits.stops[before]), int(fits.stops[place])
    return min(_WINDOWS, key=lambda window: float(losses(window, before, since, until).mean()))


def _score(model: Any, task: Task, features: pd.DataFrame, target: Floats, full: float) -> Floats:
    if not len(features):
        return np.zeros(0)
    if task == "regression":
        return row_losses(task, target, model.predict(features)) / full
    wrong: Floats = (model.predict(features) != target).astype(np.float64)
    return wrong


if __name__ == "__main__":
    for order in ("as it was", "shuffled"):
        load_policy_streams(order)
