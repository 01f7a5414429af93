"""`everfit why`: the explanation of a run, a version, a model or one decision, as a person would give it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, nearest
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlmodel import Session

    from console.explanation import RunFacts
    from console.output import Output
    from registry.tables import Decision, Run, TriggerRow

_WIDTH = 100


def why_command(subject: str, *, output: Output) -> None:
    """Explain what led to a run's outcome; of a model, that of its champion, or of its newest run.

    Raises
    ------
    ArgumentError
        If there is nothing of that name.
    """
    from console.explanation import explain_decision, explain_run

    registry = open_registry(read_settings())
    with registry.database.read() as session:
        found = _find_subject(session, registry.environment, subject)
        if isinstance(found, int):
            decision = _decision(session, found)
            title, paragraphs = f"Entry {found}: {decision.pipeline}", explain_decision(decision)
            document: dict[str, Any] = {"entry": found, "pipeline": decision.pipeline}
        else:
            facts = gather_facts(session, found)
            title, paragraphs = _title(facts), explain_run(facts)
            document = {
                "run": found.id,
                "model": found.pipeline,
                "version": None if facts.version is None else facts.version.number,
                "status": found.status,
                "entries": [decision.sequence for decision in reversed(facts.decisions)],
            }
    output.say(title)
    for head, text in paragraphs.items():
        output.say()
        output.say(f"{head}.")
        for line in text.splitlines():
            output.say(textwrap.fill(line, _WIDTH, break_long_words=False, break_on_hyphens=False))
    output.result(document | {"explanation": paragraphs})


def gather_facts(session: Session, run: Run) -> RunFacts:
    """Read all that the registry knows about a run."""
    from sqlmodel import col, select

    from base.candidates import Candidates
    from base.judged import Evaluation, Refit, Verdict
    from base.references import Snapshot, TrainingData, ValidatedData
    from console.explanation import RunFacts
    from registry.ledger import list_decisions
    from registry.runs import list_steps
    from registry.tables import AliasMove, Launch, ModelVersion, TriggerRow

    steps = {step.step: step.output for step in list_steps(session, run.id)}
    kinds: dict[str, tuple[str, Any]] = {
        "snapshot": ("extract", Snapshot),
        "validated": ("validate_data", ValidatedData),
        "data": ("prepare", TrainingData),
        "candidates": ("train", Candidates),
        "evaluation": ("evaluate", Evaluation),
        "verdict": ("validate_model", Verdict),
        "refit": ("refit", Refit),
    }
    read = {name: kind.model_validate(steps[step]) for name, (step, kind) in kinds.items() if step in steps}
    decisions = list_decisions(session, run_id=run.id)
    if gate := next((each for each in decisions if each.kind == "gate"), None):
        read["verdict"] = Verdict.model_validate(gate.evidence["verdict"])
    version = session.exec(select(ModelVersion).where(ModelVersion.run_id == run.id)).first()
    moves: list[AliasMove] = []
    later: list[Decision] = []
    if version is not None:
        about = (col(AliasMove.number) == version.number) | (col(AliasMove.previous) == version.number)
        query = select(AliasMove).where(AliasMove.model == version.model, about).order_by(col(AliasMove.id))
        moves = list(session.exec(query))
    if decisions:
        others = list_decisions(session, pipeline=run.pipeline, kind="trigger", limit=None)
        later = [each for each in others if each.sequence > decisions[0].sequence]
    launch = session.exec(select(Launch).where(Launch.run_id == run.id).order_by(col(Launch.created_at).desc())).first()
    triggers: list[TriggerRow] = []
    if launch is not None:
        went = select(TriggerRow).where(TriggerRow.launch == launch.id).order_by(col(TriggerRow.received_at))
        triggers = list(session.exec(went))
    return RunFacts(
        run=run,
        granted=next((each for each in decisions if each.kind == "training"), None),
        alarm=_find_alarm(session, run, triggers),
        decisions=tuple(decisions),
        version=version,
        moves=tuple(moves),
        later=tuple(later),
        launch=launch,
        triggers=tuple(triggers),
        **read,
    )


def _find_alarm(session: Session, run: Run, triggers: Sequence[TriggerRow]) -> Decision | None:
    """Find the arbiter's ruling on the alarm that a run came of; without launches: same moment, same words."""
    from registry.ledger import list_decisions
    from registry.tables import Decision

    if run.trigger == "person":
        return None
    for row in triggers:
        ruled = None if row.decision is None else session.get(Decision, row.decision)
        if ruled is not None and "window" in ruled.evidence:
            return ruled
    for decision in list_decisions(session, pipeline=run.pipeline, kind="trigger", limit=None):
        asked = decision.evidence.get("inputs", {})
        same = asked.get("as_of") == run.parameters.get("as_of") and asked.get("alarm") == run.parameters.get("reason")
        if decision.outcome == "start" and same:
            return decision
    return None


def _find_subject(session: Session, environment: str, subject: str) -> Run | int:
    from registry.models import find_alias, list_models, resolve_version
    from registry.pipelines import list_pipelines
    from registry.runs import list_runs
    from registry.tables import Run

    if subject.isdecimal():
        return int(subject)
    if (run := session.get(Run, subject)) is not None:
        return run
    model = subject.partition("@")[0]
    if "@" in subject or (model in list_models(session) and find_alias(session, environment, model)):
        return session.get_one(Run, resolve_version(session, environment, subject).run_id)
    if runs := list_runs(session, pipeline=model, limit=1):
        return runs[0]
    known = list_pipelines(session)
    raise ArgumentError(
        f"there is no run, version or model {subject!r}; models are {', '.join(known) or 'none'}"
        f"{nearest(model, known)}, runs stand in `everfit ledger list --kind training --json`"
    )


def _decision(session: Session, sequence: int) -> Decision:
    from registry.tables import Decision

    found = session.get(Decision, sequence)
    if found is None:
        raise ArgumentError(f"the ledger has no entry {sequence}; `everfit ledger list` shows the newest")
    return found


def _title(facts: RunFacts) -> str:
    run, version = facts.run, facts.version
    if version is None:
        return f"Run {run.id} of {run.pipeline}: {run.status}"
    return f"{version.model} version {version.number} (run {run.id}): {run.status}"
