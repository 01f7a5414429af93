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


def open_registry(settings: Settings) -> Registry:
    """Open the registry that the settings name, creating or migrating its tables where needed."""
    database = Database(settings.database, known={RECEIVERS: settings.webhooks})
    database.migrate(MIGRATIONS)
    return Registry(database, ArtifactStore.from_settings(settings), settings.environment)
