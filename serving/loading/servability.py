"""May a version serve here? Its signature, and its first load in a process of its own, found once and remembered."""

from __future__ import annotations

import atexit
import logging
import os
from contextlib import suppress

from base.fingerprint import installed_versions
from base.settings import Settings
from base.signatures import SigningKeys, signing_keys
from registry.manifest import ModelManifest
from registry.proofs import find_proof, record_proof
from registry.signed_versions import read_version
from registry.store import Registry
from registry.tables import ModelVersion
from serving.loading.first_load import FirstLoad, VersionNotProven
from serving.loading.proof import Proof, StoredRows

_log = logging.getLogger(__name__)


class Admission:
    """Lets versions be loaded in this process that are what was signed, and came through their first load.

    Parameters
    ----------
    settings : Settings
        Whose keys are believed, whose limits and allow-list the first load is held to.
    """

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings

    def read_manifest(self, version: ModelVersion) -> ModelManifest:
        """Read a version's manifest, checked against its signature.

        Raises
        ------
        SignatureRefused
        """
        return read_version(version, self._keys(), required=self._settings.require_signature)

    def admit(self, version: ModelVersion) -> ModelManifest:
        """Check a version's signature, and prove it where that was not done yet with these libraries.

        Where its compiled form did not come through, the manifest is without it: the model that it was made of serves.

        Raises
        ------
        SignatureRefused, VersionNotProven, ArtifactMissing, ArtifactCorrupt
        """
        manifest = self.read_manifest(version)
        proof = ensure_proven(self._registry, manifest, self._settings)
        if manifest.onnx is not None and not proof.compiled_agrees:
            reason = proof.compiled_error or "its first load here did not try it"
            return manifest.model_copy(update={"onnx": None, "onnx_reason": reason})
        return manifest

    def _keys(self) -> SigningKeys:
        # Read each time: a key that was added while a service runs signs what it shall load next.
        return signing_keys(self._settings)


def ensure_proven(
    registry: Registry, manifest: ModelManifest, settings: Settings, *, process: FirstLoad | None = None
) -> Proof:
    """Return what a version's first load here found, and let it happen where it did not yet.

    A version that was trained with other libraries answers the sample of judged rows as well as its examples.

    Parameters
    ----------
    process : FirstLoad, optional
        One that was started already.

    Raises
    ------
    VersionNotProven
        If it may not serve, and why.
    ArtifactMissing, ArtifactCorrupt
    """
    if (found := _stored_proof(registry, manifest)) is not None:
        return found
    rows: StoredRows = "examples" if has_same_libraries(manifest) else "all"
    with process or FirstLoad() as started:
        proof = started.prove(
            registry.artifacts,
            manifest,
            trusted=settings.trusted_types,
            rows=rows,
            memory_bytes=settings.load_memory_bytes,
            seconds=settings.load_seconds,
        )
    if not proof.agrees:
        raise VersionNotProven(manifest.model, proof)
    remember_proof(registry, manifest, proof)
    return proof


def is_proven(registry: Registry, manifest: ModelManifest) -> bool:
    """Tell whether a version came through its first load with the libraries installed here; nothing is loaded."""
    return _stored_proof(registry, manifest) is not None


def remember_proof(registry: Registry, manifest: ModelManifest, proof: Proof) -> None:
    """Write a proof into the registry; where that cannot be written now, the next process proves again."""
    try:
        with registry.database.write() as session:
            record_proof(session, manifest, proof.model_dump(mode="json"))
    except Exception as error:
        _log.warning("the first load of model %r is not remembered: %s", manifest.model, error)


def has_same_libraries(manifest: ModelManifest) -> bool:
    """Tell whether the libraries that count are those that a version was trained with."""
    return installed_versions(manifest.libraries) == manifest.libraries


def _stored_proof(registry: Registry, manifest: ModelManifest) -> Proof | None:
    with registry.database.read() as session:
        found = find_proof(session, manifest)
    return None if found is None else Proof.model_validate(found)


_ahead = FirstLoad()


def start_first_load() -> None:
    """Let the process of the next first load import its libraries now, since a version is on its way."""
    with suppress(OSError):  # no process can be started now; the first load itself will tell
        _ahead.start()
        atexit.register(_close_ahead, os.getpid())


def _close_ahead(owner: int) -> None:
    # A process that was forked from this one ends without ending what is not its own.
    if os.getpid() == owner:
        _ahead.close()


def take_first_load() -> FirstLoad:
    """Return the process that was started ahead, or one that is yet to start."""
    return _ahead
