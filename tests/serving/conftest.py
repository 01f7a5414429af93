"""Fixtures of the service's tests: an application in this process, and real services in their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient

from base.settings import Settings
from registry.store import Registry
from serving.app import create_app
from tests.serving.models import promote, register_model

_PATIENCE_SECONDS = 120


def wait_until(is_true: Callable[[], Any], what: str) -> None:
    """Wait, generously, until something is true."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < give_up, f"{what} did not happen"
        time.sleep(0.02)


@contextmanager
def open_client(settings: Settings, registry: Registry, *, models: list[str] | None = None) -> Iterator[TestClient]:
    """Run the application in this process."""
    app = create_app(settings, registry, models=models, desk="monitoring.desk:take")
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(settings: Settings, registry: Registry) -> Iterator[TestClient]:
    """A service that serves version 1 of ``trips``."""
    promote(registry, register_model(registry))
    with open_client(settings, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        yield client
