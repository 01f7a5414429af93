"""`everfit serve`: the prediction service, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from base.errors import nearest
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output


def serve_command(
    models: Sequence[str], *, host: str | None, port: int | None, workers: int | None, output: Output
) -> None:
    """Serve the champions of some models, or of all, until Ctrl-C or SIGTERM."""
    settings = read_settings()
    _check_models(models, output)
    from serving.server import serve

    what = ", ".join(models) or "every model that has a champion"
    output.say(f"Starting to serve {what}; Ctrl-C stops")
    serve(
        settings,
        models=tuple(models) or None,
        host=host,
        port=port,
        workers=workers,
        announce=lambda address: _announce(address, models, output),
        desk="monitoring.desk:take",
    )


def _check_models(models: Sequence[str], output: Output) -> None:
    """Refuse a model that nobody registered, and say which ones have to wait for a champion.

    Raises
    ------
    VersionNotFound
        Naming what there is instead.
    """
    from registry.models import CHAMPION, VersionNotFound, find_alias, list_models

    settings = read_settings()
    if is_registry_new(settings):
        output.warn(
            f"nothing was trained yet in {str(settings.home.absolute())!r}; serving starts with the first champion"
        )
        return
    registry = open_registry(settings)
    with registry.database.read() as session:
        known = list_models(session)
        wanted = list(models) or known
        unknown = [model for model in wanted if model not in known]
        waiting = [model for model in wanted if find_alias(session, registry.environment, model) is None]
    registry.database.close()
    if unknown:
        raise VersionNotFound(
            f"there is no model {unknown[0]!r}; registered are {', '.join(known) or 'none'}{nearest(unknown[0], known)}"
        )
    for model in waiting:
        output.warn(
            f"model {model!r} has no {CHAMPION} yet in environment {registry.environment!r}; it is served once it has"
        )


def _announce(address: str, models: Sequence[str], output: Output) -> None:
    output.say(f"Predictions are answered on {address}")
    # Printed when it is ready and not at the end: whoever started this reads the address and goes on.
    output.result({"address": address, "models": list(models) or None})
