"""What is found out about models on their way to serving: candidates, evaluation, verdict, promotion."""

from __future__ import annotations

from typing import Any, Literal

from base.artifacts import Artifact
from base.references import Metric, Reference


class Candidate(Reference):
    """One fit: an estimator with its parameters, and what it reached on the validation rows."""

    estimator: str
    parameters: dict[str, Any]
    validation_loss: float | None = None
    fit_seconds: float = 0.0
    error: str | None = None


class Candidates(Reference):
    """All fits of a run, and the model of the best, fitted on train and validation rows."""

    candidates: tuple[Candidate, ...]
    chosen: int
    model: Artifact
    seed: int


class SliceMetrics(Reference):
    """The metrics over the rows where *column* has *value*."""

    column: str
    value: str
    n_rows: int
    metrics: dict[str, Metric]


class Evaluation(Reference):
    """What a model, and beside it the champion and a trivial baseline, reached on the same unseen rows."""

    n_rows: int
    metrics: dict[str, Metric]
    baseline: dict[str, Metric]
    champion: dict[str, Metric] | None
    champion_version: int | None
    n_seen_by_champion: int = 0
    slices: tuple[SliceMetrics, ...]
    losses: Artifact
    report: Artifact


class Check(Reference):
    """One question of the gate, with its answer and the figures behind it."""

    name: str
    passed: bool
    evidence: str


class Verdict(Reference):
    """Whether the challenger may serve, and why, as data."""

    outcome: Literal["first", "better", "worse", "cannot tell", "refused"]
    promote: bool
    reason: str
    loss: str
    difference: float | None
    interval: tuple[float, float] | None
    confidence: float
    n_rows: int
    n_blocks: int
    checks: tuple[Check, ...]
    champion_version: int | None
    champion_revision: int


class Promotion(Reference):
    """The registered model version, and whether the champion alias moved to it."""

    model: str
    version: int
    promoted: bool
    environment: str
    revision: int
    manifest: Artifact
