"""The warm worker, which can be held when it has taken a run and not started it: ``python -m … POOL``."""

from __future__ import annotations

import sys
from typing import Any

import anyio.to_thread

from deployments import warm_worker
from tests.loop.holding import hold


class HeldStarter(warm_worker.ForkStarter):
    """Starts a run's process, and may be held before it does."""

    async def start(self, flow_run: Any, *arguments: Any, **options: Any) -> None:
        """Come by the place, without holding up the worker's other runs."""
        pipeline = str(flow_run.parameters["pipeline"])
        await anyio.to_thread.run_sync(hold, "taken by the worker", pipeline, abandon_on_cancel=True)
        await super().start(flow_run, *arguments, **options)


if __name__ == "__main__":
    vars(warm_worker)["ForkStarter"] = HeldStarter
    sys.argv += [*warm_worker.PRELOAD, "tests.loop.held_runs"]
    warm_worker.main()
