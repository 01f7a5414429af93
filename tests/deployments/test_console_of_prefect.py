"""A person starts a training from Prefect's console, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from base.pipeline import Pipeline
from deployments.child_process import ChildProcess
from tests.deployments.conftest import SmallFlows, wait_for_run, wait_until
from tests.prefect_server import TestServer

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from prefect.client.schemas.objects import FlowRun

pytestmark = [pytest.mark.browser, pytest.mark.prefect, pytest.mark.slow]

_CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def page(
    prefect_server: TestServer, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]
) -> Iterator[Page]:
    """Open the page of a training's deployment."""
    if not _CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright
    from prefect.client.orchestration import get_client

    small_flows.register(make_pipeline("clicked"))
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("small-training/clicked")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(_CHROMIUM), args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{prefect_server.api_url.removesuffix('/api')}/deployments/deployment/{deployment.id}")
        page.get_by_role("button", name="Run", exact=True).first.click()
        yield page
        browser.close()


def test_a_quick_run_trains_with_the_usual_parameters(page: Page, warm_worker: ChildProcess) -> None:
    before = _runs()

    page.get_by_text("Quick run").click()
    # The form asks for no more than a look: every parameter has its value.
    # The page behind the form has a button of the same name, so wait for the form's own.
    form = page.locator(".p-modal", has=page.get_by_text("Run Deployment"))
    form.get_by_role("button", name="Run", exact=True).click()

    run = wait_for_run(_new_run(before))
    assert run.parameters["pipeline"] == "clicked"
    assert run.parameters.get("trigger", "person") == "person"
    assert run.state is not None
    assert run.state.is_completed(), run.state


def test_a_custom_run_takes_what_the_form_says(page: Page, warm_worker: ChildProcess) -> None:
    before = _runs()

    page.get_by_text("Custom run").click()
    page.locator(".p-label", has_text="reason").locator("textarea, input").first.fill("the fares have changed")
    page.get_by_role("button", name="Submit").click()

    run = wait_for_run(_new_run(before))
    assert run.parameters["pipeline"] == "clicked"
    assert run.parameters["reason"] == "the fares have changed"
    assert run.state is not None
    assert run.state.is_completed(), run.state


def _runs() -> dict[str, FlowRun]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["clicked"])))
    return {str(run.id): run for run in runs if not run.auto_scheduled}


def _new_run(before: dict[str, FlowRun]) -> FlowRun:
    (run,) = wait_until(
        lambda: [run for name, run in _runs().items() if name not in before], lambda runs: len(runs) > 0
    )
    return run
