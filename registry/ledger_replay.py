"""Replay: every decision that was a pure function of what the ledger names is decided again, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlmodel import Session, select

from base.artifacts import Artifact, ArtifactCorrupt, ArtifactMissing, ArtifactStore
from base.documents import as_document
from base.fingerprint import digest_package
from registry.approval_replay import Told, replay_approval
from registry.approvals import list_answers
from registry.ledger import list_decisions
from registry.store import Registry
from registry.tables import Alias, Approval, Decision, ModelVersion

Answer = Literal["identical", "differs", "cannot"]


@dataclass(frozen=True)
class Replayed:
    """What came of deciding once more: *identical*, *differs* (and how), or *cannot* (and why not)."""

    decision: Decision
    answer: Answer
    told: str

    @property
    def is_fault(self) -> bool:
        """Whether somebody has to look at it."""
        return self.answer == "differs"


Arbitrate = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | None]
"""Rules again by a rule on its inputs: the arbiter, which lies a floor above; None where the inputs were not kept."""


def replay_decisions(
    registry: Registry, *, pipeline: str | None = None, arbitrate: Arbitrate | None = None
) -> Iterator[Replayed]:
    """Decide every gate decision again from its stored inputs, oldest first, with the limits of its day.

    The arbiter's rulings and people's answers are decided again too, and what moved an alias is held against the
    verdict and the answers that allowed it.

    Parameters
    ----------
    arbitrate : callable, optional
        Without it, the arbiter's rulings are passed over.
    """
    with registry.database.read() as session:
        decisions = list_decisions(session, pipeline=pipeline, limit=None)[::-1]
        versions = {version.run_id: version for version in session.exec(select(ModelVersion))}
        approvals = _replay_approvals(session, decisions)
    verdicts: dict[str, dict[str, Any]] = {}
    for decision in decisions:
        if decision.kind == "gate":
            verdicts[decision.run_id or ""] = decision.evidence.get("verdict", {})
            yield _replay_gate(decision, registry.artifacts, versions.get(decision.run_id or ""))
        elif decision.kind == "promotion" and decision.run_id in verdicts:
            yield _compare_promotion(decision, verdicts[decision.run_id], approvals.get(decision.sequence))
        elif decision.kind == "approval":
            same, told = approvals[decision.sequence]
            yield Replayed(decision, "identical" if same else "differs", told)
        elif decision.kind == "trigger" and arbitrate is not None and _rule(decision) == "arbiter":
            yield _replay_arbiter(decision, arbitrate)


def find_strayed_aliases(session: Session) -> list[str]:
    """Compare where the aliases stand with what the ledger says that they were moved to; say what differs."""
    told: dict[tuple[str, str], int] = {}
    for decision in list_decisions(session, limit=None)[::-1]:
        if decision.kind in ("promotion", "rollback") and "number" in decision.evidence:
            name = decision.outcome.partition(" = ")[0]
            told[decision.evidence["environment"], name] = decision.evidence["number"]
    found = {(alias.environment, f"{alias.model}@{alias.alias}"): alias.number for alias in session.exec(select(Alias))}
    return [
        f"{name} in {environment} is version {found.get((environment, name), 'none')}, "
        f"the ledger says {told.get((environment, name), 'none')}"
        for environment, name in sorted({**told, **found})
        if found.get((environment, name)) != told.get((environment, name))
    ]


def _replay_gate(decision: Decision, artifacts: ArtifactStore, version: ModelVersion | None) -> Replayed:
    import pyarrow.parquet as pq
    from pydantic import ValidationError

    from base.gate.verdicts import GateInputs

    inputs, written = decision.evidence.get("inputs", {}), decision.evidence.get("verdict", {})
    if "gate" not in inputs:
        return Replayed(decision, "cannot", "it was written before the ledger kept the gate's inputs")
    try:
        given = GateInputs.model_validate_json(artifacts.read_bytes(Artifact.model_validate(inputs["gate"])))
        losses = pq.read_table(artifacts.local_path(Artifact.model_validate(inputs["losses"]))).to_pandas()
    except ArtifactMissing as error:
        return Replayed(decision, "cannot", f"its inputs are gone: {error}")
    except (ArtifactCorrupt, ValidationError) as error:
        return Replayed(decision, "differs", f"its inputs are not what was decided by: {error}")
    again = as_document(given.decide(losses).model_dump(mode="json"))
    changed = _changed(written, again)
    if version is not None and version.verdict != written:
        changed.append("the registered version names another verdict than the ledger")
    if not changed:
        return Replayed(decision, "identical", str(again["outcome"]))
    code = decision.evidence["rule"]["parameters"].get("code")
    if code != digest_package("base.gate"):
        changed.append("(the gate's own code is not that of its day)")
    return Replayed(decision, "differs", "; ".join(changed))


def _changed(written: dict[str, Any], again: dict[str, Any]) -> list[str]:
    """Say what differs but the wording; a figure that only one of the two knows and leaves empty is no difference."""
    written, again = _without_empty(_without_words(written)), _without_empty(_without_words(again))
    names = [*written, *(name for name in again if name not in written)]
    return [
        f"{name}: written {_short(written.get(name))}, decided again {_short(again.get(name))}"
        for name in names
        if written.get(name) != again.get(name)
    ]


def _without_words(verdict: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is said about a verdict's figures: another release may say it in other words."""
    checks = [
        {name: value for name, value in check.items() if name != "evidence"} for check in verdict.get("checks", ())
    ]
    return {name: value for name, value in verdict.items() if name != "reason"} | {"checks": checks}


def _without_empty(document: Any) -> Any:
    """Leave out what is empty, at every depth: a field that a later release added says so of what came before it."""
    if isinstance(document, dict):
        return {name: _without_empty(value) for name, value in document.items() if value or isinstance(value, bool)}
    return [_without_empty(each) for each in document] if isinstance(document, list) else document


def _replay_approvals(session: Session, decisions: Sequence[Decision]) -> dict[int, Told]:
    by_run: dict[str, list[Decision]] = {}
    for decision in decisions:
        by_run.setdefault(decision.run_id or "", []).append(decision)
    told: dict[int, Told] = {}
    for run, own in by_run.items():
        if any(decision.kind == "approval" for decision in own):
            told |= replay_approval(own, session.get(Approval, run), list_answers(session, run))
    return told


def _compare_promotion(decision: Decision, verdict: dict[str, Any], approval: Told | None) -> Replayed:
    if not verdict.get("promote"):
        return Replayed(decision, "differs", f"the alias was moved, though the gate said {verdict.get('outcome')!r}")
    if approval is not None:
        same, told = approval
        return Replayed(decision, "identical" if same else "differs", f"people were asked; {told}")
    return Replayed(decision, "identical", f"the gate allowed it: {verdict['outcome']}")


def _replay_arbiter(decision: Decision, arbitrate: Arbitrate) -> Replayed:
    again = arbitrate(decision.evidence["rule"], decision.evidence["inputs"])
    if again is None:
        return Replayed(decision, "cannot", "it was written before the ledger kept the arbiter's inputs")
    written = {"outcome": decision.outcome} | {name: decision.evidence.get(name) for name in again if name != "outcome"}
    changed = [
        f"{name}: written {_short(written[name])}, decided again {_short(value)}"
        for name, value in as_document(again).items()
        if written[name] != value
    ]
    if changed:
        return Replayed(decision, "differs", "; ".join(changed))
    return Replayed(decision, "identical", decision.outcome)


def _rule(decision: Decision) -> str | None:
    rule = decision.evidence.get("rule")
    return None if rule is None else rule["name"]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
