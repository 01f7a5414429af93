"""`everfit why-not`: why a pipeline has not trained again, by the arbiter that would be asked now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from console.installation import open_registry, read_settings
from console.triggers import check_pipeline
from console.wording import tell_moment

if TYPE_CHECKING:
    from datetime import datetime

    from sqlmodel import Session

    from base.triggers_spec import TriggersSpec
    from console.output import Output
    from monitoring.arbiter import Circumstances
    from registry.tables import Launch

_LAST_RULINGS = 5


def why_not_command(pipeline: str, *, output: Output) -> None:
    """Tell what would become of an alarm now, what holds trainings back, and the last rulings.

    Raises
    ------
    ArgumentError
        If there is no such pipeline.
    """
    from base.times import utc_now
    from monitoring.arbiter import Wish, rule
    from monitoring.circumstances import find_circumstances
    from monitoring.new_labels import count_new_labels
    from registry.situations import find_situation
    from registry.triggers import find_triggers_spec, list_triggers

    settings = read_settings()
    registry = open_registry(settings)
    now = utc_now()
    with registry.database.read() as session:
        check_pipeline(session, pipeline)
        spec = find_triggers_spec(session, pipeline)
    labels = count_new_labels(settings.home, pipeline, registry, spec, moment=now, now=now)
    with registry.database.read() as session:
        situation = find_situation(session, pipeline)
        seen = find_circumstances(session, pipeline, situation=situation, now=now, spec=spec, n_new_labels=labels)
        rulings = list_triggers(session, pipeline=pipeline, limit=_LAST_RULINGS)
        policy = find_policy(session, pipeline)
    ruling = rule(Wish(kind="performance", reason="", occurred_at=now), seen, spec)
    word = {"start": "a training would start", "merge": "it would go into another", "suppress": "nothing would start"}
    reason = "nothing holds it back" if ruling.outcome == "start" and ruling.not_before is None else ruling.reason
    output.say(f"{pipeline}: should an alarm come now, {word[ruling.outcome]}: {reason}.")
    held = tell_holds(seen, spec, situation.launch, now)
    for name, text in held.items():
        output.say(f"{name}: {text}")
    if policy is not None:
        output.say(f"policy: {policy['reason'] or policy}")
    if not rulings:
        output.say("Nothing has asked for a training yet.")
    else:
        output.say("The last that asked:")
        output.table(
            ["when (UTC)", "kind", "asked because", "word", "why"],
            [[f"{row.received_at:%Y-%m-%d %H:%M}", row.kind, row.reason, row.state, row.ruling] for row in rulings],
        )
    output.result(
        {
            "pipeline": pipeline,
            "now": {"outcome": ruling.outcome, "reason": reason, "not_before": ruling.not_before},
            "held_by": held,
            "circumstances": seen.model_dump(mode="json"),
            "policy": policy,
            "rulings": [row.model_dump(mode="json") for row in rulings],
        }
    )


def tell_holds(seen: Circumstances, spec: TriggersSpec, launch: Launch | None, now: datetime) -> dict[str, str]:
    """Say of each thing that may hold a training back how it stands."""
    from base.schedules import next_moment
    from base.times import describe_duration
    from registry.launches import describe_launch

    told: dict[str, str] = {}
    last = seen.last_training
    told["last training"] = "none yet" if last is None else f"run {last.run}, as of {tell_moment(last.seen)}"
    if seen.under_way is not None:
        told["under way"] = f"run {seen.under_way.run}, since {tell_moment(seen.under_way.started_at)}"
    if launch is not None:
        told["launch"] = f"{launch.id} {describe_launch(launch)}" + (f"; {launch.trouble}" if launch.trouble else "")
    if spec.cooldown and last is not None:
        until = last.seen + spec.cooldown
        what = "over" if until <= now else f"until {tell_moment(until)}"
        told["cooldown"] = f"{what} ({describe_duration(spec.cooldown)})"
    if spec.budget is not None and seen.spent is not None:
        told["budget"] = _tell_budget(seen, spec)
    if spec.quiet_hours is not None:
        end = spec.quiet_hours.end(now, spec.timezone)
        what = "not now" if end is None else f"until {tell_moment(end)}"
        told["quiet hours"] = f"{what} ({spec.quiet_hours} {spec.timezone})"
    if spec.min_new_labels:
        n_labels = "nobody knows how many" if seen.n_new_labels is None else f"{seen.n_new_labels:,}"
        told["new labels"] = f"{n_labels} of at least {spec.min_new_labels:,}"
    if spec.schedule is not None:
        comes = next_moment(spec.schedule, spec.timezone, now)
        told["schedule"] = "never again" if comes is None else f"next on {tell_moment(comes)}"
    return told


def find_policy(session: Session, pipeline: str) -> dict[str, Any] | None:
    """Return what the cost-aware policy said of the newest window that it was asked about, or None."""
    from monitoring.policies.records import find_policy as find

    found = find(session, pipeline)
    return None if found is None else {"window": found[0].start.isoformat(), "reason": "", **found[1]}


def _tell_budget(seen: Circumstances, spec: TriggersSpec) -> str:
    budget, spent = spec.budget, seen.spent
    assert budget is not None
    assert spent is not None
    if budget.compute is not None:
        left = max(0.0, budget.compute.total_seconds() - spent.compute_seconds)
        text = f"{left:,.0f} seconds of computing are left of {budget}"
    else:
        text = f"{max(0, (budget.trainings or 0) - spent.trainings)} trainings are left of {budget}"
    return text if spent.frees_at is None else f"{text}; there is room again on {tell_moment(spent.frees_at)}"
