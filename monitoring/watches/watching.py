"""Look at what the watches of a pipeline look at, and file a trigger for each that is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from base.contract import DataContract
from base.documents import as_document
from base.errors import EverfitError
from base.fingerprint import digest_files
from base.pipeline import Pipeline, PipelineSpec
from base.settings import Settings
from base.sources.arrivals import Arrivals, Known, count_arrivals
from base.sources.cuts import Cut, read_watermark
from base.sources.reading import Site
from base.times import as_utc
from base.user_code import UserCode
from monitoring.desk import Taken, TriggerRequest, take
from monitoring.watches.due import Due, Seen, find_due
from registry.models import find_alias, find_version
from registry.pipelines import digest_pipeline, find_pipeline, list_pipelines
from registry.snapshots import newest_snapshot
from registry.store import Registry
from registry.tables import PipelineVersion, Run, SnapshotRow
from serving.labels.stored import KIND as LABELS
from serving.log.arrivals import find_last_write


@dataclass(frozen=True)
class Watched:
    """What was seen of a pipeline, what is due, and what became of it; ``trouble`` says why it could not be seen."""

    pipeline: str
    seen: Seen | None = None
    due: tuple[Due, ...] = ()
    taken: tuple[Taken, ...] = ()
    trouble: str = ""


def watch_all(
    registry: Registry, settings: Settings, now: datetime, *, names: Sequence[str] | None = None
) -> list[Watched]:
    """Watch the registered pipelines, or some of them; trouble with one does not keep the others from being watched."""
    with registry.database.read() as session:
        chosen = list_pipelines(session) if names is None else names
    found = []
    for name in chosen:
        try:
            found.append(watch(registry, find_pipeline(registry, name), settings, now))
        except EverfitError as error:
            found.append(Watched(name, trouble=str(error)))
    return found


def watch(registry: Registry, pipeline: Pipeline, settings: Settings, now: datetime) -> Watched:
    """Look at a pipeline's source, labels, champion and definition, and file a trigger for each watch that is due.

    Looking again files nothing anew: a watch's key stays the same until what it looks at has changed.

    Raises
    ------
    SourceAway, SourceFailed, DataRefused, DefinitionError, UserCodeError
        If the source cannot be looked at.
    """
    spec = pipeline.spec.triggers
    seen = look(registry, pipeline, settings, now)
    due = find_due(spec, seen)
    taken = [
        take(
            registry,
            TriggerRequest(
                pipeline=pipeline.name,
                kind=one.kind,
                key=one.key,
                reason=one.reason,
                actor=f"watch {one.kind}",
                payload=as_document({"seen": _describe(seen)}),
            ),
            spec=spec,
            now=now,
        )
        for one in due
    ]
    return Watched(pipeline.name, seen, tuple(due), tuple(taken))


def look(registry: Registry, pipeline: Pipeline, settings: Settings, now: datetime) -> Seen:
    """See what the watches of a pipeline look at; what none of them asks for is not looked at."""
    spec = pipeline.spec.triggers
    with registry.database.read() as session:
        alias = find_alias(session, registry.environment, pipeline.name)
        version = None if alias is None else find_version(session, pipeline.name, alias.number)
        if version is None:
            return Seen(now)
        snapshot = newest_snapshot(session, pipeline.name)
        changed_to = _find_change(session, pipeline) if spec.on_change else None
        labels = None if spec.expect_labels is None else find_last_write(session, settings.home, pipeline.name, LABELS)
    arrivals = None
    if spec.new_data is not None or spec.expect_data is not None:
        arrivals = _count(pipeline, settings, snapshot)
    return Seen(
        now,
        champion=version.number,
        trained_at=as_utc(version.created_at),
        snapshot=None if snapshot is None else snapshot.digest,
        arrivals=arrivals,
        last_labels=labels,
        changed_to=changed_to,
    )


def _count(pipeline: Pipeline, settings: Settings, snapshot: SnapshotRow | None) -> Arrivals:
    incremental = pipeline.spec.extract.incremental
    state = {} if snapshot is None else snapshot.state
    watermark = None if incremental is None else read_watermark(state.get("watermark"))
    known = Known(
        files=state.get("files"),
        cut=None if incremental is None or watermark is None else Cut(incremental.watermark, watermark),
        n_rows=0 if snapshot is None else snapshot.n_rows,
    )
    site = Site(pipeline.folder, settings, UserCode(pipeline.code))
    return count_arrivals(pipeline.spec.extract.main_source, site, known)


def _find_change(session: Session, pipeline: Pipeline) -> str | None:
    """Return the definition's digest where it is not what was trained last."""
    ran = select(Run.pipeline_version).where(Run.pipeline == pipeline.name).order_by(col(Run.started_at).desc())
    digest = session.exec(ran.limit(1)).first()
    now = digest_pipeline(pipeline)
    if digest is None or digest == now:
        return None
    trained = session.get_one(PipelineVersion, digest).package
    # A later Everfit may know more keys, each with a default: that is no change of the definition.
    before = PipelineSpec.model_validate(trained["spec"]).model_dump(mode="json", exclude_defaults=True)
    is_same = (
        before == pipeline.spec.model_dump(mode="json", exclude_defaults=True)
        and _plain_contract(trained["contract"]) == _plain_contract(pipeline.contract)
        and trained["code_digest"] == digest_files(pipeline.code)
    )
    return None if is_same else now


def _plain_contract(contract: object) -> dict[str, Any] | None:
    return None if contract is None else DataContract.model_validate(contract).model_dump(exclude_defaults=True)


def _describe(seen: Seen) -> dict[str, object]:
    arrived = seen.arrivals
    return {
        "champion": seen.champion,
        "trained_at": seen.trained_at,
        "snapshot": seen.snapshot,
        "n_new_rows": None if arrived is None else arrived.n_rows,
        "n_new_bytes": None if arrived is None else arrived.n_bytes,
        "newest": None if arrived is None else arrived.newest,
        "last_labels": seen.last_labels,
    }
