"""Fixtures of the tests of labels: a log, and a model whose rows name whom they are about."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from base.contract import ColumnRule
from registry.manifest import ModelManifest
from registry.store import Registry
from serving.labels.intake import LabelIntake
from serving.log.prediction_log import PredictionLog
from tests.serving.models import register_model


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLog]:
    opened = PredictionLog(tmp_path, segment_rows=10)
    yield opened
    opened.close()


@pytest.fixture
def manifest(registry: Registry) -> ModelManifest:
    """A model that is keyed by guest and table, with a horizon of two hours."""
    fitted = ModelManifest.model_validate(register_model(registry).manifest)
    columns = fitted.contract.columns | {"guest": ColumnRule(type="text"), "table": ColumnRule(type="integer")}
    contract = fitted.contract.model_copy(update={"columns": columns})
    return fitted.model_copy(
        update={"contract": contract, "key": ("guest", "table"), "label_delay": timedelta(hours=2), "time": "at"}
    )


@pytest.fixture
def intake(tmp_path: Path, log: PredictionLog) -> LabelIntake:
    return LabelIntake(tmp_path, log.append_documents)
