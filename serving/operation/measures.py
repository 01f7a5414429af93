"""What is measured of a service: from its counts, its log's accounts and the registry, when somebody asks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from base.times import utc_now
from serving.operation.families import Family
from serving.operation.tallies import BOUNDS_SECONDS, Tallies

if TYPE_CHECKING:
    from registry.store import Registry
    from registry.tables import WindowRow
    from serving.loading.follower import Follower
    from serving.log.accounts import Accounts


@dataclass
class Watched:
    """What of the registry is measured: the newest monitoring windows, read now and then in the background.

    Of a model's newest window the labels may still be waited for: ``labelled`` is the newest one whose loss is known.
    """

    windows: dict[str, WindowRow] = field(default_factory=dict)
    labelled: dict[str, WindowRow] = field(default_factory=dict)

    def refresh(self, registry: Registry) -> None:
        """Read the newest windows of each model."""
        from sqlalchemy import func
        from sqlmodel import col, select

        from registry.tables import WindowRow

        newest = select(func.max(col(WindowRow.id))).group_by(col(WindowRow.model))
        labelled = newest.where(col(WindowRow.labels_checked_at).is_not(None))
        with registry.database.read() as session:
            self.windows, self.labelled = (
                {row.model: row for row in session.exec(select(WindowRow).where(col(WindowRow.id).in_(chosen)))}
                for chosen in (newest, labelled)
            )


def measure_requests(tallies: Tallies) -> Iterator[Family]:
    """Measure what one worker has counted of its requests."""
    requests = Family("everfit_requests", "counter", "Requests by address and status.", ("route", "status"))
    seconds = Family(
        "everfit_request_seconds",
        "histogram",
        "Seconds from a request's header to the end of its answer, by address and by the path that scored it.",
        ("route", "path"),
        bounds=BOUNDS_SECONDS,
    )
    for template, tally in list(tallies.by_template.items()):
        for status, count in list(tally.statuses.items()):
            requests.set(count, template, str(status))
        for path, latencies in list(tally.latencies.items()):
            seconds.set([*latencies.counts, latencies.total_ns / 1e9], template, path or "none")
    rows = Family("everfit_rows", "counter", "Rows that were answered.", ("model", "path"))
    for (model, path), count in list(tallies.rows.items()):
        rows.set(count, model, path or "none")
    refused = Family("everfit_refused_requests", "counter", "Requests refused before the service.", ("reason",))
    for reason, count in list(tallies.refusals.items()):
        refused.set(count, reason)
    hooks = Family("everfit_hooks", "counter", "Hooks by what became of them.", ("outcome",))
    for outcome, count in list(tallies.hooks.items()):
        hooks.set(count, outcome)
    in_flight = Family("everfit_requests_in_flight", "gauge", "Requests that are being answered.")
    yield from (requests, seconds, rows, refused, hooks, in_flight.set(tallies.in_flight))


def measure_log(accounts: Accounts) -> Iterator[Family]:
    """Measure what became of the rows that one worker took in."""
    rows = Family(
        "everfit_log_rows",
        "counter",
        "Rows by what became of them: accepted = stored + rejected + in flight.",
        ("model", "outcome", "reason"),
    )
    in_flight = Family("everfit_log_rows_in_flight", "gauge", "Rows neither stored nor rejected yet.", ("model",))
    for model, totals in accounts.snapshot().items():
        rows.set(totals.accepted, model, "accepted", "").set(totals.stored, model, "stored", "")
        rows.set(totals.shadow, model, "shadow", "")
        for reason, count in totals.rejected.items():
            rows.set(count, model, "rejected", reason)
        in_flight.set(totals.in_flight, model)
    yield from (rows, in_flight)


def measure_labels(accounts: Accounts) -> Iterator[Family]:
    """Measure what became of the labels that one worker took in."""
    labels = Family(
        "everfit_labels",
        "counter",
        "Labels by what became of them: accepted = stored + rejected (repeated, refused, …).",
        ("model", "outcome", "reason"),
    )
    for model, totals in accounts.snapshot().items():
        labels.set(totals.accepted, model, "accepted", "").set(totals.stored, model, "stored", "")
        for reason, count in totals.rejected.items():
            labels.set(count, model, "rejected", reason)
    yield labels


def measure_models(follower: Follower) -> Iterator[Family]:
    """Measure which versions serve, how old they are and which ones were refused."""
    now = utc_now()
    in_service = Family("everfit_model_version", "gauge", "Version in service as champion.", ("model", "path"), "max")
    age = Family("everfit_model_age_seconds", "gauge", "Since the version was registered.", ("model",), "max")
    data_age = Family("everfit_model_data_age_seconds", "gauge", "Since the last row it knows.", ("model",), "max")
    for model, served in follower.served.items():
        in_service.set(served.version.number, model, served.scorer.path)
        age.set((now - served.version.created_at).total_seconds(), model)
        if served.manifest.watermark is not None:
            data_age.set((now - served.manifest.watermark).total_seconds(), model)
    refused = Family("everfit_model_refused", "gauge", "Champion that cannot serve.", ("model", "version"), "max")
    for model, one in follower.refused.items():
        refused.set(1, model, str(one.number))
    share = Family("everfit_rollout_share", "gauge", "Part of the traffic of a version.", ("model", "version"), "max")
    for model in follower.served:
        rollout = follower.find_rollout(model)
        if rollout is not None:
            for number, part in rollout.state.shares.items():
                share.set(float(part), model, str(number))
    readable = Family("everfit_registry_readable", "gauge", "1 while the registry answers.", merge="min")
    yield from (in_service, age, data_age, refused, share, readable.set(0 if follower.trouble else 1))


def measure_windows(watched: Watched) -> Iterator[Family]:
    """Measure what monitoring found last: drift by column, performance, and when."""
    drift = Family("everfit_drift", "gauge", "Effect beside the reference, newest window.", ("model", "column"), "max")
    metrics = Family("everfit_monitored_metric", "gauge", "Metric, newest labelled window.", ("model", "metric"), "max")
    age = Family("everfit_monitored_age_seconds", "gauge", "Since the newest window ended.", ("model",), "max")
    now = utc_now()
    for model, row in watched.windows.items():
        age.set((now - row.stop).total_seconds(), model)
        for column in row.drift.get("columns", ()):
            drift.set(float(column["effect"]), model, column["column"])
    for model, row in watched.labelled.items():
        for name, value in row.metrics.items():
            if isinstance(value, int | float):
                metrics.set(float(value), model, name)
    yield from (drift, metrics, age)


def measure_process() -> Iterator[Family]:
    """Measure one worker's process."""
    memory = Family("everfit_resident_bytes", "gauge", "Memory in use by all workers.").set(_resident_bytes())
    started = Family("everfit_start_time_seconds", "gauge", "When the oldest worker started.", merge="min")
    workers = Family("everfit_workers", "gauge", "Workers that count in these figures.").set(1)
    build = Family("everfit_build", "gauge", "Everfit's version.", ("version",), "max").set(1, _version())
    yield from (memory, started.set(_STARTED), workers, build)


_STARTED = time.time()


def _resident_bytes() -> float:
    try:
        return float(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return float("nan")


def _version() -> str:
    try:
        return version("everfit")
    except PackageNotFoundError:
        return "unknown"
