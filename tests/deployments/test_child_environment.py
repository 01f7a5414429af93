"""A child reads the settings that its parent has, the secret ones included."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.settings import Settings
from deployments.child_process import child_environment

CASES = [
    {},
    {"database_url": "postgresql://me:secret@db/everfit", "online_url": "sqlite:///online.db"},
    {"personal_key": "a long secret", "trusted_types": ("my.Type", "my.Other")},
    {"connections": {"warehouse": "postgresql+psycopg://me:secret@db/sales"}},
    {"storage_options": {"s3": {"key": "me", "client_kwargs": {"verify": False}}}},
    {"webhooks": {"ops": {"url": "https://host/T0KEN", "secret": "whsec_" + "A" * 32, "events": ["alias.moved"]}}},
    {"follow_seconds": 0.25, "environment": "staging", "artifacts_url": "s3://bucket/everfit"},
]


@pytest.mark.parametrize("given", CASES, ids=lambda given: ", ".join(given) or "defaults")
def test_a_child_has_its_parents_settings(
    given: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path, **given)  # type: ignore[arg-type]

    for name, value in child_environment(settings).items():
        monkeypatch.setenv(name, value)

    assert Settings() == settings
