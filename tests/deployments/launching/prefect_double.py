"""A server of flow runs that keeps Prefect's promises about idempotency keys, and can be down or lose its answer."""

from __future__ import annotations

from datetime import datetime

from deployments.launching.sender import FlowRunStanding, NotSent, Standing
from registry.tables import Launch


class ProcessDied(BaseException):
    """The dispatcher was killed here."""


class FlowRuns:
    """Flow runs by idempotency key; a test moves them on."""

    def __init__(self) -> None:
        self.by_key: dict[str, str] = {}
        self.standings: dict[str, FlowRunStanding] = {}
        self.is_down = False
        self.loses_answer = False
        self.dies: str | None = None

    def send(self, launch: Launch) -> str:
        """Create the flow run of a launch, once for each key."""
        if self.dies == "before it is sent":
            raise ProcessDied
        if self.is_down:
            raise NotSent("Prefect's server did not take it: it is down")
        key = f"{launch.id}:{launch.n_sent}"
        flow_run = self.by_key.setdefault(key, f"flow-run-{len(self.by_key) + 1}")
        self.standings.setdefault(flow_run, FlowRunStanding("waiting"))
        if self.dies == "before it is written down":
            raise ProcessDied
        if self.loses_answer:
            raise NotSent("Prefect's server did not take it: the answer was lost")
        return flow_run

    def find(self, flow_run: str) -> FlowRunStanding:
        """Say where a flow run stands."""
        if self.is_down:
            raise NotSent("Prefect's server did not take it: it is down")
        return self.standings.get(flow_run, FlowRunStanding("gone"))

    def cancel(self, flow_run: str) -> None:
        """Cancel a flow run."""
        self.move(flow_run, "cancelled")

    def move(self, flow_run: str, standing: Standing, *, since: datetime | None = None, message: str = "") -> None:
        """Let a flow run stand elsewhere."""
        self.standings[flow_run] = FlowRunStanding(standing, since, message)
