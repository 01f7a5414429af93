"""What was installed when a model was trained: each set of libraries is kept once, under its digest."""

from __future__ import annotations

import json

from base.artifacts import Artifact, ArtifactMissing, ArtifactStore
from base.fingerprint import describe_environment, write_document

_SUFFIX = ".json"


def store_environment(artifacts: ArtifactStore) -> Artifact:
    """Keep the list of what is installed; its file is named by the digest that steps and manifests hold."""
    return artifacts.put_bytes(write_document(describe_environment()), suffix=_SUFFIX)


def read_environment(artifacts: ArtifactStore, digest: str) -> dict[str, str] | None:
    """Read which libraries an environment's digest stands for, with their versions; None where nobody kept it."""
    try:
        listed: list[str] = json.loads(artifacts.read_bytes(Artifact(digest=digest, size_bytes=0, suffix=_SUFFIX)))
    except ArtifactMissing:
        return None
    return dict(name.rpartition("-")[::2] for name in listed)
