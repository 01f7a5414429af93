"""A command works with the server of `everfit up`, the user's, or one of its own, and leaves none behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from base.pipeline import Pipeline
from base.settings import Settings
from deployments.child_process import answers
from deployments.prefect_server import server_spec, server_url, use_server
from deployments.up_state import Addresses, AlreadyUp, hold_home, read_state, write_state
from tests.deployments.conftest import SmallFlows, wait_until
from tests.prefect_server import TestServer

pytestmark = pytest.mark.slow

_COMMAND = """
import sys
from pathlib import Path
from base.settings import Settings
from deployments.prefect_server import use_server
with use_server(Settings(home=Path(sys.argv[1]))) as server:
    print(server.api_url, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.prefect
def test_the_server_of_a_running_set_up_is_used(
    prefect_server: TestServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL")
    with hold_home(settings):
        write_state(settings, Addresses(prefect_api=prefect_server.api_url, prefect_ui="", service=None))

        with use_server(settings) as server:
            assert (server.found, server.api_url) == ("up", prefect_server.api_url)
            assert os.environ["PREFECT_API_URL"] == prefect_server.api_url


@pytest.mark.prefect
def test_the_users_own_server_is_used_when_nothing_is_up(
    prefect_server: TestServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server.api_url)

    with use_server(settings) as server:
        assert (server.found, server.api_url) == ("environment", prefect_server.api_url)


@pytest.mark.prefect
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_command_without_a_server_starts_one_that_ends_with_it(settings: Settings, *, is_killed: bool) -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, str(settings.home)],
        env={name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with command:
        assert command.stdout is not None
        assert command.stdin is not None
        api_url = command.stdout.readline().strip()
        children = psutil.Process(command.pid).children(recursive=True)
        assert answers(f"{api_url}/health")

        if is_killed:
            command.kill()
        else:
            command.stdin.write("\n")
            command.stdin.flush()

        wait_until(lambda: [child for child in children if child.is_running()], lambda living: not living)
    assert (settings.home / "prefect" / "prefect.db").exists()
    assert not answers(f"{api_url}/health")


@pytest.mark.prefect
def test_a_schedule_makes_runs(
    prefect_server: TestServer, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]
) -> None:
    from prefect.client.orchestration import get_client

    small_flows.register(make_pipeline("scheduled"), pool="nobody")

    with get_client(sync_client=True) as client:
        runs = wait_until(
            lambda: [
                run
                for run in client.read_flow_runs(limit=200)
                if run.auto_scheduled and run.parameters["pipeline"] == "scheduled"
            ],
            lambda runs: len(runs) > 0,
        )
    assert all(run.work_pool_name == "nobody" for run in runs)


def test_a_second_set_up_in_one_home_is_told_who_runs(settings: Settings) -> None:
    with hold_home(settings):
        write_state(settings, Addresses(prefect_api="http://a/api", prefect_ui="http://a", service="http://b"))

        with pytest.raises(AlreadyUp, match=rf"process {os.getpid()} since .*Prefect at http://a.*http://b"):
            with hold_home(settings):
                raise AssertionError("the home was given away twice")

    assert read_state(settings) is None


def test_a_state_file_of_a_dead_process_is_nobodys(settings: Settings) -> None:
    settings.home.mkdir()
    with hold_home(settings):
        state = write_state(settings, Addresses(prefect_api="http://a/api", prefect_ui="http://a"))
    dead = state.model_copy(update={"process_started": state.process_started - 1000})
    (settings.home / "up.json").write_text(dead.model_dump_json())

    assert read_state(settings) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:4200"),
        ("0.0.0.0", "http://127.0.0.1:4200"),
        ("::", "http://[::1]:4200"),
        ("::1", "http://[::1]:4200"),
    ],
)
def test_a_server_that_binds_every_address_is_reached_at_this_machines(host: str, expected: str) -> None:
    assert server_url(host, 4200) == expected


def test_the_servers_files_and_switches_stay_in_the_home(settings: Settings) -> None:
    environment = server_spec(settings, host="127.0.0.1", port=4200).environment

    home = settings.home.absolute()
    places = ("PREFECT_HOME", "PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_SERVER_UI_STATIC_DIRECTORY")
    assert [str(Path(home)) in environment[place] for place in places] == [True, True, True]
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] == "false"


@pytest.mark.prefect
def test_none_is_turned_away_when_many_ask_for_runs_at_once(
    prefect_server: TestServer, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]
) -> None:
    import httpx
    from prefect.client.orchestration import get_client

    small_flows.register(make_pipeline("crowded"))
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("small-training/crowded")

    # As a browser asks: once. Prefect's own client would ask again, and hide that the first request failed.
    def ask(_: int) -> int:
        body = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": "2999-01-01T00:00:00Z"}}}
        url = f"{prefect_server.api_url}/deployments/{deployment.id}/create_flow_run"
        return httpx.post(url, json=body, timeout=60).status_code

    with ThreadPoolExecutor(8) as crowd:
        assert set(crowd.map(ask, range(64))) == {201}
