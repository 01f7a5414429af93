"""`everfit tokens`: who may ask the service for what."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group("tokens", about="API tokens of the service: made, listed, rotated, revoked.")

_Name = Annotated[str, typer.Argument(help="The token's name, such as shop-website.", metavar="NAME")]


@app.command(
    name="create",
    epilog=example(
        "everfit tokens create shop-website --role predict --model bike --expires 90d",
        "everfit tokens create labeller --role label --role view",
    ),
)
def tokens_create(
    name: _Name,
    role: Annotated[
        list[str],
        typer.Option(help="predict, label, view, operate, approve or admin (all of them); may be repeated."),
    ],
    model: Annotated[
        list[str] | None, typer.Option(help="Only this model; may be repeated. Default: all.", metavar="MODEL")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="For how long it is good, such as 90d or '12 hours'; default: until revoked.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token and show it, this once: only its digest is kept."""
    from console.tokens import create_command

    create_command(name, roles=role, models=model, expires=expires, output=Output(as_json=as_json))


@app.command(name="list", epilog=example("everfit tokens list", "everfit tokens list --all --json"))
def tokens_list(
    everything: Annotated[bool, typer.Option("--all", help="Those that expired or were revoked, too.")] = False,
    as_json: Json = False,
) -> None:
    """List the tokens: for what, until when, and on which day each was last used."""
    from console.tokens import list_command

    list_command(everything=everything, output=Output(as_json=as_json))


@app.command(
    name="rotate",
    epilog=example("everfit tokens rotate shop-website", "everfit tokens rotate shop-website --overlap 0s"),
)
def tokens_rotate(
    name: _Name,
    overlap: Annotated[str, typer.Option(help="For how long the secret before is good as well.")] = "24h",
    as_json: Json = False,
) -> None:
    """Give a token a new secret; the one before is good for a while, so that its users can change over."""
    from console.tokens import rotate_command

    rotate_command(name, overlap=overlap, output=Output(as_json=as_json))


@app.command(
    name="revoke", epilog=example("everfit tokens revoke shop-website --reason 'it stood in a public repository'")
)
def tokens_revoke(
    name: _Name,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")] = "",
    as_json: Json = False,
) -> None:
    """End a token; running services refuse it within two seconds."""
    from console.tokens import revoke_command

    revoke_command(name, reason=reason, output=Output(as_json=as_json))
