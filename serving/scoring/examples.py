"""A few real rows that are stored with a version, and the answers that training gave them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from base.artifacts import Artifact, ArtifactStore

AGREEMENT = 1e-9
"""How far answers may be from the recorded ones, absolutely and relatively: the last bits of a sum."""


@dataclass(frozen=True)
class Examples:
    """A few real rows as JSON, with the raw answers that training gave them."""

    rows: list[dict[str, Any]]
    answers: list[Any]


def write_examples(artifacts: ArtifactStore, examples: Examples) -> Artifact:
    """Store examples beside the model."""
    document = {"rows": examples.rows, "answers": examples.answers}
    return artifacts.put_bytes(json.dumps(document, allow_nan=False).encode(), suffix=".json")


def read_examples(artifacts: ArtifactStore, artifact: Artifact) -> Examples:
    """Read examples, verified."""
    document = json.loads(artifacts.read_bytes(artifact))
    return Examples(rows=document["rows"], answers=document["answers"])
