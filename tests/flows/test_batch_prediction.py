"""Batch prediction as a flow: the same rows as from the command line, and a failed run where they are refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from base.errors import DataRefused
from base.settings import Settings
from registry.store import Registry
from tests.prefect_server import TestServer
from tests.serving.models import load_version, make_rows, promote, register_model

pytestmark = pytest.mark.prefect


def test_a_flow_predicts_a_file_and_tells_what_came_of_it(
    prefect_server: TestServer,
    settings: Settings,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.batch_prediction import batch_prediction

    monkeypatch.setenv("EVERFIT_HOME", str(settings.home))
    version = register_model(registry)
    promote(registry, version)
    rows = make_rows(30)
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    target = tmp_path / "out.parquet"

    result = batch_prediction("trips", str(tmp_path / "rows.parquet"), str(target), columns=["at"], part_rows=20)

    expected = [one.prediction for one in load_version(registry, version).predict_rows(rows)]
    assert (result["n_predicted"], result["n_parts"], result["version"]) == (30, 2, 1)
    assert pq.read_table(target)["prediction"].to_pylist() == expected


def test_a_flow_whose_rows_are_refused_has_failed(
    prefect_server: TestServer,
    settings: Settings,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.batch_prediction import batch_prediction

    monkeypatch.setenv("EVERFIT_HOME", str(settings.home))
    promote(registry, register_model(registry))
    pd.DataFrame(make_rows(30)).assign(distance=-1.0).to_parquet(tmp_path / "rows.parquet")

    with pytest.raises(DataRefused, match="at most a share of"):
        batch_prediction("trips", str(tmp_path / "rows.parquet"), str(tmp_path / "out.parquet"))

    assert not (tmp_path / "out.parquet").exists()
