"""Fixtures of the prediction log's tests: a version whose rows are logged, and a log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.manifest import ModelManifest
from registry.store import Registry
from serving.log.prediction_log import PredictionLog
from tests.serving.models import register_model


@pytest.fixture
def manifest(registry: Registry) -> ModelManifest:
    """The manifest of version 1 of ``trips``."""
    return ModelManifest.model_validate(register_model(registry).manifest)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLog]:
    """A log whose segments are full with ten rows."""
    opened = PredictionLog(tmp_path, segment_rows=10)
    yield opened
    opened.close()
