"""What a model version carries: everything that serving and monitoring need, in one document."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from base.artifacts import Artifact, ArtifactStore
from base.candidates import WindowChoice
from base.log_spec import LogSpec
from base.metrics import Task
from base.references import Metric, Reference
from base.request_contract import RequestContract, as_request_contract
from base.train_spec import TrainingWindow
from base.user_code import UserCode
from features.feature_plan import FeaturePlan


class SiblingModel(Reference):
    """The judged model of a version whose deployed model was fitted on more rows: what differs in its manifest."""

    model_file: Artifact
    plan: FeaturePlan
    classes: tuple[str | int | float | bool, ...] | None
    examples: Artifact
    first: datetime | None
    learnt_until: datetime | None


class ModelManifest(BaseModel):
    """A model with its signature, code, threshold and reference; rolling back restores them together.

    ``contract`` is the signature: what a request's rows must be. ``examples`` are a few real rows with the
    answers that training gave them, by which a loaded model is warmed and proven. ``reference`` holds a
    sample of the test rows (inputs, target and prediction), against which drift is measured; ``profile`` is what a
    check needs to know of it (:class:`monitoring.drift.profile.ReferenceProfile`; older versions have none).
    ``personal_key`` names the key under which personal values were hashed, where there are any.

    ``metrics`` are those of the judged model. Where ``deployed`` is ``full``, that is the ``sibling``, trained without
    the newest rows and judged on them, while the model that serves was fitted by the same recipe on all rows up to
    ``learnt_until``; the predictions in ``reference`` are then the sibling's too, since the deployed model has learnt
    from those rows.

    ``key`` names the columns that say whom or what a row is about, and ``label_delay`` how long after its time a row's
    target is known. ``log`` is how its predictions are logged. ``race`` is what chose the training ``window``, where
    there was a race; a later training may go by it too.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    task: Task
    target: str
    time: str | None
    classes: tuple[str | int | float | bool, ...] | None
    estimator: str
    parameters: dict[str, Any]
    seed: int
    model_file: Artifact
    plan: FeaturePlan
    contract: Annotated[RequestContract, BeforeValidator(as_request_contract)]
    code: dict[str, Artifact]
    threshold: float
    examples: Artifact
    reference: Artifact
    report: Artifact | None = None
    metrics: dict[str, Metric]
    snapshot: str
    first: datetime | None
    learnt_until: datetime | None = None
    watermark: datetime | None
    libraries: dict[str, str]
    environment: str
    personal_key: str | None = None
    window: TrainingWindow | None = None
    run: str | None = None
    onnx: Artifact | None = None
    onnx_reason: str | None = None
    signature: str | None = None
    deployed: Literal["full", "sibling"] = "sibling"
    sibling: SiblingModel | None = None
    key: tuple[str, ...] = ()
    label_delay: timedelta = timedelta(0)
    log: LogSpec = LogSpec()
    profile: Artifact | None = None
    race: WindowChoice | None = None

    @property
    def has_examples(self) -> bool:
        """Whether there are rows to prove it by; a backtest's packages, which nobody serves, name their model there."""
        return self.examples != self.model_file

    def as_sibling(self) -> ModelManifest | None:
        """The manifest of the judged model, where another one is deployed; it has not seen the newest rows."""
        if self.sibling is None:
            return None
        differing = {name: getattr(self.sibling, name) for name in SiblingModel.model_fields}
        return self.model_copy(update=differing | {"deployed": "sibling", "sibling": None, "onnx": None})

    def load_code(self, artifacts: ArtifactStore) -> UserCode:
        """Load the user's code that the model was trained with, verified by digest."""
        return UserCode({name: artifacts.read_bytes(artifact) for name, artifact in self.code.items()})


class ChampionReference(Reference):
    """Against whom a run's challenger is judged: the version, and where its alias stood."""

    number: int | None
    revision: int
    manifest: dict[str, Any] | None

    def load(self) -> ModelManifest | None:
        """The champion's manifest, if there is a champion."""
        return None if self.manifest is None else ModelManifest.model_validate(self.manifest)
