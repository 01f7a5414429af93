"""Extract: from the definition's sources to a time-ordered, content-hashed snapshot."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlmodel import Session

from base.artifacts import ArtifactStore
from base.errors import ArgumentError, DataRefused, DefinitionError, Fault, RunFailed
from base.expectations.asking import load_expectations_ahead
from base.fingerprint import digest_document
from base.pipeline import Pipeline
from base.references import Rows, Snapshot
from base.rows.duck import open_duckdb, quote_name
from base.rows.personal import has_personal, personal_key, protect_columns
from base.rows.reading import POSITION, SEGMENT, drop_positions, view_rows
from base.settings import Settings
from base.sources.files import FileStates
from base.sources.reading import Site, name_source
from base.user_code import UserCode
from registry.snapshots import find_snapshot, newest_snapshot, read_snapshot, record_snapshot
from tasks.execution import RunContext, RunReference, execute_step, is_transient, open_context
from tasks.found_sources import Found, look_at_sources
from tasks.snapshot_growth import Earlier, Extraction, grow_snapshot


def extract_data(
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    *,
    code: UserCode,
    as_of: datetime | None,
    settings: Settings | None = None,
) -> Snapshot:
    """Read all the source's rows, order them by time, and store those whose target was known at *as_of*.

    Raises
    ------
    DataRefused
        If the source cannot be read, or holds no row.
    DefinitionError
        If the source does not exist, the target's expression cannot be computed, or *as_of* is given where the
        definition names no time.
    UserCodeError
        If the source is a function of the user's code, and fails.
    """
    return extract_rows(pipeline, artifacts, code=code, as_of=as_of, settings=settings).snapshot


def extract_rows(
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    *,
    code: UserCode,
    as_of: datetime | None,
    settings: Settings | None = None,
    earlier: Earlier | None = None,
    found: Found | None = None,
) -> Extraction:
    """Extract as :func:`extract_data` does, reading no more than what is new since an *earlier* snapshot.

    Parameters
    ----------
    as_of : datetime, optional
        The moment from which to look: rows newer than it, or whose target was still to come (the label
        delay), are left out. Without it, every row there is.
    earlier : Earlier, optional
        A snapshot of the same source to grow from; without it, all rows are read.
    found : Found, optional
        The files of the sources, where they have been looked at already.
    """
    spec = pipeline.spec
    if as_of is not None and spec.time is None:
        raise DefinitionError(
            f"pipeline {pipeline.name!r} cannot be trained as of {as_of:%Y-%m-%d %H:%M}, since nothing says when its "
            "rows happened; name that column under key 'time', or leave the moment out",
            file=str(pipeline.file),
            key="time",
        )
    site = open_site(pipeline, code, settings or Settings())
    with tempfile.TemporaryDirectory(prefix="everfit-extract-") as into:
        found = look_at_sources(spec.extract, site, _known(earlier)) if found is None else found
        latest = None if as_of is None else as_of - spec.extract.label_delay
        # What grows must be whole: its newest rows are hidden from this run, and there for the next one.
        grows = spec.extract.incremental is not None
        extraction = grow_snapshot(
            pipeline,
            artifacts,
            site,
            found,
            earlier=earlier,
            latest=None if grows else latest,
            into=Path(into),
        )
    if grows and latest is not None and spec.time is not None:
        seen = hide_after(artifacts, extraction.whole, spec.time, latest)
        extraction = replace(extraction, snapshot=seen)
    if extraction.snapshot.n_rows == 0:
        moment = f" as of {as_of:%Y-%m-%d %H:%M} UTC" if as_of is not None else ""
        raise DataRefused(
            f"source {name_source(spec.extract.main_source)!r}",
            [Fault(None, f"no rows{moment}", "at least one row")],
            "Look whether the source was filled, or ask for a later moment.",
        )
    return extraction


def open_site(pipeline: Pipeline, code: UserCode, settings: Settings) -> Site:
    """Say where a pipeline's sources are read, and how what is personal in them is hidden."""
    if not has_personal(pipeline.contract):
        return Site(pipeline.folder, settings, code)
    key = personal_key(settings)
    protect = partial(protect_columns, contract=pipeline.contract, key=key)
    return Site(pipeline.folder, settings, code, protect=protect, is_open=False)


def hide_after(artifacts: ArtifactStore, snapshot: Snapshot, time: str, latest: datetime) -> Snapshot:
    """Return the snapshot without the rows after a moment, or without one; no row is written anew."""
    column = quote_name(time)
    hidden: dict[int, list[int]] = {}
    with open_duckdb() as connection:
        view_rows(connection, artifacts, snapshot.rows)
        places = connection.execute(
            f"SELECT {SEGMENT}, {POSITION} FROM rows WHERE {column} > $latest OR {column} IS NULL", {"latest": latest}
        )
        while chunk := places.fetchmany(100_000):
            for segment, position in chunk:
                hidden.setdefault(segment, []).append(position)
        (ends,) = connection.execute(
            f"SELECT min({column}), max({column}) FROM rows WHERE {column} <= $latest", {"latest": latest}
        ).fetchall()
    first, watermark = ends
    segments = []
    for index, segment in enumerate(snapshot.rows.segments):
        positions = hidden.get(index, [])
        if len(positions) < segment.n_stored - segment.n_dropped:
            segments.append(drop_positions(artifacts, segment, positions))
    return snapshot.model_copy(
        update={
            "rows": Rows(segments=tuple(segments), time=time),
            "first": first,
            "watermark": watermark,
            "parent": snapshot.digest,
        }
    )


