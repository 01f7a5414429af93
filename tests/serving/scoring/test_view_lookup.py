"""A pipeline with a feature view, from its declaration to a request: training and serving see the same values."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.errors import DefinitionError
from base.settings import Settings
from features.declarations import read_views
from features.online_store import OnlineStore
from features.plan import frame_from_table
from registry.feature_views import list_uses, resolve_views
from registry.materialization import Materialized, materialize_view
from registry.store import Registry
from serving.log.traffic import read_traffic
from serving.scoring.loaded import load_scorer
from serving.scoring.view_lookup import open_lookup
from tasks.joined_views import join_rows
from tests.pipelines import Trained, define, make_pipeline, make_trips, train
from tests.serving.conftest import open_client, wait_until

_VIEW = """
name: weather
entity: {name: station, keys: [place]}
source: weather.parquet
time: at
features:
  wind: {type: number, unit: miles an hour, description: Mean of the hour.}
  sky: {type: text}
freshness: 6 hours
owner: met@example.com
"""
_CONTRACT = {
    "columns": {
        "at": {"type": "time", "nullable": False},
        "station": {"type": "text"},
        "distance": {"type": "number"},
        "late": {"type": "boolean"},
    }
}
_DEFINITION = define(
    prepare={"views": [{"view": "weather", "on": {"place": "station"}, "prefix": "w_"}], "exclude": ["station"]}
)


def _make_data(folder: Path, *, end: pd.Timestamp) -> None:
    """Trips that are late where the wind blows; the wind is in the view alone."""
    draw = np.random.default_rng(0)
    hours = pd.date_range(end=end, periods=400, freq="h")
    weather = pd.DataFrame(
        {
            "place": np.repeat(["north", "south"], len(hours)),
            "at": np.tile(hours, 2),
            "wind": draw.uniform(0, 40, 2 * len(hours)).round(2),
            "sky": draw.choice(["clear", "rain"], 2 * len(hours)),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    weather.to_parquet(folder / "weather.parquet")
    trips = make_trips(400)[["at", "distance", "late"]]
    trips["at"] = hours + pd.Timedelta(minutes=20)
    trips["station"] = draw.choice(["north", "south"], len(trips))
    known = trips.merge(
        weather.assign(hour=weather["at"]).drop(columns="at"),
        left_on=[trips["at"].dt.floor("h"), "station"],
        right_on=["hour", "place"],
    )
    trips["late"] = pd.array(known["wind"].to_numpy() > 20, dtype="boolean")
    trips.to_parquet(folder / "data.parquet")


@pytest.fixture
def end() -> pd.Timestamp:
    return pd.Timestamp.now("UTC").floor("h") - pd.Timedelta(hours=2)


@pytest.fixture
def folder(tmp_path: Path, end: pd.Timestamp) -> Path:
    folder = tmp_path / "trips"
    _make_data(folder, end=end)
    (folder / "features").mkdir()
    (folder / "features" / "weather.yaml").write_text(_VIEW)
    return folder


def _materialize(folder: Path, registry: Registry, settings: Settings, **more: Any) -> Materialized:
    online = OnlineStore.from_settings(settings)
    done = materialize_view(registry, online, read_views(folder)["weather"], **more)
    online.close()
    return done


def _train(folder: Path, settings: Settings) -> Trained:
    pipeline = make_pipeline(folder, pd.read_parquet(folder / "data.parquet"), _DEFINITION, contract=_CONTRACT)
    return train(pipeline, settings)


def test_a_request_without_the_views_columns_gets_the_prediction_of_the_offline_values(
    folder: Path, registry: Registry, settings: Settings, end: pd.Timestamp
) -> None:
    _materialize(folder, registry, settings)
    trained = _train(folder, settings)
    manifest = trained.manifest
    assert trained.promotion.promoted
    assert "w_wind" in manifest.plan.numeric
    assert set(manifest.contract.columns) == {"at", "distance", "station"}

    moments = [end + timedelta(hours=1), end - timedelta(hours=100, minutes=-5), end + timedelta(hours=7)]
    rows = [
        {"at": moment.isoformat(), "station": station, "distance": 3.5}
        for moment in moments
        for station in ("north", "south", "nowhere")
    ]
    rows.append({"distance": 3.5, "station": "south"})
    with open_client(settings, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        answer = client.post("/v1/models/trips/predict", json={"rows": rows})
        described = client.get("/v1/models/trips").json()["views"]
        refused = client.post("/v1/models/trips/predict", json={"rows": [{"distance": 1, "w_wind": 3}]})

    assert answer.status_code == 200, answer.text
    served = [row["probabilities"]["True"] for row in answer.json()["predictions"]]
    table = _as_table(rows[:-1])
    joined = join_rows(table, manifest.plan.views, "at", registry.artifacts)
    scorer = load_scorer(registry.artifacts, manifest)
    offline = scorer.predict_frame(frame_from_table(joined, manifest.plan.inputs))[:, 1]
    assert served[:-1] == pytest.approx(offline.tolist())
    assert joined["w_wind"].null_count == 5  # three nowhere, two after six hours
    assert described["lookups"] == {"found": 3, "as_of": 2, "missing": 3, "too_old": 2}
    assert described["used"][0]["columns"] == {"wind": "w_wind", "sky": "w_sky"}
    assert refused.status_code == 422

    # What was looked up is logged with the request: nobody has to guess later what the model saw.
    logged = read_traffic(settings.home, "trips")
    assert len(logged) == len(rows)
    assert set(joined["w_wind"].drop_null().to_pylist()) <= set(logged["w_wind"])
    with registry.database.read() as session:
        assert [(use.model, use.number) for use in list_uses(session, "weather")] == [("trips", 1)]


def _as_table(rows: list[dict[str, Any]]) -> Any:
    from base.sources import frame_to_table, normalise

    frame = pd.DataFrame(rows)
    frame["at"] = pd.to_datetime(frame["at"], utc=True)
    return normalise(frame_to_table(frame))


def test_a_store_that_is_away_costs_the_values_and_not_the_answer(
    folder: Path, registry: Registry, settings: Settings, end: pd.Timestamp
) -> None:
    _materialize(folder, registry, settings)
    manifest = _train(folder, settings).manifest
    away = OnlineStore("postgresql://nobody@127.0.0.1:9/none?connect_timeout=1")
    lookup = open_lookup(manifest.plan.views, time_column="at", online=away, registry=registry)
    assert lookup is not None

    first = lookup.complete([{"station": "north"}])
    again = lookup.complete([{"station": "north"}] * 3)

    assert first == [{"station": "north"}]
    assert again == [{"station": "north"}] * 3
    assert lookup.counts == {"away": 4}


def test_a_version_says_which_views_it_uses_and_a_retraining_on_newer_events_is_no_reuse(
    folder: Path, registry: Registry, settings: Settings, end: pd.Timestamp
) -> None:
    _materialize(folder, registry, settings, until=end - timedelta(hours=1))
    first = _train(folder, settings)
    _materialize(folder, registry, settings)
    second = _train(folder, settings)

    digests = [trained.manifest.plan.views[0].rows.digest for trained in (first, second)]
    assert digests[0] != digests[1]
    assert first.manifest.plan.views[0].digest == second.manifest.plan.views[0].digest
    assert second.judged.evaluation.champion is not None
    with registry.database.read() as session:
        assert [use.number for use in list_uses(session, "weather")] == [2, 1]


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([{"view": "wether"}], "names 'wether'; known are weather; did you mean 'weather'?"),
        ([{"view": "weather", "on": {"plase": "station"}}], "names 'plase', which is no key of 'weather'"),
        ([{"view": "weather", "features": ["wnd"]}], "names 'wnd'; 'weather' has wind, sky; did you mean 'wind'?"),
    ],
)
def test_a_wrong_use_of_a_view_is_named(
    folder: Path, registry: Registry, settings: Settings, views: list[dict[str, Any]], message: str
) -> None:
    _materialize(folder, registry, settings)
    definition = define(prepare={"views": views})
    pipeline = make_pipeline(folder, pd.read_parquet(folder / "data.parquet"), definition, contract=_CONTRACT)

    with pytest.raises(DefinitionError, match=re.escape(message)):
        resolve_views(registry, pipeline)


def test_a_view_that_was_not_materialised_as_it_is_declared_is_refused_with_the_command(
    folder: Path, registry: Registry
) -> None:
    pipeline = make_pipeline(folder, pd.read_parquet(folder / "data.parquet"), _DEFINITION, contract=_CONTRACT)

    with pytest.raises(DefinitionError, match="was never materialised; run `everfit features materialize weather"):
        resolve_views(registry, pipeline)
