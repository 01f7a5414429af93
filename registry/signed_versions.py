"""Versions as they were registered: signed by this installation, and standing where they were put."""

from __future__ import annotations

from base.signatures import SignatureRefused, SigningKeys
from registry.manifest import ModelManifest
from registry.tables import ModelVersion

_KIND = "manifest"


def sign_manifest(manifest: ModelManifest, keys: SigningKeys) -> ModelManifest:
    """Sign a manifest, which names all of its files by digest.

    Signed is what it says, so that a field that a later release adds with a default changes nothing.
    """
    return manifest.model_copy(update={"signature": keys.sign(_KIND, _signed(manifest))})


def check_manifest(manifest: ModelManifest, keys: SigningKeys, *, required: bool = True, what: str) -> None:
    """Check that a manifest is what this installation signed.

    Parameters
    ----------
    required : bool
        Whether a manifest without a signature is refused; one with a wrong signature always is.

    Raises
    ------
    SignatureRefused
    """
    if required or manifest.signature is not None:
        keys.check(_KIND, _signed(manifest), manifest.signature, what=what)


def read_version(version: ModelVersion, keys: SigningKeys | None, *, required: bool = True) -> ModelManifest:
    """Read a version's manifest, checked: it is what was signed, and it is this version's.

    A manifest with its signature can be put into another version's row; it names the run that it came from.

    Parameters
    ----------
    keys : SigningKeys or None
        None checks nothing.

    Raises
    ------
    SignatureRefused
    """
    manifest = ModelManifest.model_validate(version.manifest)
    if keys is None:
        return manifest
    what = f"version {version.model}@{version.number}"
    check_manifest(manifest, keys, required=required, what=what)
    if manifest.model != version.model or manifest.run not in (None, version.run_id):
        raise SignatureRefused(
            f"{what} holds the manifest of model {manifest.model!r} from run {manifest.run}, expected that of run "
            f"{version.run_id}; restore the registry from a backup, or train it again"
        )
    return manifest


def _signed(manifest: ModelManifest) -> object:
    return manifest.model_dump(mode="json", exclude={"signature"}, exclude_defaults=True)
