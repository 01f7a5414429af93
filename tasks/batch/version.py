"""The version that predicts outside the service: checked, loaded and connected to its feature views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from base.rows.personal import has_personal, personal_key
from base.settings import Settings
from registry.manifest import ModelManifest
from registry.models import CHAMPION, find_alias, resolve_present
from registry.store import Registry
from serving.scoring.scorer import Scorer


@dataclass(frozen=True)
class LoadedVersion:
    """A version that is ready to predict; ``is_champion`` as of the moment it was found."""

    model: str
    number: int
    is_champion: bool
    scorer: Scorer

    @property
    def manifest(self) -> ModelManifest:
        """What the version carries."""
        return self.scorer.manifest

    @property
    def arm(self) -> str:
        """As what its predictions are logged."""
        return "champion" if self.is_champion else f"version {self.number}"


@contextmanager
def open_version(
    registry: Registry, settings: Settings, name: str, *, compiled: bool = False
) -> Iterator[LoadedVersion]:
    """Load a version such as ``bike``, ``bike@7`` or ``bike@champion`` as the service would.

    Parameters
    ----------
    compiled : bool, default=False
        Answer by the compiled form, where the version has one that agrees.

    Raises
    ------
    VersionNotFound, VersionDeleted, SignatureRefused, VersionNotProven, ModelDisagrees
    """
    from serving.loading.servability import Admission
    from serving.scoring.loaded import load_scorer

    with registry.database.read() as session:
        version = resolve_present(session, registry.environment, name)
        alias = find_alias(session, registry.environment, version.model, CHAMPION)
    manifest = Admission(registry, settings).admit(version)
    key = personal_key(settings) if has_personal(manifest.contract) else None
    scorer = load_scorer(
        registry.artifacts, manifest, trusted=settings.trusted_types, personal_key=key, compiled=compiled
    )
    is_champion = alias is not None and alias.number == version.number
    loaded = LoadedVersion(version.model, version.number, is_champion, scorer)
    if not manifest.plan.views:
        yield loaded
        return
    from features.online_store import OnlineStore
    from serving.scoring.view_lookup import open_lookup

    online = OnlineStore.from_settings(settings)
    scorer.lookup = open_lookup(manifest.plan.views, time_column=manifest.time, online=online, registry=registry)
    try:
        yield loaded
    finally:
        online.close()
