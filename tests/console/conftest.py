"""Fixtures of the command line's tests: a working directory, data in it, and a way to run a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.settings import Settings
from console.cli import run


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on the standard output."""
        return json.loads(self.out)


Everfit = Callable[..., Finished]


@pytest.fixture
def everfit(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Everfit:
    """Run a command in a folder of its own, with a home of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERFIT_HOME", str(settings.home))

    def call(*arguments: str) -> Finished:
        capsys.readouterr()
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return Finished(code, out, err)

    return call


@pytest.fixture
def rentals(tmp_path: Path) -> Path:
    """Hourly rentals, with columns that add up to the target."""
    rng = np.random.default_rng(0)
    n_rows = 600
    frame = pd.DataFrame(
        {
            "at": pd.date_range("2024-01-01", periods=n_rows, freq="h"),
            "temperature": rng.normal(10, 8, n_rows).round(1),
            "weather": rng.choice(["clear", "rain", "snow"], n_rows),
            "is_holiday": rng.random(n_rows) < 0.1,
            "guests": rng.poisson(9, n_rows),
            "members": rng.poisson(60, n_rows),
            "sensor": np.nan,
        }
    )
    frame["rentals"] = frame["guests"] + frame["members"]
    file = tmp_path / "rentals.parquet"
    frame.to_parquet(file)
    return file
