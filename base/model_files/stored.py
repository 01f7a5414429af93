"""Fitted models to and from an artifact store, as files that cannot run code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from base.artifacts import Artifact, ArtifactStore
from base.model_files.kept import SUFFIX, find_kept_models
from base.model_files.reading import load_model
from base.model_files.writing import dump_model


def store_model(model: Any, artifacts: ArtifactStore) -> Artifact:
    """Store a fitted model; where models are kept in memory, it is kept there under the name of its fit."""
    kept = find_kept_models()
    named = None if kept is None else kept.keep(model)
    return artifacts.put_bytes(dump_model(model), suffix=".skops") if named is None else named


def read_model(artifact: Artifact, artifacts: ArtifactStore, *, trusted: Iterable[str] = ()) -> Any:
    """Read a stored model, verified, if all its types are on the allow-list; one that is kept is not read again.

    Raises
    ------
    ModelFileRefused, ArtifactMissing, ArtifactCorrupt
    """
    kept = find_kept_models()
    if kept is not None and artifact.suffix == SUFFIX:
        return kept.read(artifact, trusted)
    return load_model(artifacts.read_bytes(artifact), trusted=trusted)
