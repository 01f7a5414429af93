"""Where other people's clients are: they need other versions of libraries than Everfit does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]


def find_client(name: str) -> Path:
    """Find a command of the clients' environment, or skip the test."""
    folder = Path(os.environ.get("CLIENTS_BIN") or _ROOT / ".venv-clients" / "bin")
    found = folder / name
    if not found.exists():
        pytest.skip(f"{found} is not there: `make install-clients` installs tritonclient, mlflow and schemathesis")
    return found
