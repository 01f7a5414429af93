"""The account of a live pipeline: its registry's trainings and reigns, its log's rows, and the labels that came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import pandas as pd
from sqlmodel import Session, col, select

from base.monitor_spec import Window
from base.pipeline import PipelineSpec
from base.references import Reference
from base.settings import Settings
from base.signatures import signing_keys
from base.times import Duration
from monitoring.performance import is_comparable
from monitoring.pnl.accounts import ProfitAndLoss
from monitoring.pnl.assessment import assess
from monitoring.pnl.comparison import MOST_ROWS, Versions, compare_reign
from monitoring.pnl.served_rows import ReignRows, list_reigns, read_served_rows
from monitoring.pnl.trainings import read_trainings
from monitoring.policies.loss_units import full_loss
from registry.manifest import ModelManifest
from registry.store import Registry
from registry.tables import ModelVersion, PipelineVersion, Run
from registry.triggers import find_triggers_spec


class LiveAccount(Reference):
    """What a pipeline's trainings were worth at a moment, and in what terms.

    ``window`` is the unit, with what a full loss is in ``full`` (for values; 1 for classes). Of a reign at most
    ``most_rows`` rows are compared.
    """

    pipeline: str
    environment: str
    moment: datetime
    window: Window
    label_delay: Duration
    price: str | float
    full: float
    most_rows: int
    account: ProfitAndLoss


def keep_account(
    registry: Registry,
    settings: Settings,
    pipeline: str,
    *,
    now: datetime,
    since: datetime | None = None,
    most_rows: int = MOST_ROWS,
    tell: Callable[[str], None] = lambda _: None,
) -> LiveAccount:
    """Hold what each training of a pipeline brought against what it cost, by the labels that were known at *now*.

    The log is read once without its inputs, and then once for each reign whose version before has to be asked again.
    Nothing is kept.

    Parameters
    ----------
    since : datetime, optional
        Only trainings that began since then, and rollbacks.
    tell : callable
        Is told each step.

    Raises
    ------
    ArgumentError
        If no pipeline of that name is registered.
    SegmentDamaged, ArtifactMissing, ArtifactCorrupt
        If the log cannot be read.
    """
    environment = registry.environment
    with registry.database.read() as session:
        triggers = find_triggers_spec(session, pipeline)
        spec = _find_spec(session, pipeline)
        reigns = list_reigns(session, environment, pipeline)
    window, label_delay = spec.monitor.window, spec.extract.label_delay
    rows = read_served_rows(settings.home, pipeline, registry, reigns, window=window, label_delay=label_delay, now=now)
    tell("log and labels read")
    with registry.database.read() as session:
        trainings = read_trainings(
            session, pipeline, spec=triggers, seconds_of_window=rows.seconds_of_window, since=since
        )
    full = _full_loss(registry, pipeline, rows.of_reigns)
    versions = Versions(
        registry=registry,
        home=settings.home,
        model=pipeline,
        keys=signing_keys(settings),
        is_signature_required=settings.require_signature,
        trusted=settings.trusted_types,
    )
    asked = {training.version for training in trainings}
    compared = []
    for reign, found in zip(reigns, rows.of_reigns, strict=True):
        if reign.is_rollback and since is not None and reign.since < since:
            continue
        if reign.is_rollback or reign.version in asked:
            compared.append(compare_reign(reign, found, versions, shadows=rows.shadows, full=full, most_rows=most_rows))
            tell(f"version {reign.version} held against version {reign.previous}")
    return LiveAccount(
        pipeline=pipeline,
        environment=environment,
        moment=now,
        window=window,
        label_delay=label_delay,
        price=triggers.price,
        full=full,
        most_rows=most_rows,
        account=assess(trainings, compared),
    )


def _find_spec(session: Session, pipeline: str) -> PipelineSpec:
    """Return the definition that trained last, or was registered last where none has."""
    trained = select(Run.pipeline_version).where(Run.pipeline == pipeline).order_by(col(Run.started_at).desc()).limit(1)
    digest = session.exec(trained).first()
    query = select(PipelineVersion).where(PipelineVersion.pipeline == pipeline)
    query = query.order_by(col(PipelineVersion.created_at).desc())
    version = session.exec(query if digest is None else query.where(PipelineVersion.digest == digest)).first()
    assert version is not None  # its triggers were found
    return PipelineSpec.model_validate(version.package["spec"])


def _full_loss(registry: Registry, model: str, reigns: Sequence[ReignRows]) -> float:
    """Return what a full loss is over all labelled rows, so that the trainings' figures can be added up."""
    with registry.database.read() as session:
        query = select(ModelVersion).where(ModelVersion.model == model).order_by(col(ModelVersion.number).desc())
        newest = session.exec(query.limit(1)).first()
    if newest is None or ModelManifest.model_validate(newest.manifest).task == "classification":
        return 1.0
    frames = [reign.labelled[is_comparable(reign.labelled, None)] for reign in reigns if len(reign.labelled)]
    values = [pd.to_numeric(frame["value"]) for frame in frames]
    return full_loss("regression", pd.concat(values).to_numpy()) if values and sum(map(len, values)) else 1.0
