"""The explanation of a run in plain words: who asked, what data, what was tried, how it compared, what was decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from console.explained_approval import explain_approval, tell_moves
from console.explained_grant import explain_grant
from console.wording import as_sentence, tell_counts, tell_day, tell_figure, tell_moment, tell_names

if TYPE_CHECKING:
    from base.candidates import Candidates
    from base.judged import Evaluation, Refit, Verdict
    from base.references import Snapshot, TrainingData, ValidatedData
    from registry.tables import AliasMove, Decision, Launch, ModelVersion, Run, TriggerRow

_MOST_LISTED = 6
_FEATURES_NAMED = 4
_WORDS = {
    "log_loss": "log loss (how far its probabilities were from what happened; lower is better)",
    "mae": "mean absolute error (how far it was off, on average; lower is better)",
}
_BY_ITSELF = {
    "drift": "because what the model is asked about had moved away from what it had learnt from",
    "performance": "because the served model had become worse",
    "schedule": "because the schedule said so",
    "webhook": "because another system called for it",
    "staleness": "because the champion had become old",
    "new_data": "because enough new data had come",
    "code": "because the pipeline's definition or code had changed",
}


@dataclass(frozen=True)
class RunFacts:
    """All that the registry knows about one run; what it did not come to is None."""

    run: Run
    granted: Decision | None
    alarm: Decision | None
    decisions: tuple[Decision, ...]
    snapshot: Snapshot | None = None
    validated: ValidatedData | None = None
    data: TrainingData | None = None
    candidates: Candidates | None = None
    evaluation: Evaluation | None = None
    verdict: Verdict | None = None
    refit: Refit | None = None
    version: ModelVersion | None = None
    moves: tuple[AliasMove, ...] = ()
    later: tuple[Decision, ...] = field(default=())
    launch: Launch | None = None
    triggers: tuple[TriggerRow, ...] = ()


def explain_run(facts: RunFacts) -> dict[str, str]:
    """Explain a run, paragraph by paragraph; those that there is nothing to say about are left out.

    Returns
    -------
    dict of title to paragraph
    """
    paragraphs = {
        "Who asked": _explain_asking(facts),
        "How it was granted": explain_grant(facts.launch, facts.triggers),
        "The data": _explain_data(facts),
        "What was tried": _explain_candidates(facts),
        "How it compared": _explain_comparison(facts),
        "Checks": _explain_checks(facts),
        "The decision": _explain_decision(facts),
        "What people said": explain_approval(facts),
        "Since then": _explain_later(facts),
    }
    return {title: text for title, text in paragraphs.items() if text}


def explain_decision(decision: Decision) -> dict[str, str]:
    """Explain one entry of the ledger by itself, such as a suppressed trigger."""
    told = {
        "What was decided": f"{as_sentence(decision.kind)}: {decision.outcome}, by {decision.actor} on "
        f"{tell_moment(decision.decided_at)}. {as_sentence(decision.reason)}."
    }
    if decision.kind == "trigger" and "window" in decision.evidence:
        told["What asked"] = _explain_alarm(decision)
    if rule := decision.evidence.get("rule"):
        parameters = ", ".join(f"{name} {value}" for name, value in rule["parameters"].items() if _is_short(value))
        told["By which rule"] = f"{as_sentence(rule['name'])}, version {rule['version']}" + (
            f" ({parameters})." if parameters else "."
        )
    told["Where it stands"] = f"Entry {decision.sequence} of the ledger, digest {decision.digest[:12]}."
    return told


def _explain_asking(facts: RunFacts) -> str:
    run = facts.run
    actor = facts.granted.actor if facts.granted is not None else "somebody"
    when, words = tell_moment(run.started_at), str(run.parameters.get("reason") or "")
    as_of = run.parameters.get("as_of")
    seen = (
        f" The data were looked at as they were known on {tell_moment(datetime.fromisoformat(as_of))}." if as_of else ""
    )
    if run.trigger == "person":
        saying = f', saying: "{words}".' if words else ", and gave no reason."
        return f"{actor} asked for this training on {when}{saying}{seen}"
    why = _BY_ITSELF.get(run.trigger, f"because of {run.trigger}")
    text = f"Nobody asked by hand: this training began on {when} {why}."
    if facts.alarm is not None and "window" in facts.alarm.evidence:
        text += f" {_explain_alarm(facts.alarm)}"
    elif words:
        text += f" What was found: {words}."
    return text + seen


def _explain_alarm(alarm: Decision) -> str:
    # The first version of the rule kept the figures with its inputs.
    inputs, (start, stop) = {**alarm.evidence["inputs"], **alarm.evidence}, alarm.evidence["window"]
    span = f"from {tell_day(start)} to {tell_day(stop)}"
    found, expected = inputs.get("loss_found"), inputs.get("loss_expected")
    text = f"Monitoring looked at version {inputs['version']} and the {inputs['n_rows']:,} predictions that were served"
    text += f" {span}: {alarm.evidence['finding']}."
    if found is not None and expected:
        text += (
            f" In other words, its {inputs['loss']} was {tell_figure(found)} on the {inputs['n_labelled']:,} of them "
            f"whose truth is known, where {tell_figure(expected)} was to be expected ({found / expected - 1:+.0%})."
        )
    return text


def _explain_data(facts: RunFacts) -> str:
    validated, data = facts.validated, facts.data
    if facts.snapshot is None:
        return ""
    span = ""
    if facts.snapshot.first is not None and facts.snapshot.watermark is not None:
        span = f", from {tell_day(facts.snapshot.first)} to {tell_day(facts.snapshot.watermark)}"
    text = f"The source gave {facts.snapshot.n_rows:,} rows{span} (snapshot {facts.snapshot.digest[:12]})."
    if validated is None:
        return text
    if validated.n_quarantined:
        text += f" {validated.n_quarantined:,} of them were set aside: {tell_counts(validated.reasons)}."
    else:
        text += " None had to be set aside."
    if validated.warnings:
        text += f" Doubtful, but kept: {tell_counts(validated.warnings)}."
    if validated.changes:
        text += f" Compared with the data before: {'; '.join(validated.changes[:_MOST_LISTED])}."
    if data is not None:
        text += f" The model learnt from {data.validation.stop:,} rows, the oldest; the newest "
        text += f"{data.test.n_rows:,} were kept back to judge it by."
        if data.rows_left_out:
            text += f" Left out: {tell_counts(data.rows_left_out)}."
        text += f" It sees {len(data.features)} features of a row."
    return text


def _explain_candidates(facts: RunFacts) -> str:
    found = facts.candidates
    if found is None:
        return ""
    chosen = found.candidates[found.chosen]
    name = chosen.estimator.rpartition(".")[2]
    failed = [each for each in found.candidates if each.error is not None]
    if len(found.candidates) == 1:
        text = f"One kind of model was declared, {name}, so there was nothing to choose from."
    else:
        text = f"{len(found.candidates)} candidates were fitted and compared on newer rows than they had learnt from; "
        text += f"{name} did best"
        text += "." if chosen.validation_loss is None else f" (validation loss {tell_figure(chosen.validation_loss)})."
    if failed:
        text += " Failed: " + "; ".join(f"{each.estimator.rpartition('.')[2]}: {each.error}" for each in failed) + "."
    if found.window is not None:
        text += f" How much of the past it learns from: {found.window.reason}."
    return text


def _explain_comparison(facts: RunFacts) -> str:
    evaluation, verdict = facts.evaluation, facts.verdict
    if evaluation is None or verdict is None:
        return ""
    loss = verdict.loss
    own, what = evaluation.metrics[loss], _WORDS.get(loss, loss)
    rows = f"the newest {evaluation.n_rows:,} rows"
    if evaluation.champion is None or verdict.difference is None:
        baseline = evaluation.baseline.get(loss)
        text = f"There was no champion to compare with. On {rows}, which it had not seen, its {what} was "
        text += tell_figure(own)
        return text + ("." if baseline is None else f"; without any model it would have been {tell_figure(baseline)}.")
    other = evaluation.champion[loss]
    who = f"the champion's, version {evaluation.champion_version}"
    seen = "which the champion had learnt from" if evaluation.n_seen_by_champion else "which neither had learnt from"
    if evaluation.champion_stand_in:
        who = f"{who} (as it was before it learnt from these rows)"
    change = (
        "" if not other else f", {abs(verdict.difference / other):.1%} {'less' if verdict.difference < 0 else 'more'}"
    )
    text = f"On {rows}, {seen}, the new model's {what} was {tell_figure(own)} and {who}, {tell_figure(other)}{change}."
    return f"{text} {_explain_interval(verdict)}{_explain_importance(evaluation)}"


def _explain_interval(verdict: Verdict) -> str:
    sure = f"{verdict.confidence:.0%}"
    if verdict.interval is None:
        return "There were too few rows to say how sure that is."
    low, high = verdict.interval
    text = f"Allowing for chance, the difference lies between {low:+.4g} and {high:+.4g} ({sure} confidence)"
    if high < 0:
        return f"{text}: all of that is an improvement, so the new model is better, and not by luck."
    if low > 0:
        return f"{text}: all of that is a loss, so the new model is worse, and not by bad luck."
    if low == high == 0:
        return "Both gave the very same answers."
    text += ", which holds both an improvement and a loss: these rows cannot tell which of the two is better."
    if verdict.rows_to_tell is not None and verdict.rows_to_tell > verdict.n_rows:
        text += f" About {verdict.rows_to_tell - verdict.n_rows:,} more rows would tell a difference of this size."
    return text


def _explain_importance(evaluation: Evaluation) -> str:
    ranked = sorted(evaluation.importance.items(), key=lambda item: -item[1][0])
    named = [name for name, (mean, _) in ranked if mean > 0][:_FEATURES_NAMED]
    return f" It leans most on {tell_names(named)}." if named else ""


def _explain_checks(facts: RunFacts) -> str:
    if facts.verdict is None or not facts.verdict.checks:
        return ""
    passed = [check for check in facts.verdict.checks if check.passed]
    failed = [check for check in facts.verdict.checks if not check.passed]
    text = f"{len(passed)} of {len(facts.verdict.checks)} checks were passed"
    text += f": {'; '.join(f'{check.name} ({check.evidence})' for check in passed)}." if passed else "."
    if failed:
        text += f" Not passed: {'; '.join(f'{check.name} ({check.evidence})' for check in failed)}."
    return text


def _explain_decision(facts: RunFacts) -> str:
    run, verdict = facts.run, facts.verdict
    gate = next((each for each in facts.decisions if each.kind == "gate"), None)
    if verdict is None or gate is None:
        return _explain_end(run)
    rule = gate.evidence.get("rule")
    by = "" if rule is None else f" by the rule {rule['name']!r}, version {rule['version']}"
    text = f"The gate decided{by}: {verdict.reason}."
    if facts.refit is not None and facts.refit.deployed == "full":
        text += f" What serves is {facts.refit.reason}."
    if any(each.kind == "approval" for each in facts.decisions):
        return f"{text} But the last word on this model is people's."
    return f"{text} {tell_moves(facts)}"


def _explain_end(run: Run) -> str:
    at = f" at the step {run.step!r}" if run.step else ""
    return {
        "refused": f"The data were refused{at}: nothing was trained, the champion stayed. {as_sentence(run.reason)}",
        "failed": f"The run failed{at}; nothing was changed and the champion stayed. {as_sentence(run.reason)}",
        "unchanged": f"Nothing was trained: {run.reason}.",
        "running": f"It is under way{at}.",
    }.get(run.status, f"It ended as {run.status!r}. {as_sentence(run.reason)}")


def _explain_later(facts: RunFacts) -> str:
    told = []
    for move in facts.moves:
        if move.run_id == facts.run.id:
            continue
        number = None if facts.version is None else facts.version.number
        moved = f"on {tell_moment(move.moved_at)} by {move.actor} ({move.reason})"
        if move.number == number:
            told.append(f"It became champion again in {move.environment} {moved}.")
        elif move.previous == number and move.kind == "rollback":
            told.append(f"It was rolled back in {move.environment} to version {move.number} {moved}.")
        elif move.previous == number:
            told.append(f"Version {move.number} took its place in {move.environment} {moved}.")
    held = [each for each in facts.later if each.outcome in ("suppress", "merge")]
    if held:
        told.append(_tell_held(held))
    if not told and facts.moves:
        told.append("Nothing has taken its place.")
    return " ".join(told)


def _tell_held(held: list[Decision]) -> str:
    calls = "call for a training was" if len(held) == 1 else "calls for a training were"
    return f"{len(held)} later {calls} not followed; the last one: {held[0].reason}."


def _is_short(value: Any) -> bool:
    return isinstance(value, str | int | float) and len(str(value)) < 40
