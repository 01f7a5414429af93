"""The feature store's join: 1,000,000 rows with 3 views of 1,000,000 events each, beside pandas' merge_asof."""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from base.artifacts import ArtifactStore
from base.references import Rows
from base.rows.tables import MOMENT
from benchmarks.figures import Figure
from benchmarks.measuring import clean_environment, measure_peak, python, run_timed
from features.entities import Entity
from features.offline_store import append_events
from features.point_in_time import join_views
from features.views import Feature, FeatureView, JoinedView

_ROWS = 1_000_000
_VIEWS = 3
_KEYS = 50_000
_SPAN_SECONDS = 365 * 86_400
_FRESHNESS = timedelta(days=14)
_FEATURES = ("mean", "peak")


def measure(rounds: int) -> list[Figure]:
    """Measure both joins in child processes that take turns, *rounds* times, and their memory once.

    Raises
    ------
    RuntimeError
        If the two do not give the same values.
    """
    with tempfile.TemporaryDirectory(prefix="everfit-benchmark-") as name:
        folder = Path(name)
        environment = clean_environment(PYTHONPATH=str(Path(__file__).parents[1]))
        commands = {who: python("-m", "benchmarks.point_in_time", who, str(folder)) for who in ("everfit", "pandas")}
        _say("writing rows and events")
        run_timed(python("-m", "benchmarks.point_in_time", "write", str(folder)), environment)
        seconds: dict[str, list[float]] = {who: [] for who in commands}
        for number in range(rounds):
            _say(f"joining, round {number + 1} of {rounds}")
            answers = {who: json.loads(run_timed(command, environment).output) for who, command in commands.items()}
            if answers["everfit"]["digest"] != answers["pandas"]["digest"]:
                raise RuntimeError("the join and pandas.merge_asof give different values")
            for who, answer in answers.items():
                seconds[who].append(answer["seconds"])
        _say("memory")
        gib = {who: measure_peak(command, environment) / 1024 for who, command in commands.items()}
    ours, theirs = statistics.median(seconds["everfit"]), statistics.median(seconds["pandas"])
    return [
        Figure("point_in_time_seconds", ours, "s", f"under 10; pandas.merge_asof {theirs:.1f}"),
        Figure("point_in_time_gib", gib["everfit"], "GiB", f"under 4; pandas.merge_asof {gib['pandas']:.2f}"),
    ]


def write(folder: Path) -> None:
    """Write the rows, and the views' events as the offline store holds them: in four segments, with ties."""
    draw = np.random.default_rng(0)
    store = ArtifactStore(str(folder / "store"))

    def table(moments: Any) -> pa.Table:
        keys = np.char.add("entity-", draw.integers(0, _KEYS, len(moments)).astype(str))
        return pa.table({"entity": keys, "at": pa.array(moments, pa.int64()).cast(MOMENT)})

    pq.write_table(table(np.sort(draw.integers(0, _SPAN_SECONDS, _ROWS)) * 1_000_000), folder / "rows.parquet")
    for number in range(_VIEWS):
        view = _view(number)
        rows = Rows(segments=())
        for moments in np.array_split(np.sort(draw.integers(0, _SPAN_SECONDS, _ROWS)) * 1_000_000, 4):
            events = table(moments)
            for feature in _FEATURES:
                events = events.append_column(feature, pa.array(draw.normal(size=len(moments))))
            rows = append_events(store, view, rows, events)
        (folder / f"view_{number}.json").write_text(rows.model_dump_json(), encoding="utf-8")


def join_with_everfit(folder: Path) -> None:
    """Join by the feature store, from its files to a table in memory."""
    views = [_joined(number, _stored(folder, number)) for number in range(_VIEWS)]
    clock = time.perf_counter()
    table = join_views(pq.read_table(folder / "rows.parquet"), views, "at", ArtifactStore(str(folder / "store")))
    seconds = time.perf_counter() - clock
    print(json.dumps({"seconds": seconds, "digest": _digest(table.to_pandas())}))


def join_with_pandas(folder: Path) -> None:
    """Join by pandas.merge_asof, from the same files to a frame in memory."""
    clock = time.perf_counter()
    frame = pq.read_table(folder / "rows.parquet").to_pandas()
    for number in range(_VIEWS):
        files = [folder / "store" / segment.artifact.key for segment in _stored(folder, number).segments]
        events = pd.concat([pq.read_table(file).to_pandas() for file in files], ignore_index=True)
        events = events.rename(columns={feature: f"v{number}_{feature}" for feature in _FEATURES})
        # Of equal moments merge_asof takes the last, as the store does.
        events = events.sort_values("at", kind="stable")
        frame = pd.merge_asof(frame, events, on="at", by="entity", tolerance=pd.Timedelta(_FRESHNESS))
    seconds = time.perf_counter() - clock
    print(json.dumps({"seconds": seconds, "digest": _digest(frame)}))


def _view(number: int) -> FeatureView:
    return FeatureView(
        name=f"view_{number}",
        entity=Entity(name="entity", keys=("entity",)),
        source="events.parquet",
        time="at",
        features={feature: Feature(type="number") for feature in _FEATURES},
        freshness=_FRESHNESS,
    )


def _joined(number: int, rows: Rows) -> JoinedView:
    return JoinedView(
        view=_view(number),
        digest=str(number),
        keys={"entity": "entity"},
        columns={feature: f"v{number}_{feature}" for feature in _FEATURES},
        rows=rows,
    )


def _stored(folder: Path, number: int) -> Rows:
    return Rows.model_validate_json((folder / f"view_{number}.json").read_text(encoding="utf-8"))


def _digest(frame: pd.DataFrame) -> str:
    columns = [f"v{number}_{feature}" for number in range(_VIEWS) for feature in _FEATURES]
    return hashlib.sha256(frame[columns].to_numpy(dtype="float64").tobytes()).hexdigest()


def _say(text: str) -> None:
    print(f"point in time: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    {"write": write, "everfit": join_with_everfit, "pandas": join_with_pandas}[sys.argv[1]](Path(sys.argv[2]))
