"""`everfit demo`: continuous training on real data, in fast time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from base.times import describe_duration, parse_duration
from console.installation import read_settings
from console.prefect_logs import quiet_terminal

if TYPE_CHECKING:
    from base.pipeline import Pipeline
    from base.settings import Settings
    from console.output import Output
    from deployments.demonstration import DemoResult, DemoWindow
    from registry.store import Registry

_YEAR = 2013
_FIRST_TRAINING_MONTHS = 2


def demo_command(
    *, keep: bool, seed: int, month: int, weeks: int, label_delay: str | None = None, output: Output
) -> None:
    """Train a champion, let the world change, and watch the loop train, judge and promote its challenger.

    Raises
    ------
    ArgumentError
        If the months, weeks or label delay are none that can be replayed.
    """
    delay = None if label_delay is None else _read_delay(label_delay)
    if not _FIRST_TRAINING_MONTHS < month <= 12 or weeks < 1:
        raise ArgumentError(
            f"the replay starts in a month from 3 to 12 and lasts weeks, got month {month}, weeks {weeks}"
        )
    started = time.monotonic()
    from deployments.demonstration import demo_home, load_rows, replay, train_first, write_demo_pipeline
    from deployments.embedded import up, wait_for_signal

    start = datetime(_YEAR, month, 1, tzinfo=UTC)
    settings = read_settings()
    with demo_home(settings) as inner:
        pipeline = write_demo_pipeline(inner, seed=seed, label_delay=delay)
        stop = start + timedelta(weeks=weeks) + pipeline.spec.extract.label_delay
        say = _with_time(output, started)
        with up(inner, [pipeline], progress=say) as embedded:
            addresses = embedded.addresses
            say(f"Prefect UI {addresses.prefect_ui}, prediction service {addresses.service}")
            demo = load_rows(pipeline, inner, start=start, stop=stop)
            say(f"training the first champion on flights before {start:%Y-%m-%d}")
            train_first(pipeline.name, start)
            say(f"replaying {len(demo.rows):,} flights from {start:%Y-%m-%d} as live requests")
            with quiet_terminal():
                result = replay(demo, str(addresses.service), start=start, stop=stop, say=say)
            _show(result, output)
            _show_labels(pipeline, inner, demo.registry, stop, output)
            output.say(f"Prefect UI          {addresses.prefect_ui}")
            output.say(f"prediction service  {addresses.service}/v1/models/{pipeline.name}")
            output.say(f"registry and logs   {inner.home}")
            output.say(f"took {time.monotonic() - started:.0f} s")
            output.result(_as_json(result, addresses.prefect_ui, str(addresses.service)))
            if keep:
                output.say("the set-up keeps running; Ctrl-C stops it")
                wait_for_signal()


def _read_delay(text: str) -> timedelta:
    try:
        delay = parse_duration(text)
    except ValueError as error:
        raise ArgumentError(f"--label-delay is {text!r}: {error}") from error
    if not isinstance(delay, timedelta) or delay % timedelta(days=1):
        raise ArgumentError(f"--label-delay is {text!r}, expected whole days: the replay goes on day by day")
    return delay


def _show_labels(pipeline: Pipeline, settings: Settings, registry: Registry, until: datetime, output: Output) -> None:
    from serving.labels.status import read_label_status

    status = read_label_status(
        settings.home,
        pipeline.name,
        label_delay=pipeline.spec.extract.label_delay,
        grace=timedelta(seconds=settings.label_grace_seconds),
        until=until,
        registry=registry,
    )
    output.say(
        f"labels at {until:%Y-%m-%d}, due {describe_duration(status.label_delay)} after their flight: "
        f"{status.n_waiting:,} flights wait, {status.n_labelled:,} of {status.n_matured:,} due have theirs"
    )
    command = f"everfit labels status {pipeline.name} --until {until:%Y-%m-%d}"
    output.say(f"labels by day       EVERFIT_HOME={settings.home} {command}")


def _with_time(output: Output, started: float) -> Any:
    return lambda text: output.say(f"[{time.monotonic() - started:5.1f} s] {text}")


def _show(result: DemoResult, output: Output) -> None:
    rows = [
        [
            f"{window.row.start:%Y-%m-%d}",
            f"v{window.row.version}",
            f"{window.row.n_rows:,}",
            _figure(window.row.metrics.get(result.loss)),
            _figure(window.first_champion),
            f"{_drifted_share(window.row.drift):.0%}",
            window.row.outcome,
            _decided(window),
        ]
        for window in result.windows
    ]
    head = ["week of", "champion", "rows", f"{result.loss} served", "first champion's", "drifted", "found", "decided"]
    output.say()
    output.table(head, rows, title="Windows")
    output.say()
    for run in result.runs:
        output.say(f"run {run.id}, asked for by {run.trigger}: {run.status}; {run.reason}")
    output.say()
    counts = result.counts
    versions = ", ".join(f"{n:,} by version {number}" for number, n in sorted(counts.rows_by_version.items()))
    output.say(
        f"{counts.requests:,} requests, {counts.failed} failed; {counts.rows:,} rows answered ({versions}); "
        f"{counts.labels:,} labels came later"
    )
    served, first = _mean_losses(result)
    if served is not None and first is not None:
        output.say(f"mean {result.loss}: {served:.4f} as served, {first:.4f} had the first champion stayed")


def _decided(window: DemoWindow) -> str:
    if window.run is not None:
        verdict = window.run.reason.partition(":")[0]
        return f"train: {verdict}, {'served from then on' if window.run.status == 'promoted' else window.run.status}"
    return window.decision if window.decision in ("", "none") else f"{window.decision}: {window.reason}"


def _mean_losses(result: DemoResult) -> tuple[float | None, float | None]:
    """Average both losses over all labelled rows of the windows."""
    scored = [
        (window.row.n_labelled, window.row.metrics[result.loss], window.first_champion)
        for window in result.windows
        if window.first_champion is not None and result.loss in window.row.metrics
    ]
    total = sum(n for n, _, _ in scored)
    if not total:
        return None, None
    return sum(n * own for n, own, _ in scored) / total, sum(n * first for n, _, first in scored) / total


def _drifted_share(drift: dict[str, Any]) -> float:
    return float(drift.get("share", 0.0))


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _as_json(result: DemoResult, prefect_ui: str, service: str) -> dict[str, Any]:
    served, first = _mean_losses(result)
    counts = result.counts
    return {
        "prefect_ui": prefect_ui,
        "service": service,
        "requests": counts.requests,
        "failed_requests": counts.failed,
        "rows_by_version": {str(number): n for number, n in counts.rows_by_version.items()},
        "labels": counts.labels,
        "loss": result.loss,
        "mean_loss_served": served,
        "mean_loss_first_champion": first,
        "windows": [
            {
                "start": window.row.start,
                "champion": window.row.version,
                "rows": window.row.n_rows,
                "loss_served": window.row.metrics.get(result.loss),
                "loss_first_champion": window.first_champion,
                "drifted_share": _drifted_share(window.row.drift),
                "outcome": window.row.outcome,
                "decision": window.decision,
                "reason": window.reason,
                "run": None if window.run is None else window.run.id,
            }
            for window in result.windows
        ],
        "runs": [
            {"id": run.id, "trigger": run.trigger, "status": run.status, "reason": run.reason} for run in result.runs
        ],
    }
