"""Model versions and their aliases, as one noun: what the other floors need of :mod:`versions` and :mod:`aliases`."""

from registry.aliases import (
    CHAMPION,
    ENVIRONMENTS,
    ROLLBACK,
    AliasMoved,
    alias_history,
    find_alias,
    list_aliases,
    previous_champion,
    promote_version,
    resolve_present,
    resolve_version,
    roll_back,
)
from registry.versions import (
    NewVersion,
    VersionDeleted,
    VersionNotFound,
    check_model,
    find_version,
    list_models,
    list_versions,
    register_version,
)

__all__ = [
    "CHAMPION",
    "ENVIRONMENTS",
    "ROLLBACK",
    "AliasMoved",
    "NewVersion",
    "VersionDeleted",
    "VersionNotFound",
    "alias_history",
    "check_model",
    "find_alias",
    "find_version",
    "list_aliases",
    "list_models",
    "list_versions",
    "previous_champion",
    "promote_version",
    "register_version",
    "resolve_present",
    "resolve_version",
    "roll_back",
]
