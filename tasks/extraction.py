"""Extract: from the definition's source to a time-ordered, content-hashed snapshot."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.artifacts import ArtifactStore
from base.errors import DataRefused, DefinitionError, Fault, UserCodeError, nearest
from base.expectations import load_expectations_ahead
from base.pipeline import Pipeline, Target, is_function
from base.references import Snapshot
from base.sources import frame_to_table, normalise, parse_time, read_source, source_digest, table_types
from base.user_code import UserCode
from features.targets import compute_target
from tasks.execution import RunReference, execute_step, is_transient, open_context
from tasks.frames import store_rows


def extract_data(pipeline: Pipeline, artifacts: ArtifactStore, *, code: UserCode, as_of: datetime | None) -> Snapshot:
    """Read the source's rows, order them by time, and store those whose target was known at *as_of*.

    Parameters
    ----------
    as_of : datetime, optional
        The moment from which to look: rows newer than it, or whose target was still to come (the label
        delay), are left out. Without it, every row there is.

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
    spec = pipeline.spec
    if as_of is not None and spec.time is None:
        raise DefinitionError(
            f"pipeline {pipeline.name!r} cannot be trained as of {as_of:%Y-%m-%d %H:%M}, since nothing says when its "
            "rows happened; name that column under key 'time', or leave the moment out",
            file=str(pipeline.file),
            key="time",
        )
    table = normalise(_read(pipeline, code))
    if table.num_rows and spec.time is not None:
        if spec.time not in table.column_names:
            raise _no_time(pipeline, table, spec.time)
        table = _order_by_time(parse_time(table, spec.time), spec.time)
        if as_of is not None:
            table = _known_at(table, spec.time, as_of - spec.extract.label_delay)
    if table.num_rows == 0:
        moment = f" as of {as_of:%Y-%m-%d %H:%M} UTC" if as_of is not None else ""
        raise DataRefused(
            f"source {spec.extract.source!r}",
            [Fault(None, f"no rows{moment}", "at least one row")],
            "Look whether the source was filled, or ask for a later moment.",
        )
    if isinstance(spec.target, Target):
        name = spec.target.name
        target = normalise(pa.table({name: compute_target(table, spec.target)}))
        table = table.select([other for other in table.column_names if other != name])
        table = table.append_column(name, target[name])
    rows = store_rows(artifacts, table, time=spec.time)
    (segment,) = rows.segments
    return Snapshot(rows=rows, columns=table_types(table), first=segment.first, watermark=segment.last)


def fingerprint_source(pipeline: Pipeline, run_id: str) -> str:
    """Digest what the source holds now; a function's answer is unknown before it is called, so each run calls it."""
    source = pipeline.spec.extract.source
    return f"function in run {run_id}" if is_function(source) else source_digest(source, pipeline.folder)


def _read(pipeline: Pipeline, code: UserCode) -> pa.Table:
    source = pipeline.spec.extract.source
    if not is_function(source):
        return read_source(source, pipeline.folder)
    function = code.function(source)
    try:
        rows = function()
    except (Exception, SystemExit) as error:
        raise UserCodeError(source, f"raised {code.describe_error(error)}", "mend it and run again") from error
    if isinstance(rows, pa.Table):
        return rows
    if not isinstance(rows, pd.DataFrame):
        raise UserCodeError(source, f"returned {type(rows).__name__}", "return a DataFrame or a pyarrow Table")
    return frame_to_table(rows)


def _order_by_time(table: pa.Table, time: str) -> pa.Table:
    column = table[time].combine_chunks()
    if len(column) < 2 or (column.null_count == 0 and pc.all(pc.less_equal(column[:-1], column[1:])).as_py()):
        return table
    return table.take(pc.sort_indices(table, sort_keys=[(time, "ascending")]))


def _known_at(table: pa.Table, time: str, latest: datetime) -> pa.Table:
    moment = pa.scalar(latest, type=pa.timestamp("us", tz="UTC"))
    return table.filter(pc.less_equal(table[time], moment))


def _no_time(pipeline: Pipeline, table: pa.Table, name: str) -> DataRefused:
    found = ", ".join(table.column_names[:20])
    return DataRefused(
        f"source {pipeline.spec.extract.source!r}",
        [Fault(name, "no such column", f"the column that key 'time' names; there are {found}")],
        f"Correct 'time' in {pipeline.file.name}, or the source{nearest(name, table.column_names)}",
    )


@task(name="extract", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[2, 10], retry_condition_fn=is_transient)
def extract_step(run: RunReference, as_of: datetime | None) -> Snapshot:
    """Extract the rows of a run's pipeline, or reuse the snapshot of an unchanged source."""
    context = open_context(run)

    def work() -> Snapshot:
        load_expectations_ahead()
        return extract_data(context.pipeline, context.registry.artifacts, code=context.code, as_of=as_of)

    spec = context.pipeline.spec
    return execute_step(
        context,
        "extract",
        work,
        output=Snapshot,
        parameters={
            "extract": spec.extract.model_dump(mode="json"),
            "time": spec.time,
            "target": spec.model_dump(mode="json")["target"],
            "as_of": as_of,
            "code": context.code.digest if is_function(spec.extract.source) else None,
        },
        inputs={"source": fingerprint_source(context.pipeline, run.id)},
        log=get_run_logger(),
    )
