"""OpenLineage: a run and its steps as events of that standard, for whatever collects lineage."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlmodel import Session

from base.times import utc_now
from registry.runs import RUNNING, list_steps
from registry.store import Registry
from registry.tables import PipelineVersion, Run, StepExecution

_log = logging.getLogger(__name__)
_PRODUCER = "urn:everfit"
_NAMESPACE = "everfit"
_ONE_REQUEST_SECONDS = 1.0
_ALL_REQUESTS_SECONDS = 3.0
# Names of runs are made of Everfit's own, so that the same run always has the same name there.
_NAMES = uuid.UUID("6b0a9a0e-6a4b-5c0e-9a70-1f7f6a2f0c11")
_INPUTS = {
    "extract": (),
    "validate_data": ("extract",),
    "prepare": ("validate_data",),
    "train": ("prepare",),
    "evaluate": ("prepare", "train"),
    "validate_model": ("evaluate",),
    "refit": ("prepare", "train", "validate_model"),
    "promote": ("refit", "validate_model"),
}
_FAILED = frozenset({"failed", "refused"})


def describe_run(session: Session, run: Run) -> list[dict[str, Any]]:
    """Describe a run and its steps as OpenLineage events, in the order in which they happened.

    The run is a job of its own, each step a job below it. A step reads the datasets that the steps before it wrote:
    the snapshot, the good rows, the prepared rows, the model, named by their digests as versions of a dataset.

    Returns
    -------
    list of dict
        Valid under the OpenLineage 2-0-2 schema: START and COMPLETE of each, FAIL where the run failed.
    """
    package = session.get_one(PipelineVersion, run.pipeline_version).package
    steps = list_steps(session, run.id)
    events = [_event("START", run, None, run.started_at, package=package)]
    written: dict[str, list[Any]] = {}
    for step in steps:
        outputs = _outputs(run, step)
        inputs = [dataset for name in _INPUTS.get(step.step, ()) for dataset in written.get(name, ())]
        if step.step == "extract":
            inputs = [_source(package)]
        written[step.step] = outputs
        began = step.finished_at - timedelta(seconds=step.seconds)
        events.append(_event("START", run, step, began, inputs=inputs))
        events.append(_event("COMPLETE", run, step, step.finished_at, inputs=inputs, outputs=outputs))
    if run.status != RUNNING:
        events.append(_end(run, package, written))
    return [json.loads(_serialize(event)) for event in events]


def send_events(events: Sequence[Mapping[str, Any]], target: str, *, client: Any = None) -> int:
    """Append events to a file, one JSON document a line, or post them to an address; return how many were taken.

    Raises
    ------
    OSError, httpx.HTTPError
        If the target does not take them; posting all of them takes 3 seconds at most.
    """
    if not target.startswith(("http://", "https://")):
        file = Path(target)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{json.dumps(event, ensure_ascii=False)}\n" for event in events)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(text)
        return len(events)
    import httpx

    deadline = utc_now() + timedelta(seconds=_ALL_REQUESTS_SECONDS)
    with client or httpx.Client(timeout=_ONE_REQUEST_SECONDS) as http:
        for number, event in enumerate(events):
            if utc_now() > deadline:
                raise httpx.TimeoutException(
                    f"{number} of {len(events)} events were taken in {_ALL_REQUESTS_SECONDS} s"
                )
            http.post(target, json=event).raise_for_status()
    return len(events)


class LineageEmitter:
    """Sends what happens to a run to the target of the settings, and never holds the run up or lets it fail.

    What is sent is read from the registry, and sent from a thread. A target that did not
    take the beginning is not asked again at the end; the log says so once.
    """

    def __init__(self, target: str | None) -> None:
        self._target = target
        self._is_dead = False
        self._threads: list[threading.Thread] = []

    def begin(self, registry: Registry, run_id: str) -> None:
        """Send that a run begins."""
        self._emit(registry, run_id, slice(0, 1))

    def end(self, registry: Registry, run_id: str) -> None:
        """Send a run's steps and how it ended, and wait until they are taken: 3 seconds at most."""
        deadline = utc_now() + timedelta(seconds=_ALL_REQUESTS_SECONDS)
        self._wait(deadline)
        self._emit(registry, run_id, slice(1, None))
        self._wait(deadline)

    def _wait(self, deadline: datetime) -> None:
        for thread in self._threads:
            thread.join(max(0.0, (deadline - utc_now()).total_seconds()))

    def _emit(self, registry: Registry, run_id: str, part: slice) -> None:
        if self._target is None or self._is_dead:
            return
        try:
            with registry.database.read() as session:
                events = describe_run(session, session.get_one(Run, run_id))[part]
        except Exception:
            self._is_dead = True
            _log.warning("the lineage of run %s cannot be told as OpenLineage events", run_id, exc_info=True)
            return
        thread = threading.Thread(target=self._send, args=(events, run_id, self._target), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _send(self, events: Sequence[Mapping[str, Any]], run_id: str, target: str) -> None:
        try:
            send_events(events, target)
        except Exception as error:
            self._is_dead = True
            _log.warning(
                "the OpenLineage events of run %s were not taken by %s (%s: %s); the run goes on, and "
                "`everfit lineage VERSION --openlineage` sends them again",
                run_id,
                target,
                type(error).__name__,
                error,
            )


def _event(
    kind: str,
    run: Run,
    step: StepExecution | None,
    at: datetime,
    *,
    package: Mapping[str, Any] | None = None,
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    more: Mapping[str, Any] | None = None,
) -> Any:
    from openlineage.client.event_v2 import Job, RunEvent, RunState
    from openlineage.client.event_v2 import Run as LineageRun
    from openlineage.client.facet_v2 import job_type_job, ownership_job, parent_run, processing_engine_run

    facets: dict[str, Any] = dict(more or {})
    facets["processing_engine"] = processing_engine_run.ProcessingEngineRunFacet(version="0", name="everfit")
    job_facets: dict[str, Any] = {
        "jobType": job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration="EVERFIT", jobType="RUN" if step is None else "STEP"
        )
    }
    if owner := (package or {}).get("spec", {}).get("owner"):
        job_facets["ownership"] = ownership_job.OwnershipJobFacet(owners=[ownership_job.Owner(name=owner)])
    name, run_id = run.pipeline, _run_uuid(run.id)
    if step is not None:
        facets["parent"] = parent_run.ParentRunFacet(
            run=parent_run.Run(runId=run_id), job=parent_run.Job(namespace=_NAMESPACE, name=run.pipeline)
        )
        name, run_id = f"{run.pipeline}.{step.step}", _run_uuid(f"{run.id}/{step.id}")
    return RunEvent(
        eventTime=at.isoformat(),
        eventType=RunState[kind],
        run=LineageRun(runId=run_id, facets=facets),
        job=Job(namespace=_NAMESPACE, name=name, facets=job_facets),
        inputs=list(inputs),
        outputs=list(outputs),
        producer=_PRODUCER,
    )


