"""`everfit dispatch`: what was granted is sent to a Prefect server of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from base.errors import ArgumentError
from console.installation import read_settings

if TYPE_CHECKING:
    from console.output import Output


def dispatch_command(*, once: bool, output: Output) -> None:
    """Send granted trainings to the Prefect server that is running, once or until Ctrl-C or SIGTERM.

    Raises
    ------
    ArgumentError
        If no Prefect server answers.
    """
    settings = read_settings()
    from deployments.embedded import wait_for_signal
    from deployments.launching.duty import dispatch_once, dispatching
    from deployments.prefect_server import running_server, use_client

    server = running_server(settings)
    if server is None:
        raise ArgumentError(
            "no Prefect server answers: `everfit up` starts one (and dispatches by itself), or set PREFECT_API_URL to "
            "that of your own"
        )
    with use_client(settings, server.api_url):
        if not once:
            output.say(f"Granted trainings are sent to {server.api_url}; Ctrl-C stops")
            with dispatching(settings):
                wait_for_signal()
            return
        sent, waiting = dispatch_once(settings)
    for launch in sent:
        output.say(f"launch {launch.id} of {launch.pipeline!r} was sent as flow run {launch.flow_run}")
    for launch in waiting:
        output.warn(f"launch {launch.id} of {launch.pipeline!r} waits{': ' if launch.trouble else ''}{launch.trouble}")
    output.result(
        {
            "sent": [{"launch": one.id, "pipeline": one.pipeline, "flow_run": one.flow_run} for one in sent],
            "waiting": [{"launch": one.id, "pipeline": one.pipeline, "trouble": one.trouble} for one in waiting],
        }
    )
