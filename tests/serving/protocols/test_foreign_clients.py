"""Claims about clients that know nothing of Everfit: they predict against it as they are."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from base.settings import Settings
from registry.store import Registry
from serving.log.traffic import read_traffic
from tests.serving.models import make_rows, promote, register_model
from tests.serving.processes import start_service
from tests.serving.protocols.clients import find_client

_SCRIPT = Path(__file__).with_name("foreign_clients.py")


@pytest.mark.slow
def test_tritonclient_and_mlflow_predict_unchanged_and_are_told_why_not(settings: Settings, registry: Registry) -> None:
    python = find_client("python")
    promote(registry, register_model(registry))
    rows = make_rows(40, seed=5)

    with start_service(settings.home) as service:
        own = httpx.post(f"{service.address}/v1/models/trips/predict", json={"rows": rows}).json()["predictions"]
        done = subprocess.run(
            [python, _SCRIPT],
            input=json.dumps({"address": service.address, "rows": rows}),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={"PATH": os.environ["PATH"], "DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true"},
        )

    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    for name, each in told.items():
        assert each["predictions"] == [one["prediction"] for one in own], name
        assert each["probabilities"] == [list(one["probabilities"].values()) for one in own], name
        assert len(set(each["ids"])) == len(rows), name
    assert told["mlflow"]["of_records"] == told["mlflow"]["predictions"]
    assert {told[name]["request_id"] for name in ("triton, bytes", "triton, JSON")} == {"seven"}
    assert told["triton, bytes"]["metadata"]["versions"] == ["1"]
    assert told["triton, bytes"]["refused"].endswith("row 0, column 'distance': found nothing, expected number")
    assert "found 'far' (text), expected number" in told["mlflow"]["refused"]
    logged = read_traffic(settings.home, "trips")
    assert set(logged["id"]) >= {one for each in told.values() for one in each["ids"]}
    # Own, Triton twice, MLflow thrice.
    assert len(logged) == 6 * len(rows)
