"""Claims about `everfit dispatch --once`: what was granted goes to the Prefect server that is there, once."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from deployments.registration import register_deployments
from registry.pipelines import register_pipeline
from registry.store import Registry
from tests.console.conftest import Everfit
from tests.pipelines import define, make_pipeline
from tests.prefect_server import TestServer


def test_without_a_prefect_server_the_way_out_is_told(everfit: Everfit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    finished = everfit("dispatch", "--once")

    assert finished.code == 2
    assert "no Prefect server answers: `everfit up` starts one" in finished.err


@pytest.mark.prefect
@pytest.mark.slow
def test_what_waits_is_sent_once_and_what_has_no_deployment_waits_on(
    everfit: Everfit, registry: Registry, prefect_server: TestServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from prefect.client.orchestration import get_client

    monkeypatch.setenv("PREFECT_API_URL", prefect_server.api_url)
    pipelines = [make_pipeline(tmp_path / name, None, define(name=name)) for name in ("sent_trips", "lost_trips")]
    for pipeline in pipelines:
        register_pipeline(registry, pipeline)
    register_deployments(pipelines[:1], pool="nobody", worker_type="process")
    granted = {name: everfit("trigger", name, "--reason", "now", "--json").document for name in _NAMES}

    first, second = (everfit("dispatch", "--once", "--json") for _ in range(2))

    (sent,) = first.document["sent"]
    (waiting,) = first.document["waiting"]
    assert (sent["launch"], waiting["launch"]) == tuple(granted[name]["launch"] for name in _NAMES)
    assert "no deployment continuous-training/lost_trips; `everfit up` registers it" in waiting["trouble"]
    assert waiting["launch"] in everfit("dispatch", "--once").err
    assert second.document["sent"] == []
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(sent["flow_run"]))
    assert (run.parameters["launch"], run.parameters["reason"]) == (sent["launch"], "now")
    told = everfit("triggers", "show", granted["sent_trips"]["trigger"]).out
    assert f"is with Prefect as flow run {sent['flow_run']}" in told


_NAMES = ("sent_trips", "lost_trips")
