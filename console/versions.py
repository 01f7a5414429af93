"""`everfit versions`: which model versions there are, and where each is champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from console.installation import is_registry_new, open_registry, read_environment, read_settings

if TYPE_CHECKING:
    from console.output import Output
    from registry.tables import Alias, ModelVersion

_SHOWN_METRICS = ("log_loss", "roc_auc", "accuracy", "mae", "r2")


def versions_command(
    model: str | None,
    *,
    output: Output,
    tags: Sequence[str] = (),
    environment: str | None = None,
    with_deleted: bool = False,
) -> None:
    """List the versions of one model, or of all, newest first.

    Raises
    ------
    ArgumentError
        If a tag or the environment is none.
    VersionNotFound
        If there is no model of that name.
    """
    settings = read_settings()
    place = read_environment(settings, environment)
    if model is None and is_registry_new(settings):
        output.say(f"No model version yet in {settings.home.absolute()}; `everfit train` makes the first.")
        output.result([])
        return
    from registry.models import alias_history, check_model, list_aliases, list_versions
    from registry.tags import describe_tags, find_tags, has_tag

    registry = open_registry(settings)
    with registry.database.read() as session:
        if model is not None:
            check_model(session, model)
        everything = list_versions(session, model)
        aliases = list_aliases(session, model)
        tagged = find_tags(session, model)
        models = {version.model for version in everything} if environment is not None else set()
        were_champion = {(name, move.number) for name in models for move in alias_history(session, place, name)}
    versions = [
        version
        for version in everything
        if (with_deleted or version.deleted_at is None)
        and (environment is None or (version.model, version.number) in were_champion)
        and all(has_tag(tagged.get((version.model, version.number), {}), tag) for tag in tags)
    ]
    named = name_aliases(aliases)
    if not everything:
        output.say("No model version yet; `everfit train` makes the first.")
    elif not versions:
        output.say(f"None of {len(everything)} versions is as asked for; --all lists deleted ones too.")
    else:
        output.table(
            ["model", "version", "alias", "created (UTC)", "metrics on test rows", "verdict", "tags", "run"],
            [
                [
                    version.model,
                    version.number,
                    describe_aliases(named.get((version.model, version.number), {})),
                    f"{version.created_at:%Y-%m-%d %H:%M}",
                    describe_metrics(version),
                    version.verdict.get("outcome", "") if version.deleted_at is None else "deleted",
                    describe_tags(tagged.get((version.model, version.number), {})),
                    version.run_id,
                ]
                for version in versions
            ],
        )
    output.result(
        [
            _as_json(
                version,
                place,
                named.get((version.model, version.number), {}),
                tagged.get((version.model, version.number), {}),
            )
            for version in versions
        ]
    )


def name_aliases(aliases: Sequence[Alias]) -> dict[tuple[str, int], dict[str, list[str]]]:
    """Sort aliases by the version that they name: for each, the environments by alias."""
    named: dict[tuple[str, int], dict[str, list[str]]] = {}
    for alias in aliases:
        named.setdefault((alias.model, alias.number), {}).setdefault(alias.alias, []).append(alias.environment)
    return named


def describe_aliases(named: Mapping[str, Sequence[str]]) -> str:
    """Write aliases with their environments.

    Examples
    --------
    >>> describe_aliases({"champion": ["prod", "staging"]})
    'champion (prod, staging)'
    """
    return ", ".join(f"{alias} ({', '.join(places)})" for alias, places in named.items())


def describe_metrics(version: ModelVersion) -> str:
    """Write the metrics that say most, three at most."""
    shown = [f"{name} {version.metrics[name]:.4g}" for name in _SHOWN_METRICS if _is_number(version.metrics.get(name))]
    return ", ".join(shown[:3])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_json(
    version: ModelVersion, environment: str, named: Mapping[str, Sequence[str]], tags: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "model": version.model,
        "version": version.number,
        "is_champion": environment in named.get("champion", ()),
        "aliases": named,
        "tags": tags,
        "created_at": version.created_at.isoformat(),
        "deleted_at": None if version.deleted_at is None else version.deleted_at.isoformat(),
        "metrics": version.metrics,
        "verdict": version.verdict,
        "views": [view["view"]["name"] for view in version.manifest.get("plan", {}).get("views", [])],
        "run": version.run_id,
    }
