"""Model versions: list, show, tag, promote, roll back, delete, and who was champion when."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, Model, command_group, example
from console.output import Output

app = command_group()

_Environment = Annotated[
    str | None,
    typer.Option(help="dev, staging or prod; default: EVERFIT_ENVIRONMENT.", metavar="ENVIRONMENT"),
]
_Version = Annotated[str, typer.Argument(help="A version, such as bike@7.", metavar="MODEL@VERSION")]


@app.command(
    epilog=example("everfit versions", "everfit versions bike --tag region=eu", "everfit versions bike --json")
)
def versions(
    model: Annotated[str | None, typer.Argument(help="Only of this model.", metavar="[MODEL]")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only with this tag, KEY or KEY=VALUE; may be repeated.", metavar="TAG")
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option(help="Only those that are or were champion in dev, staging or prod.", metavar="ENVIRONMENT"),
    ] = None,
    with_deleted: Annotated[bool, typer.Option("--all", help="Deleted versions too.")] = False,
    as_json: Json = False,
) -> None:
    """List model versions, newest first: metrics, verdict, tags, and where each is champion."""
    from console.versions import versions_command

    versions_command(
        model, tags=tag or [], environment=environment, with_deleted=with_deleted, output=Output(as_json=as_json)
    )


@app.command(epilog=example("everfit show bike", "everfit show bike@7", "everfit show bike@staging --json"))
def show(
    version: Annotated[
        str,
        typer.Argument(
            help="A version, or the champion of an environment; default: the champion.", metavar="MODEL[@VERSION]"
        ),
    ],
    environment: _Environment = None,
    as_json: Json = False,
) -> None:
    """Show all that is known of a version: metrics, verdict, data, features, aliases, tags, files, libraries."""
    from console.version_details import show_command

    show_command(version, environment=environment, output=Output(as_json=as_json))


@app.command(
    epilog=example("everfit tag bike@7", "everfit tag bike@7 keep region=eu", "everfit tag bike@7 --remove region")
)
def tag(
    version: _Version,
    tags: Annotated[list[str] | None, typer.Argument(help="KEY or KEY=VALUE.", metavar="[TAG]...")] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Remove the tag of this key; may be repeated.", metavar="KEY")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")] = "",
    as_json: Json = False,
) -> None:
    """Set, remove or list tags of a version; one that is tagged `keep` is never deleted."""
    from console.version_tags import tag_command

    tag_command(version, put=tags or [], remove=remove or [], reason=reason, output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit promote bike@7 --reason 'agreed with the station team'",
        "everfit promote bike@staging --environment prod --reason 'a week in staging without trouble'",
    )
)
def promote(
    version: Annotated[
        str,
        typer.Argument(
            help="A version such as bike@7, or bike@staging: whatever is champion there.", metavar="MODEL@VERSION"
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    environment: _Environment = None,
    expected: Annotated[
        int | None,
        typer.Option(min=0, help="Only if this version is champion at present; 0: none.", metavar="VERSION"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a version champion of an environment by hand; who serves there follows by itself."""
    from console.promotion import promote_command

    promote_command(version, environment=environment, expected=expected, reason=reason, output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit rollback bike --reason 'complaints about Sunday forecasts'",
        "everfit rollback bike --to 3 --reason 'version 3 knew winter'",
    )
)
def rollback(
    model: Model,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    to: Annotated[
        int | None, typer.Option(min=1, help="The version to go back to; default: the champion before.")
    ] = None,
    environment: _Environment = None,
    as_json: Json = False,
) -> None:
    """Make an earlier version champion again, with its features, threshold and reference."""
    from console.promotion import rollback_command

    rollback_command(model, to=to, environment=environment, reason=reason, output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit history bike", "everfit history bike --at 2026-05-03", "everfit history bike --at 2026-05-03T06:00Z"
    )
)
def history(
    model: Model,
    at: Annotated[
        str | None, typer.Option(help="Only who was champion on this day, or in this moment (UTC).", metavar="MOMENT")
    ] = None,
    environment: Annotated[
        str | None, typer.Option(help="Only in dev, staging or prod; default: in all.", metavar="ENVIRONMENT")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell which version was champion when, who changed it and why."""
    from console.champion_history import history_command

    history_command(model, at=at, environment=environment, output=Output(as_json=as_json))


@app.command(
    epilog=example("everfit gc", "everfit gc bike --keep 5 --older-than '30 days' --yes", "everfit gc bike@3 --yes")
)
def gc(
    model: Annotated[
        str | None, typer.Argument(help="Only of this model, or just this version.", metavar="[MODEL[@VERSION]]")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="Newest versions of each model that stay.")] = 10,
    older_than: Annotated[str, typer.Option(help="Only what is older than this.")] = "90 days",
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would be deleted.")] = False,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")] = "",
    as_json: Json = False,
) -> None:
    """Delete old versions that no alias, rollback or `keep` tag protects; their records stay."""
    from console.version_retention import gc_command

    gc_command(model, keep=keep, older_than=older_than, is_agreed=yes, reason=reason, output=Output(as_json=as_json))
