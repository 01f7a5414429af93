"""`everfit webhooks`: who is told of what happens in the registry."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group("webhooks", about="Webhooks: signed messages about versions, verdicts and promotions.")


@app.command(name="list", epilog=example("everfit webhooks list", "everfit webhooks list --json"))
def webhooks_list(
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="How many messages to show, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the receivers of EVERFIT_WEBHOOKS and the newest messages: delivered, waiting, or given up and why."""
    from console.webhooks import list_command

    list_command(limit=limit, output=Output(as_json=as_json))


@app.command(name="test", epilog=example("everfit webhooks test ops", "everfit webhooks test --json"))
def webhooks_test(
    name: Annotated[str | None, typer.Argument(help="Only to this receiver.", metavar="[NAME]")] = None,
    as_json: Json = False,
) -> None:
    """Send a test message now, and say how it was answered."""
    from console.webhooks import test_command

    test_command(name, output=Output(as_json=as_json))


@app.command(name="retry", epilog=example("everfit webhooks retry", "everfit webhooks retry ops"))
def webhooks_retry(
    name: Annotated[str | None, typer.Argument(help="Only to this receiver.", metavar="[NAME]")] = None,
    as_json: Json = False,
) -> None:
    """Send everything that waits or was given up again, now."""
    from console.webhooks import retry_command

    retry_command(name, output=Output(as_json=as_json))
