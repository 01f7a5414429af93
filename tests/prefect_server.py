"""A Prefect server for the tests: one for the whole session, in a home of its own.

A conftest takes it over by ``from tests.prefect_server import prefect_server``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from base.settings import Settings
from deployments.child_process import ChildProcess, free_port
from deployments.prefect_server import server_spec, server_url, use_client


@dataclass(frozen=True)
class TestServer:
    """The settings under which a test's server runs, and its address."""

    __test__ = False

    settings: Settings
    api_url: str


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """Start the session's server, as `everfit up` would; Prefect's client in this process talks to it."""
    settings = Settings(home=tmp_path_factory.mktemp("prefect-server"), prefect_port=free_port())
    spec = server_spec(settings, host=settings.prefect_host, port=settings.prefect_port)
    child = ChildProcess(spec, settings.home / "logs" / "prefect-server.log")
    try:
        # Takes about as long as the server's start, and there is a second processor.
        import prefect.context  # noqa: F401

        child.wait_until_healthy()
        api_url = f"{server_url(settings.prefect_host, settings.prefect_port)}/api"
        with use_client(settings, api_url):
            yield TestServer(settings, api_url)
    finally:
        child.stop()
