"""`everfit labels status`: the coverage of a model's labels by day, and what is late, corrected or unknown."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from base.times import describe_duration, parse_moment, utc_now
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output
    from serving.labels.status import LabelStatus


def status_command(model: str, *, until: str | None, days: int, output: Output) -> None:
    """Print how a model's labels stand.

    Raises
    ------
    ArgumentError
        If there is no such model, or *until* is no moment.
    """
    from registry.manifest import ModelManifest
    from registry.models import resolve_present
    from serving.labels.status import read_label_status

    settings = read_settings()
    registry = open_registry(settings)
    with registry.database.read() as session:
        version = resolve_present(session, registry.environment, model)
    try:
        moment = utc_now() if until is None else parse_moment(until)
    except ValueError as error:
        raise ArgumentError(f"--until is {until!r}: {error}") from error
    status = read_label_status(
        settings.home.absolute(),
        version.model,
        label_delay=ModelManifest.model_validate(version.manifest).label_delay,
        grace=timedelta(seconds=settings.label_grace_seconds),
        until=moment,
        registry=registry,
    )
    _say(status, days, output)
    output.result(_document(status))


def _say(status: LabelStatus, days: int, output: Output) -> None:
    horizon = describe_duration(status.label_delay)
    output.say(
        f"{status.model} at {status.until:%Y-%m-%d %H:%M} (UTC): {status.n_served:,} predictions, a label is due "
        f"{horizon} after its row"
    )
    output.say(f"  waiting: {status.n_waiting:,}, of which {status.n_early:,} have a label before it is due")
    share = "" if status.coverage is None else f" ({status.coverage:.1%})"
    output.say(f"  due: {status.n_matured:,}, of which {status.n_labelled:,} have their label{share}")
    output.say(
        f"  labels: {status.n_versions:,} versions; late {status.n_late:,}, corrected {status.n_corrected:,}, "
        f"of unknown predictions {status.n_unknown:,}, of keys without a prediction {status.n_unmatched:,}"
    )
    rows = [
        [
            f"{day.day:%Y-%m-%d}",
            f"{day.n_matured:,}",
            f"{day.n_labelled:,}",
            f"{day.coverage:.1%}",
            "fewer than before" if day.has_fallen else "",
        ]
        for day in status.days.tail(days).itertuples()
    ]
    if rows:
        output.table(["day", "due", "labelled", "coverage", ""], rows)
    fallen = status.days[status.days["has_fallen"]]
    if len(fallen):
        output.warn(
            f"labels of {status.model} stay away since {fallen['day'].iloc[0]:%Y-%m-%d}: "
            f"{fallen['n_labelled'].sum():,} of {fallen['n_matured'].sum():,} due on {len(fallen)} days have come"
        )


def _document(status: LabelStatus) -> dict[str, Any]:
    return {
        "model": status.model,
        "until": status.until,
        "label_delay": describe_duration(status.label_delay),
        "served": status.n_served,
        "waiting": status.n_waiting,
        "early": status.n_early,
        "matured": status.n_matured,
        "labelled": status.n_labelled,
        "coverage": status.coverage,
        "versions": status.n_versions,
        "late": status.n_late,
        "corrected": status.n_corrected,
        "unknown": status.n_unknown,
        "unmatched_keys": status.n_unmatched,
        "days": [
            {
                "day": f"{day.day:%Y-%m-%d}",
                "matured": day.n_matured,
                "labelled": day.n_labelled,
                "coverage": day.coverage,
                "has_fallen": bool(day.has_fallen),
            }
            for day in status.days.itertuples()
        ],
    }
