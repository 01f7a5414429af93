"""Open what the loop remembers: the database, migrated, and the artifact store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from base.artifacts import ArtifactStore
from base.database import Database
from base.settings import Settings
from registry.webhooks import RECEIVERS

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Registry:
    """The database and the artifacts that belong together."""

    database: Database
    artifacts: ArtifactStore
    environment: str = "prod"


def open_registry(settings: Settings, *, create: bool = True) -> Registry:
    """Open the registry that the settings name, creating or migrating its tables where needed.

    Parameters
    ----------
    create : bool, default=True
        Whether a SQLite database that is not there is made. Who only takes over from another process says no: what
        was there a moment ago is away, and an empty one in its place would hide it.
    """
    database = Database(settings.database, known={RECEIVERS: settings.webhooks}, create=create)
    database.migrate(MIGRATIONS)
    return Registry(database, ArtifactStore.from_settings(settings), settings.environment)
