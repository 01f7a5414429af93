"""`everfit versions` and `everfit rollback`: which model versions there are, and which one serves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output
    from registry.tables import ModelVersion

_SHOWN_METRICS = ("log_loss", "roc_auc", "accuracy", "mae", "r2")


def versions_command(model: str | None, *, output: Output) -> None:
    """List the versions of one model, or of all, newest first.

    Raises
    ------
    VersionNotFound
        If there is no model of that name.
    """
    settings = read_settings()
    if model is None and is_registry_new(settings):
        output.say(f"No model version yet in {settings.home.absolute()}; `everfit train` makes the first.")
        output.result([])
        return
    from registry.models import CHAMPION, VersionNotFound, find_alias, list_models, list_versions

    registry = open_registry(settings)
    with registry.database.read() as session:
        versions = list_versions(session, model)
        aliases = {name: find_alias(session, registry.environment, name) for name in list_models(session)}
    if model is not None and not versions:
        from base.errors import nearest

        raise VersionNotFound(
            f"there is no model {model!r}; registered are {', '.join(aliases) or 'none'}{nearest(model, aliases)}"
        )
    champions = {name: None if alias is None else alias.number for name, alias in aliases.items()}
    if not versions:
        output.say("No model version yet; `everfit train` makes the first.")
    else:
        output.table(
            ["model", "version", "alias", "created (UTC)", "metrics on test rows", "verdict", "run"],
            [
                [
                    version.model,
                    version.number,
                    CHAMPION if champions[version.model] == version.number else "",
                    f"{version.created_at:%Y-%m-%d %H:%M}",
                    _describe_metrics(version),
                    version.verdict.get("outcome", ""),
                    version.run_id,
                ]
                for version in versions
            ],
        )
    output.result([_as_json(version, champions[version.model]) for version in versions])


def rollback_command(model: str, *, to: int | None, reason: str, output: Output) -> None:
    """Give the champion alias back to the version before, or to version *to*; the ledger keeps the reason.

    Raises
    ------
    ArgumentError
        If there is no reason, model or version to go back to.
    """
    if not reason.strip():
        raise ArgumentError("--reason is empty; say in a few words why, for whoever reads the ledger later")
    from registry.models import CHAMPION, find_alias, roll_back

    registry = open_registry(read_settings())
    with registry.database.write() as session:
        before = find_alias(session, registry.environment, model)
        # The row is updated in place, so its number has to be taken before.
        previous = None if before is None else before.number
        alias = roll_back(session, registry.environment, model, actor=name_user(), reason=reason.strip(), to=to)
    output.say(f"{model}@{CHAMPION} is version {alias.number} again (was {previous}), environment {alias.environment}")
    output.say("A running prediction service follows by itself; the decision and its reason are in the ledger.")
    output.result(
        {
            "model": model,
            "alias": CHAMPION,
            "environment": alias.environment,
            "version": alias.number,
            "previous": previous,
            "revision": alias.revision,
            "reason": reason.strip(),
        }
    )


def name_user() -> str:
    """Name who calls, for the ledger."""
    from getpass import getuser

    try:
        return getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return f"user {os.getuid()}"


def _describe_metrics(version: ModelVersion) -> str:
    shown = [f"{name} {version.metrics[name]:.4g}" for name in _SHOWN_METRICS if _is_number(version.metrics.get(name))]
    return ", ".join(shown[:3])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_json(version: ModelVersion, champion: int | None) -> dict[str, Any]:
    return {
        "model": version.model,
        "version": version.number,
        "is_champion": version.number == champion,
        "created_at": version.created_at.isoformat(),
        "metrics": version.metrics,
        "verdict": version.verdict,
        "views": [view["view"]["name"] for view in version.manifest.get("plan", {}).get("views", [])],
        "run": version.run_id,
    }
