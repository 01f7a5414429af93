"""Claims about `serve.key`: whom a row is about goes with it, hashed where it must be, and a label finds it by that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from base.errors import DataRefused
from base.settings import Settings
from registry.store import open_registry
from serving.labels.reading import read_labels
from serving.log.traffic import read_traffic
from tests.pipelines import CONTRACT, define, make_pipeline, make_trips, train
from tests.serving.conftest import open_client, wait_until


def _trips() -> pd.DataFrame:
    trips = make_trips(400)
    return trips.assign(guest=[f"guest {number % 40}" for number in range(len(trips))])


def _sections(key: list[str]) -> dict[str, Any]:
    return define(serve={"key": key}, prepare={"features": ["features:add_hour"], "exclude": ["guest"]})


def test_a_key_that_the_model_does_not_see_finds_its_labels_and_is_logged_as_a_hash(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    contract = CONTRACT | {"columns": CONTRACT["columns"] | {"guest": {"type": "text", "personal": "hash"}}}
    pipeline = make_pipeline(tmp_path / "trips", _trips(), _sections(["guest"]), contract=contract)
    trained = train(pipeline, settings)
    registry = open_registry(settings)
    rows = [{"distance": 3.0, "at": "2013-04-01T12:00Z", "guest": name} for name in ("Ann", "Bob", None)]

    with open_client(settings, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        answer = client.post("/v1/models/trips/predict", json={"rows": rows})
        label = {"key": {"guest": "Bob"}, "time": "2013-04-01T14:00+01:00", "value": True}
        early = client.post("/v1/models/trips/labels", json={"labels": [label]}).json()
        counts = client.post("/v1/models/trips/labels", params={"within": "1 hour"}, json={"labels": [label]}).json()

    assert "guest" not in trained.manifest.plan.inputs
    assert answer.status_code == 200
    assert (early["unknown"], counts["unknown"], counts["stored"]) == (1, 0, 1)
    guests = read_traffic(settings.home, "trips")["guest"].dropna().tolist()
    assert len(set(guests)) == 2
    assert not {"Ann", "Bob"} & set(guests)
    assert read_labels(settings.home, "trips")["id"].tolist() == [answer.json()["predictions"][1]["id"]]


def test_without_a_contract_a_key_is_typed_as_the_data_and_a_missing_one_is_named(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    trained = train(make_pipeline(tmp_path / "trips", _trips(), _sections(["guest"]), contract=None), settings)

    rule = trained.manifest.contract.columns["guest"]
    assert (rule.type, rule.nullable, trained.manifest.key) == ("text", True, ("guest",))
    with pytest.raises(DataRefused, match="no such column; did you mean 'guest'") as refused:
        train(make_pipeline(tmp_path / "wrong", _trips(), _sections(["gest"]), contract=None), settings)
    assert refused.value.faults[0].expected == "a column, since serve.key names it"
