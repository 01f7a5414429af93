"""The explanation of a promotion: what people answered, and where the champion's name went."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from console.wording import tell_moment, tell_names

if TYPE_CHECKING:
    from console.explanation import RunFacts
    from registry.tables import AliasMove, Decision

_NUMBERS = ("nobody", "one person", "two people", "three people", "four people", "five people")


def explain_approval(facts: RunFacts) -> str:
    """Tell whom a promotion waited for, what each answered, and what came of it; empty where nobody was asked."""
    decisions = sorted((each for each in facts.decisions if each.kind == "approval"), key=lambda each: each.sequence)
    if not decisions:
        return ""
    asked = next((each for each in decisions if each.outcome == "asked"), decisions[0])
    answers = [each for each in decisions if each.outcome in ("approve", "reject")]
    told = [_tell_question(asked), *map(_tell_answer, answers)]
    end = {each.outcome for each in decisions}
    if "expired" in end:
        told.append("The time went by without enough answers, so the champion stayed.")
    elif "overtaken" in end:
        told.append(
            "By then another version had become champion, and what they had agreed to was a comparison with the one "
            "before, so nothing was promoted."
        )
    elif "reject" in end:
        told.append("One no is enough, so the champion stayed.")
    elif not _moves(facts):
        return " ".join([*told, _tell_missing(asked, answers)])
    return " ".join([*told, tell_moves(facts)])


def tell_moves(facts: RunFacts) -> str:
    """Tell where a run's version became champion by that run, or that it did not."""
    version = facts.version
    name = "it" if version is None else f"{version.model} version {version.number}"
    told = []
    for move in _moves(facts):
        before = ", the first one" if move.previous is None else f" in place of version {move.previous}"
        told.append(
            f"So {name} became champion in {move.environment}{before}, on {tell_moment(move.moved_at)}; "
            f"who moved it: {move.actor}."
        )
    return " ".join(told) or f"So {name} is registered and does not serve."


def _moves(facts: RunFacts) -> list[AliasMove]:
    return [move for move in facts.moves if move.run_id == facts.run.id]


def _tell_question(asked: Decision) -> str:
    rule = asked.evidence["rule"]["parameters"]
    who = tell_names(rule["approvers"]) if rule["approvers"] else "anybody else"
    until = tell_moment(_expiry(asked))
    return (
        f"{_count(rule['needed'])} had to agree before it might serve, until {until}: {who}, "
        f"but not {asked.actor}, who had asked for the training."
    )


def _tell_answer(answer: Decision) -> str:
    verb = "agreed" if answer.outcome == "approve" else "said no"
    return f'{answer.actor} {verb} on {tell_moment(answer.decided_at)}: "{answer.reason}".'


def _tell_missing(asked: Decision, answers: list[Decision]) -> str:
    missing = asked.evidence["rule"]["parameters"]["needed"] - len(answers)
    return f"It waits for {_count(missing).lower()} more; until then the champion serves on."


def _count(number: int) -> str:
    words = _NUMBERS[number] if 0 <= number < len(_NUMBERS) else f"{number} people"
    return words[:1].upper() + words[1:]


def _expiry(asked: Decision) -> datetime:
    return datetime.fromisoformat(asked.evidence["inputs"]["expires_at"])
