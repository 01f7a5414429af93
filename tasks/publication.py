"""Publish a run: what a person would look at, as artifacts in Prefect's UI and as a result for programs."""

from __future__ import annotations

import logging
import math
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from base.artifacts import Artifact
from base.documents import as_document
from base.judged import Judged, Promotion
from base.settings import Settings
from registry.store import Registry
from tasks.execution import RunReference, open_context

_log = logging.getLogger(__name__)


def publish_run(run: RunReference, judged: Judged, promotion: Promotion) -> dict[str, Any]:
    """Leave the verdict, the metrics and a link to the report in Prefect, and sum the run up.

    The link goes to the prediction service, since a browser opens no file from a page of a server. A Prefect
    server that has gone away meanwhile makes no failure of a training that is done.
    """
    context = open_context(run)
    report = locate_artifact(context.registry, judged.evaluation.report)
    try:
        _create_artifacts(run, judged, promotion, context.settings, report)
    except Exception:
        _log.warning("the artifacts of run %s could not be left in Prefect", run.id, exc_info=True)
    summary: dict[str, Any] = as_document(_summarise(run, judged, promotion, context.registry, report))
    return summary


def _create_artifacts(run: RunReference, judged: Judged, promotion: Promotion, settings: Settings, report: str) -> None:
    key = promotion.model.replace("_", "-")
    address = f"http://{settings.service_host}:{settings.service_port}/v1/models/{promotion.model}"
    create_markdown_artifact(
        describe_verdict(run, judged, promotion), key=f"{key}-verdict", description="The gate's verdict"
    )
    create_table_artifact(tabulate_metrics(judged), key=f"{key}-metrics", description="Metrics on the same unseen rows")
    page = judged.validated.page
    beside = "" if page is None else f", the validation page is {locate_artifact(open_context(run).registry, page)}"
    create_link_artifact(
        f"{address}/versions/{promotion.version}/report",
        key=f"{key}-report",
        link_text="Evaluation page",
        description=f"Served by the prediction service; the file is {report}{beside}",
    )


def _summarise(
    run: RunReference, judged: Judged, promotion: Promotion, registry: Registry, report: str
) -> dict[str, Any]:
    evaluation = judged.evaluation
    return {
        "run": run.id,
        "model": promotion.model,
        "version": promotion.version,
        "promoted": promotion.promoted,
        "waiting": promotion.waiting,
        "champion_before": judged.verdict.champion_version,
        "outcome": judged.verdict.outcome,
        "reason": judged.verdict.reason,
        "metrics": evaluation.metrics,
        "rows": judged.validated.n_rows,
        "rows_fitted": judged.data.validation.stop,
        "rows_judged": evaluation.n_rows,
        "quarantined": judged.validated.reasons,
        "left_out": judged.data.left_out,
        "rows_left_out": judged.data.rows_left_out,
        "warnings": judged.validated.warnings,
        "changes": judged.validated.changes,
        "validation": None if judged.validated.page is None else locate_artifact(registry, judged.validated.page),
        "report": report,
    }


def describe_verdict(run: RunReference, judged: Judged, promotion: Promotion) -> str:
    """Write the verdict as Markdown."""
    verdict = judged.verdict
    if promotion.promoted:
        served = " It is the champion now."
    elif promotion.waiting:
        served = " Its promotion waits for approval."
    elif verdict.champion_version is None:
        served = " There is no champion yet, so nothing is served."
    else:
        served = "" if verdict.reason.endswith("the champion stays") else " The champion stays."
    lines = [
        f"# {promotion.model} version {promotion.version}: {verdict.outcome}",
        f"{verdict.reason[0].upper()}{verdict.reason[1:]}.{served}",
        "",
        "| | |",
        "|---|---|",
        f"| run | {run.id} |",
        f"| rows fitted on | {judged.data.validation.stop:,} |",
        f"| rows judged on | {verdict.n_rows:,} |",
        f"| rows quarantined | {judged.validated.n_quarantined:,} |",
        f"| rules broken by rows that stay | {len(judged.validated.warnings):,} |",
        f"| data | {judged.data.first} to {judged.data.watermark} |",
    ]
    lines += [f"| rows left out | {count:,} {why} |" for why, count in judged.data.rows_left_out.items()]
    lines += [f"| {check.name} | {'yes' if check.passed else 'no'}: {check.evidence} |" for check in verdict.checks]
    return "\n".join(lines)


def tabulate_metrics(judged: Judged) -> list[dict[str, Any]]:
    """Set challenger, champion and baseline side by side, one row for each metric."""
    evaluation = judged.evaluation
    columns = {"challenger": evaluation.metrics, "champion": evaluation.champion, "baseline": evaluation.baseline}
    return [
        {"metric": name, **{model: _rounded(found.get(name)) for model, found in columns.items() if found is not None}}
        for name in evaluation.metrics
    ]


def locate_artifact(registry: Registry, artifact: Artifact) -> str:
    """Say where an artifact lies, as an address that a browser or fsspec opens."""
    url = registry.artifacts.url
    return f"{url}/{artifact.key}" if "://" in url else f"file://{url}/{artifact.key}"


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 5)
