"""Fixtures of the hooks' tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from base.hook_sender import HookSender
from base.settings import Settings
from registry.pipelines import register_pipeline
from registry.store import Registry
from tests.pipelines import make_pipeline
from tests.serving.hooks.senders import SECRET, Doorstep

Open = Callable[..., Doorstep]


@pytest.fixture
def pipelines(registry: Registry, tmp_path: Path) -> Registry:
    """A registry that knows the pipeline ``trips``, which was never trained."""
    register_pipeline(registry, make_pipeline(tmp_path / "trips", None))
    return registry


@pytest.fixture
def open_door(settings: Settings, pipelines: Registry) -> Open:
    """Opens the address for hooks, with other settings where a test says so."""

    def opened(desk: str | None = "monitoring.desk:take", **changes: Any) -> Doorstep:
        return Doorstep(settings.model_copy(update=changes), pipelines, desk=desk)

    return opened


@pytest.fixture
def door(open_door: Open) -> Doorstep:
    """The address for hooks, heard by other machines, with one sender for all pipelines."""
    return open_door(service_host="0.0.0.0", hooks={"airflow": HookSender(secret=SECRET)})


@pytest.fixture
def own_door(open_door: Open) -> Doorstep:
    """The address for hooks of a service on loopback, for which nobody has a secret."""
    return open_door()
