"""`everfit rollout status`: arms, shares, losses and bets, and what a rollout waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from base.times import utc_now
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from sqlmodel import Session

    from console.output import Output
    from registry.tables import Rollout


def status_command(model: str | None, *, output: Output) -> None:
    """Show the running rollouts, or the newest one of a model."""
    from registry.rollouts import list_rollouts, list_running

    registry = open_registry(read_settings())
    with registry.database.read() as session:
        if model is None:
            found = list_running(session, registry.environment)
        else:
            found = list_rollouts(session, registry.environment, model=model, limit=1)
        shown = [describe_rollout(session, rollout) for rollout in found]
    if not shown:
        told = "" if model is None else f" of {model}"
        output.say(f"No rollout{told} runs in {registry.environment}; `everfit rollout start` begins one.")
    for document in shown:
        show_rollout(document, output)
    output.result(shown)


def describe_rollout(session: Session, rollout: Rollout) -> dict[str, Any]:
    """Describe a rollout with its evidence and, while it runs, what comes next."""
    from base.rollout_spec import RolloutSpec
    from serving.rollout.decision import Stay
    from serving.rollout.evidence import as_document
    from serving.rollout.looking import decide_on, read_evidence

    looks, evidence = read_evidence(session, rollout, now=utc_now())
    document = {**rollout_document(rollout), "evidence": as_document(evidence), "n_looks": len(looks)}
    if rollout.status == "running":
        decision = decide_on(rollout, looks, evidence, None, utc_now())
        until = decision.until if isinstance(decision, Stay) else None
        document["next"] = decision.reason
        document["next_at"] = None if until is None else until.isoformat()
        spec = RolloutSpec.model_validate(rollout.spec)
        if rollout.kind == "canary" and rollout.step + 1 < len(spec.steps):
            document["next_share"] = spec.steps[rollout.step + 1] / 100
    return document


def show_rollout(document: dict[str, Any], output: Output) -> None:
    """Print what :func:`describe_rollout` found."""
    evidence = document["evidence"]
    output.say(
        f"{document['model']}: {document['kind']} {document['id']} is {document['status']} "
        f"since {document['moved_at'][:16].replace('T', ' ')} UTC ({document['reason']})"
    )
    rows = []
    for number, arm in evidence["arms"].items():
        against = evidence["challengers"].get(number)
        rows.append(
            [
                number,
                "champion" if against is None else "challenger",
                f"{document['shares'].get(number, 0):.1%}",
                arm["requests"],
                arm["rows"],
                arm["failed"],
                arm["n_labelled"],
                "" if arm["loss"] is None else f"{arm['loss']:.4f}",
                "" if against is None or against["difference"] is None else f"{against['difference']:+.4f}",
                "" if against is None else f"{against['worse']['largest']:.3g}",
                "" if against is None else f"{against['errors']['largest']:.3g}",
                "" if against is None else f"{against['slow']['largest']:.3g}",
            ]
        )
    columns = ["version", "arm", "share", "requests", "rows", "failed", "labelled", "loss", "score difference"]
    output.table([*columns, "bet: worse", "bet: fails", "bet: slow"], rows)
    for replica, reason in evidence["refused"].items():
        output.say(f"refused by {replica}: {reason}")
    if document["status"] == "running":
        output.say(f"next: {document.get('next', '')}")


def rollout_document(rollout: Rollout) -> dict[str, Any]:
    """Write a rollout as JSON, without who looks at it."""
    return rollout.model_dump(mode="json", exclude={"looker", "looker_until"})
