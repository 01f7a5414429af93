"""Sensitive columns reach no estimator, personal values no file, page, table or log, from the source to the service."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from base.errors import EverfitError
from base.rows.personal import hash_value, personal_key
from base.settings import Settings
from base.user_code import UserCode
from features.feature_plan import FeaturePlan
from registry.store import open_registry
from serving.log.traffic import read_traffic
from serving.scoring.loaded import ModelDisagrees, load_scorer
from tests.pipelines import CONTRACT, FEATURES, Trained, define, make_pipeline, make_trips, train
from tests.serving.conftest import open_client, wait_until

_MARKER = "zebra"
_RULES = {
    "driver": {"type": "text", "personal": "hash"},
    "badge": {"type": "integer", "personal": "hash"},
    "phone": {"type": "text", "personal": "drop"},
    "district": {"type": "text", "sensitive": True},
}
_SHIFTS = """
class DriverRate:
    def fit(self, frame, target):
        self.rates = target.astype("float64").groupby(frame["driver"]).mean()
        return self

    def transform(self, frame):
        return frame.assign(driver_rate=frame["driver"].map(self.rates).astype("float64"))
"""


def _trips() -> pd.DataFrame:
    trips = make_trips(800)
    numbers = trips.index.to_series()
    return trips.assign(
        driver=[f"{_MARKER}-{number % 3}" for number in numbers],
        badge=770_077_000_000 + numbers % 3,
        phone=[f"{_MARKER}-{number}" for number in numbers],
        district=["north", "south"] * 400,
        distance=trips["distance"].where(numbers % 100 != 50, -1.0),
    )


def _train(settings: Settings, folder: Path) -> Trained:
    sections = define(
        prepare={
            "features": ["features:add_hour"],
            "fitted": ["features:DriverRate"],
            "split": {"gap": "1 hour"},
        },
        evaluate={"slices": ["district", "driver"]},
    )
    contract = CONTRACT | {"columns": CONTRACT["columns"] | _RULES}
    pipeline = make_pipeline(folder / "trips", _trips(), sections, contract=contract, features=FEATURES + _SHIFTS)
    return train(pipeline, settings)


def _find_marker(folder: Path) -> list[str]:
    found = []
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            if file.suffix == ".parquet":
                content += repr(pq.read_table(file).to_pydict()).encode()
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    content += b"".join(archive.read(name) for name in archive.namelist())
            found += [str(file) for marker in (_MARKER, "770077") if marker.encode() in content]
    return found


def test_personal_values_leave_no_trace_from_the_source_to_the_service(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    trained = _train(settings, tmp_path)
    row = {"at": "2013-02-01T00:00Z", "distance": 3.0, "company": "red"}
    sent = row | {"driver": f"{_MARKER}-2", "badge": 770_077_000_002}
    registry = open_registry(settings)

    with open_client(settings, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        answer = client.post("/v1/models/trips/predict", json={"rows": [sent]})
        refused = client.post("/v1/models/trips/predict", json={"rows": [sent | {"badge": f"{_MARKER}-x"}]})
        dropped = client.post("/v1/models/trips/predict", json={"rows": [sent | {"phone": f"{_MARKER}-9"}]})

    registry.database.close()
    assert answer.status_code == 200, answer.text
    assert (refused.status_code, dropped.status_code) == (422, 422)
    assert refused.json()["errors"][0]["found"] == "a personal value (text)"
    logged = read_traffic(settings.home, "trips").iloc[0]
    key = personal_key(settings)
    assert logged["driver"] == hash_value(f"{_MARKER}-2", key)
    assert logged["badge"] == hash_value(770_077_000_002, key)
    assert trained.judged.validated.n_quarantined == 8
    assert {part.column for part in trained.judged.evaluation.slices} == {"district"}
    assert "personal" in trained.judged.evaluation.missing["slices.driver"]
    assert _find_marker(settings.home) == []
    said = caplog.text + "".join(capfd.readouterr()) + refused.text + dropped.text + answer.text
    assert _MARKER not in said
    assert "770077" not in said


def test_a_sensitive_column_reaches_no_estimator_and_no_request_but_cuts_slices(
    settings: Settings, tmp_path: Path
) -> None:
    trained = _train(settings, tmp_path)

    data, manifest = trained.judged.data, trained.manifest
    assert data.left_out["district"] == "is marked sensitive in the contract"
    for columns in (
        data.inputs,
        data.features,
        manifest.plan.inputs,
        manifest.plan.features,
        manifest.contract.columns,
    ):
        assert "district" not in columns
    assert {part.value for part in trained.judged.evaluation.slices if part.column == "district"} == {"north", "south"}


def test_a_request_is_hashed_and_answered_as_the_stored_row(settings: Settings, tmp_path: Path) -> None:
    trained = _train(settings, tmp_path)
    registry = open_registry(settings)
    key = personal_key(settings)
    row: dict[str, Any] = {"at": "2013-02-01T00:00Z", "distance": 9.9, "company": "red"}

    scorer = load_scorer(registry.artifacts, trained.manifest, personal_key=key)
    stored = row | {"driver": hash_value(f"{_MARKER}-2", key), "badge": hash_value(770_077_000_002, key)}
    raw = row | {"driver": f"{_MARKER}-2", "badge": 770_077_000_002}
    assert list(scorer.complete_rows([raw])) == [stored]
    assert scorer.predict_rows([raw]) == scorer.describe(scorer.score_rows([stored]))
    registry.database.close()


def test_a_service_with_another_key_or_without_one_does_not_answer(settings: Settings, tmp_path: Path) -> None:
    trained = _train(settings, tmp_path)
    registry = open_registry(settings)
    other = personal_key(Settings(home=settings.home, personal_key=SecretStr("a key of another machine")))

    with pytest.raises(ModelDisagrees, match="hashed under another key"):
        load_scorer(registry.artifacts, trained.manifest, personal_key=other)
    scorer = load_scorer(registry.artifacts, trained.manifest)
    with pytest.raises(EverfitError, match="without the key of its personal columns"):
        scorer.predict_rows([{"at": "2013-02-01", "distance": 1.0, "driver": "x"}])
    registry.database.close()


def test_what_was_fitted_is_the_versions_own(settings: Settings, tmp_path: Path) -> None:
    trained = _train(settings, tmp_path)
    registry = open_registry(settings)
    plan = FeaturePlan.model_validate(trained.manifest.plan.model_dump(mode="json"))

    assert plan.states is not None
    assert plan.states in registry.artifacts
    code = UserCode({name: registry.artifacts.read_bytes(file) for name, file in trained.manifest.code.items()})
    assert callable(code.function("features:DriverRate"))
    registry.database.close()
