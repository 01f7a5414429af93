"""Which versions came through their first load: found once, remembered for as long as nothing that counts changes."""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

from sqlmodel import Session

from base.documents import as_document
from base.fingerprint import digest_document, digest_package, installed_versions
from base.times import utc_now
from registry.manifest import ModelManifest
from registry.tables import ProofRow

# What reads a model file and answers with it; another version of one of these may answer otherwise.
_LIBRARIES = ("scikit-learn", "skops", "numpy", "pandas", "scipy", "joblib", "pyarrow", "onnxruntime")
_CODE = ("base", "features", "serving")
_LOADED = {"model_file", "onnx", "plan", "contract", "code", "examples", "reference", "classes", "task", "threshold"}


@cache
def digest_loading() -> str:
    """Digest what a version is loaded with: Python, the libraries, and Everfit's own code."""
    python, libraries = platform.python_version(), installed_versions(_LIBRARIES)
    return digest_document([python, platform.machine(), libraries, [digest_package(name) for name in _CODE]])


def digest_loaded(manifest: ModelManifest) -> str:
    """Digest what of a version is loaded: versions that differ in their report or metrics alone load the same."""
    return digest_document(manifest.model_dump(mode="json", include=_LOADED, exclude_defaults=True))


def find_proof(session: Session, manifest: ModelManifest) -> dict[str, Any] | None:
    """Return what the first load of a version found in this environment; None where it was never loaded here."""
    found = session.get(ProofRow, (digest_loaded(manifest), digest_loading()))
    return None if found is None else found.document


def record_proof(session: Session, manifest: ModelManifest, document: dict[str, Any]) -> None:
    """Remember that a version came through its first load here; whoever finds out again writes it anew."""
    key = (digest_loaded(manifest), digest_loading())
    found = session.get(ProofRow, key)
    if found is None:
        found = ProofRow(loaded=key[0], environment=key[1], model=manifest.model)
    found.document, found.proven_at = as_document(document), utc_now()
    session.add(found)
