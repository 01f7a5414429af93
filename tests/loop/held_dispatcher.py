"""`everfit dispatch`, which can be held before and after it sends; in a process of its own."""

from __future__ import annotations

import sys

from console.cli import main
from deployments.launching.sender import PrefectSender
from registry.tables import Launch
from tests.loop.holding import hold

_send = PrefectSender.send


def held_send(self: PrefectSender, launch: Launch) -> str:
    """Come by the two places around a sending."""
    hold("before it is sent", launch.pipeline)
    flow_run = _send(self, launch)
    hold("sent, not written down", launch.pipeline)
    return flow_run


if __name__ == "__main__":
    PrefectSender.send = held_send  # type: ignore[method-assign]
    sys.argv = ["everfit", "dispatch"]
    main()