@task(name="extract", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[2, 10], retry_condition_fn=is_transient)
def extract_step(run: RunReference, as_of: datetime | None, snapshot: str | None = None) -> Snapshot:
    """Extract the rows of a run's pipeline, reuse the snapshot of an unchanged source, or take an earlier one."""
    context = open_context(run)
    load_expectations_ahead()
    if snapshot is not None:
        return _take_earlier(context, snapshot, as_of)
    spec, artifacts, log = context.pipeline.spec, context.registry.artifacts, get_run_logger()
    parameters = {
        "extract": spec.extract.model_dump(mode="json", exclude_defaults=True),
        "time": spec.time,
        "target": spec.model_dump(mode="json")["target"],
        "as_of": as_of,
        "code": context.code.digest if spec.extract.uses_code else None,
        "personal": _personal(context.pipeline),
    }
    grows = spec.extract.incremental is not None
    # A snapshot grows only out of one of the same source, seen from the same moment.
    source = digest_document({**parameters, "as_of": None if grows else as_of})
    earlier = _find_earlier(context, source)
    found = look_at_sources(spec.extract, open_site(context.pipeline, context.code, context.settings), _known(earlier))
    done: list[Extraction] = []

    def work() -> Snapshot:
        extraction = extract_rows(
            context.pipeline,
            artifacts,
            code=context.code,
            as_of=as_of,
            settings=context.settings,
            earlier=earlier,
            found=found,
        )
        done.append(extraction)
        counts = ", ".join(f"{count:,} {what}" for what, count in extraction.counts.items())
        log.info("extract read %s: rows %s", extraction.how, counts)
        return extraction.snapshot

    def record(session: Session) -> None:
        # The state moves in the transaction that records the step, and only together with the rows it is about.
        for extraction in done:
            if not is_complete(artifacts, extraction.whole):
                problem = "files of the snapshot that it grew from were deleted meanwhile"
                raise RunFailed(f"run {run.id} cannot keep what it extracted: {problem}; run again")
            state = {**extraction.state, "run": run.id}
            n_new = sum(extraction.counts.get(what, 0) for what in ("new", "late", "corrected"))
            name, whole = context.pipeline.name, extraction.whole
            if (merged := extraction.compacted) is not None:
                record_snapshot(
                    session, name, merged.snapshot, source=source, state=merged.state, n_new=0, run_id=run.id
                )
            record_snapshot(session, name, whole, source=source, state=state, n_new=n_new, run_id=run.id)
            if extraction.snapshot.digest != whole.digest:
                seen = digest_document({"source": source, "as_of": as_of})
                record_snapshot(session, name, extraction.snapshot, source=seen, state={}, n_new=0, run_id=run.id)

    return execute_step(
        context,
        "extract",
        work,
        output=Snapshot,
        parameters=parameters,
        inputs={"source": found.digest or f"asked in run {run.id}"},
        log=log,
        also=record,
    )


def is_complete(artifacts: ArtifactStore, snapshot: Snapshot) -> bool:
    """Tell whether all files of a snapshot are there."""
    segments = snapshot.rows.segments
    return all(artifact in artifacts for segment in segments for artifact in (segment.artifact, *segment.dropped))


def _find_earlier(context: RunContext, source: str) -> Earlier | None:
    with context.registry.database.read() as session:
        row = newest_snapshot(session, context.pipeline.name, source=source)
        earlier = None if row is None else Earlier(read_snapshot(row), dict(row.state))
    return earlier if earlier is not None and is_complete(context.registry.artifacts, earlier.snapshot) else None


def _take_earlier(context: RunContext, digest: str, as_of: datetime | None) -> Snapshot:
    if as_of is not None:
        raise ArgumentError("a run takes a snapshot or looks from a moment, not both; leave one of them out")
    with context.registry.database.read() as session:
        snapshot = read_snapshot(find_snapshot(session, context.pipeline.name, digest))
    return execute_step(
        context,
        "extract",
        lambda: snapshot,
        output=Snapshot,
        parameters={"snapshot": snapshot.digest},
        inputs={"snapshot": snapshot.digest},
        log=get_run_logger(),
    )


def _personal(pipeline: Pipeline) -> dict[str, Any] | None:
    columns = {} if pipeline.contract is None else pipeline.contract.columns
    return {name: rule.personal for name, rule in columns.items() if rule.personal is not None} or None


def _known(earlier: Earlier | None) -> FileStates | None:
    return None if earlier is None else earlier.state.get("files")