def _end(run: Run, package: Mapping[str, Any], written: Mapping[str, list[Any]]) -> Any:
    from openlineage.client.facet_v2 import error_message_run

    more = {}
    if run.status in _FAILED:
        more["errorMessage"] = error_message_run.ErrorMessageRunFacet(message=run.reason, programmingLanguage="python")
    kind = "FAIL" if run.status in _FAILED else "COMPLETE"
    outputs = list(written.get("promote", ()))
    at = run.finished_at or utc_now()
    inputs = [_source(package)] if "extract" in written else []
    return _event(kind, run, None, at, package=package, inputs=inputs, outputs=outputs, more=more)


def _source(package: Mapping[str, Any]) -> Any:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import datasource_dataset

    extract = package["spec"]["extract"]
    name = str(extract.get("source") or extract.get("table") or extract.get("query") or "source")
    connection = str(extract.get("connection") or "file")
    facet = datasource_dataset.DatasourceDatasetFacet(name=connection, uri=name)
    return InputDataset(namespace=connection, name=name, facets={"dataSource": facet})


def _outputs(run: Run, step: StepExecution) -> list[Any]:
    """Name what a step wrote, with its columns and what was found of its quality."""
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset

    output = step.output
    facets: dict[str, Any] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=step.output_digest)
    }
    counts: dict[str, Any] = {}
    if step.step == "extract":
        facets["schema"] = _schema(output["columns"])
        counts["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=sum(each["n_stored"] - each["n_dropped"] for each in output["rows"]["segments"])
        )
    if step.step == "validate_data":
        facets["dataQualityMetrics"], facets["dataQualityAssertions"] = _quality(output)
    if step.step == "prepare":
        kinds = dict.fromkeys(output["numeric"], "number") | dict.fromkeys(output["categorical"], "category")
        facets["schema"] = _schema(kinds)
    names = {
        "extract": "snapshot",
        "validate_data": "good rows",
        "prepare": "prepared rows",
        "train": "judged model",
        "evaluate": "evaluation",
        "validate_model": "verdict",
        "refit": "package",
        "promote": "model",
    }
    name = f"{run.pipeline}/{names.get(step.step, step.step)}"
    return [OutputDataset(namespace=_NAMESPACE, name=name, facets=facets, outputFacets=counts)]


def _quality(output: Mapping[str, Any]) -> tuple[Any, Any]:
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as assertions
    from openlineage.client.facet_v2 import data_quality_metrics_dataset as metrics

    rows = output["n_rows"]
    found = [assertions.Assertion(assertion=f"no row where {what}", success=False) for what in output["reasons"]]
    quality = metrics.DataQualityMetricsDatasetFacet(columnMetrics={}, rowCount=rows)
    return quality, assertions.DataQualityAssertionsDatasetFacet(assertions=found)


def _schema(columns: Mapping[str, str]) -> Any:
    from openlineage.client.facet_v2 import schema_dataset

    fields = [schema_dataset.SchemaDatasetFacetFields(name=name, type=kind) for name, kind in columns.items()]
    return schema_dataset.SchemaDatasetFacet(fields=fields)


def _serialize(event: Any) -> str:
    from openlineage.client.serde import Serde

    return str(Serde.to_json(event))


def _run_uuid(name: str) -> str:
    return str(uuid.uuid5(_NAMES, name))
