"""`everfit ledger`: the decisions, whether their chain holds, and whether they would be the same again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, EverfitError, nearest
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output
    from registry.tables import Decision

KINDS = ("training", "trigger", "data", "gate", "approval", "promotion", "rollback", "rollout", "token", "hook")
_FEWEST_DIGITS = 12


class LedgerBroken(EverfitError):
    """The ledger is not what was written."""

    def __init__(self, sequence: int, problem: str) -> None:
        super().__init__(
            f"the ledger is broken at entry {sequence}: {problem}\n  What comes before entry {sequence} holds; compare "
            "with a backup before anything is decided upon it"
        )
        self.sequence = sequence
        self.problem = problem


class VerdictsDiffer(EverfitError):
    """Decisions that come out otherwise when they are decided again."""


def list_command(*, pipeline: str | None, kind: str | None, limit: int, output: Output) -> None:
    """List decisions, newest first.

    Raises
    ------
    ArgumentError
        If there is no kind or no pipeline of that name.
    """
    settings = read_settings()
    if is_registry_new(settings):
        output.say(f"No decision yet in {settings.home.absolute()}; `everfit train` makes the first.")
        output.result([])
        return
    from registry.ledger import list_decisions

    registry = open_registry(settings)
    with registry.database.read() as session:
        _check_names(session, pipeline, kind)
        decisions = list_decisions(session, pipeline=pipeline, kind=kind, limit=limit)
    if not decisions:
        output.say("No such decision yet.")
    else:
        output.table(
            ["entry", "when (UTC)", "pipeline", "kind", "outcome", "by", "rule", "reason"],
            [
                [
                    decision.sequence,
                    f"{decision.decided_at:%Y-%m-%d %H:%M}",
                    decision.pipeline,
                    decision.kind,
                    decision.outcome,
                    decision.actor,
                    name_rule(decision),
                    decision.reason.splitlines()[0] if decision.reason else "",
                ]
                for decision in decisions
            ],
        )
    output.result([as_json(decision) for decision in decisions])


def verify_command(*, head: str | None, output: Output) -> None:
    """Verify the chain, and print the digest by which a later truncation is found.

    Raises
    ------
    LedgerBroken
        Naming the first entry that is not what was written, and what differs.
    """
    if head is not None and (len(head) < _FEWEST_DIGITS or set(head) - set("0123456789abcdef")):
        raise ArgumentError(
            f"--head is {head!r}, expected at least {_FEWEST_DIGITS} of a digest's 64 hexadecimal digits, as "
            "`everfit ledger verify` prints them"
        )
    from registry.ledger_chain import check_chain
    from registry.ledger_replay import find_strayed_aliases

    registry = open_registry(read_settings())
    with registry.database.read() as session:
        report = check_chain(session, head=head)
        if report.broken is not None:
            raise LedgerBroken(report.broken.sequence, report.broken.problem)
        strayed = find_strayed_aliases(session)
    if strayed:
        raise LedgerBroken(report.n_entries, f"it holds, but an alias was moved past it: {'; '.join(strayed)}")
    output.say(f"{report.n_entries:,} entries, each as it was written; every alias stands where the ledger says")
    output.say(f"head: {report.head}")
    output.say(
        "Keep this digest elsewhere: `everfit ledger verify --head DIGEST` then finds entries that were cut off."
    )
    output.result({"entries": report.n_entries, "head": report.head, "broken": None})


def replay_command(*, pipeline: str | None, output: Output) -> None:
    """Decide again what was decided, by the rules and limits of its day.

    Raises
    ------
    VerdictsDiffer
        If a decision comes out otherwise.
    """
    from monitoring.rulings_again import rule_again
    from registry.ledger_replay import replay_decisions

    registry = open_registry(read_settings())
    with registry.database.read() as session:
        _check_names(session, pipeline, None)
    found = list(replay_decisions(registry, pipeline=pipeline, arbitrate=rule_again))
    output.table(
        ["entry", "pipeline", "kind", "run", "again", "what"],
        [
            [
                each.decision.sequence,
                each.decision.pipeline,
                each.decision.kind,
                each.decision.run_id or "",
                {"cannot": "cannot be told"}.get(each.answer, each.answer),
                each.told,
            ]
            for each in found
        ],
    )
    counts = {answer: sum(each.answer == answer for each in found) for answer in ("identical", "differs", "cannot")}
    output.say(
        f"{counts['identical']:,} decided identically, {counts['differs']:,} otherwise, "
        f"{counts['cannot']:,} cannot be decided again"
    )
    faults = [each for each in found if each.is_fault]
    if not faults:
        decisions = [{"entry": each.decision.sequence, "answer": each.answer, "told": each.told} for each in found]
        output.result({**counts, "decisions": decisions})
        return
    entries = ", ".join(str(each.decision.sequence) for each in faults)
    raise VerdictsDiffer(
        f"{len(faults)} of {len(found)} decisions come out otherwise: entries {entries}; first: {faults[0].told}"
    )


def name_rule(decision: Decision) -> str:
    """Name the rule by which something was decided, with its version; empty where a person decided freely."""
    rule = decision.evidence.get("rule")
    return "" if rule is None else f"{rule['name']} {rule['version']}"


def as_json(decision: Decision) -> dict[str, Any]:
    """The decision as a JSON document."""
    return decision.model_dump(mode="json")


def _check_names(session: Any, pipeline: str | None, kind: str | None) -> None:
    from registry.pipelines import list_pipelines

    if kind is not None and kind not in KINDS:
        raise ArgumentError(f"--kind is {kind!r}, expected one of {', '.join(KINDS)}{nearest(kind, KINDS)}")
    known = list_pipelines(session)
    if pipeline is not None and pipeline not in known:
        raise ArgumentError(
            f"there is no pipeline {pipeline!r}; registered are {', '.join(known) or 'none'}{nearest(pipeline, known)}"
        )
