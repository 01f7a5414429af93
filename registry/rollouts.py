"""Rollouts: challengers beside a champion; each change is one transaction with its decision in the ledger."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from base.documents import as_text
from base.errors import ArgumentError, EverfitError
from base.rollout_spec import RolloutKind, RolloutSpec
from registry.aliases import CHAMPION, find_alias, promote_version
from registry.ledger import Rule, append_decision
from registry.tables import Rollout
from registry.versions import VersionDeleted, VersionNotFound, check_model, find_version, list_versions
from registry.webhooks import announce

RUNNING, PROMOTED, ROLLED_BACK, STOPPED, FINISHED = "running", "promoted", "rolled_back", "stopped", "finished"
DECISION = "rollout"
"""The kind of a rollout's decisions in the ledger."""


class RolloutMoved(EverfitError):
    """Somebody else changed the rollout between the look and the decision."""

    def __init__(self, model: str, expected: int, found: str) -> None:
        super().__init__(
            f"the rollout of {model!r} was changed meanwhile: expected revision {expected}, found {found}; "
            "nothing was changed: look at `everfit rollout status` and try again"
        )


def start_rollout(
    session: Session,
    environment: str,
    model: str,
    *,
    kind: RolloutKind,
    challengers: Sequence[int],
    spec: RolloutSpec,
    actor: str,
    reason: str,
) -> Rollout:
    """Begin to let challengers in beside the champion.

    Parameters
    ----------
    challengers : sequence of int
        One version, or several for an A/B test or a bandit.

    Raises
    ------
    ArgumentError
        If a rollout of the model runs already, or the challengers do not fit its kind.
    VersionNotFound, VersionDeleted
    """
    check_model(session, model)
    champion = find_alias(session, environment, model)
    if champion is None:
        raise ArgumentError(
            f"model {model!r} has no champion in environment {environment!r}, so there is nothing to roll out against; "
            f"`everfit promote {model}@{challengers[0]}` makes one"
        )
    if running := find_running(session, environment, model):
        raise ArgumentError(
            f"a {running.kind} of {model!r} runs already, started by {running.started_by} at "
            f"{running.started_at:%Y-%m-%d %H:%M} UTC; `everfit rollout stop {model} --reason …` ends it"
        )
    _check_challengers(session, model, champion.number, challengers, kind)
    rollout = Rollout(
        id=secrets.token_hex(8),
        environment=environment,
        model=model,
        kind=kind,
        champion=champion.number,
        champion_revision=champion.revision,
        challengers=list(challengers),
        spec=spec.model_dump(mode="json"),
        shares=first_shares(kind, spec, champion.number, challengers),
        reason=as_text(reason),
        started_by=as_text(actor),
    )
    rollout.moved_at = rollout.started_at
    session.add(rollout)
    _record(session, rollout, "started", reason, actor, {"spec": rollout.spec})
    return rollout


def first_shares(kind: RolloutKind, spec: RolloutSpec, champion: int, challengers: Sequence[int]) -> dict[str, float]:
    """Return the parts of the keys with which a rollout begins, by version number, the champion first.

    Examples
    --------
    >>> first_shares("canary", RolloutSpec(), 3, [4])
    {'3': 0.99, '4': 0.01}
    >>> first_shares("bandit", RolloutSpec(), 3, [4, 5, 6])
    {'3': 0.25, '4': 0.25, '5': 0.25, '6': 0.25}
    """
    if kind == "bandit":
        return dict.fromkeys(map(str, (champion, *challengers)), 1 / (1 + len(challengers)))
    share = {"shadow": 0.0, "canary": spec.steps[0] / 100, "ab": spec.share}[kind]
    return {str(champion): 1 - share, **dict.fromkeys(map(str, challengers), share / len(challengers))}


def find_running(session: Session, environment: str, model: str) -> Rollout | None:
    """Return the rollout of a model that runs, or None."""
    query = select(Rollout).where(Rollout.environment == environment, Rollout.model == model, Rollout.status == RUNNING)
    return session.exec(query).first()


def list_running(session: Session, environment: str) -> list[Rollout]:
    """List the rollouts of an environment that run, in one query."""
    query = select(Rollout).where(Rollout.environment == environment, Rollout.status == RUNNING)
    return list(session.exec(query))


def list_rollouts(session: Session, environment: str, *, model: str | None = None, limit: int = 50) -> list[Rollout]:
    """List the rollouts of an environment, newest first."""
    query = select(Rollout).where(Rollout.environment == environment)
    if model is not None:
        query = query.where(Rollout.model == model)
    return list(session.exec(query.order_by(col(Rollout.started_at).desc(), col(Rollout.id)).limit(limit)))


def find_rolled_out(session: Session, model: str | None = None) -> dict[tuple[str, int], str]:
    """Find the versions that take part in a running rollout of any environment, each with the reason to keep it."""
    query = select(Rollout).where(Rollout.status == RUNNING)
    if model is not None:
        query = query.where(Rollout.model == model)
    return {
        (rollout.model, number): f"in a {rollout.kind} in {rollout.environment}"
        for rollout in session.exec(query)
        for number in (rollout.champion, *rollout.challengers)
    }


def move_rollout(
    session: Session,
    rollout: Rollout,
    *,
    step: int,
    shares: Mapping[str, float],
    actor: str,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    now: datetime,
) -> Rollout:
    """Give the versions other shares, if nobody has changed the rollout since it was read.

    Raises
    ------
    RolloutMoved
    """
    moved = _swap(session, rollout, step=step, shares=dict(shares), reason=as_text(reason), moved_at=now)
    outcome = ", ".join(f"{number}: {share:.1%}" for number, share in shares.items())
    _record(session, moved, outcome, reason, actor, evidence or {})
    return moved


def close_rollout(
    session: Session,
    rollout: Rollout,
    *,
    status: str,
    actor: str,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    promote: int | None = None,
    now: datetime,
) -> Rollout:
    """End a rollout, and move the alias to one of its versions where *promote* names it, in the same transaction.

    Raises
    ------
    RolloutMoved
        If somebody has changed the rollout since it was read.
    AliasMoved, VersionDeleted
        If the alias is not where it was when the rollout began, or the version is gone; nothing is changed then.
    """
    closed = _swap(session, rollout, status=status, reason=as_text(reason), finished_at=now, moved_at=now)
    _record(session, closed, status, reason, actor, evidence or {})
    if promote is not None:
        version = find_version(session, closed.model, promote)
        if version is None:
            raise VersionNotFound(f"model {closed.model!r} has no version {promote}")
        promote_version(
            session,
            closed.environment,
            version,
            expected_revision=closed.champion_revision,
            actor=actor,
            reason=f"rollout {closed.id}: {reason}",
        )
    return closed


def stop_overtaken(session: Session, environment: str, model: str, number: int, *, actor: str, now: datetime) -> None:
    """Stop the rollout of a model whose champion was moved by somebody else, in the transaction that moves it."""
    rollout = find_running(session, environment, model)
    if rollout is not None:
        reason = f"{model}@{CHAMPION} was moved to version {number} by {actor}"
        close_rollout(session, rollout, status=STOPPED, actor=actor, reason=reason, now=now)


def take_looker(session: Session, rollout: Rollout, replica: str, *, until: datetime, now: datetime) -> bool:
    """Tell whether this replica is the one that looks at the evidence, until the given moment."""
    taken = session.connection().execute(
        update(Rollout)
        .where(
            col(Rollout.id) == rollout.id,
            col(Rollout.status) == RUNNING,
            (col(Rollout.looker) == replica) | col(Rollout.looker_until).is_(None) | (col(Rollout.looker_until) <= now),
        )
        .values(looker=replica, looker_until=until)
    )
    return taken.rowcount == 1


def _check_challengers(
    session: Session, model: str, champion: int, challengers: Sequence[int], kind: RolloutKind
) -> None:
    if len(challengers) != 1 and kind in ("shadow", "canary"):
        raise ArgumentError(f"a {kind} lets in one version, got {len(challengers)}; an ab or a bandit takes several")
    if len(set(challengers)) < len(challengers) or not challengers:
        raise ArgumentError(f"expected challengers, each once, got {list(challengers)}")
    for number in challengers:
        version = find_version(session, model, number)
        if version is None:
            numbers = ", ".join(str(each.number) for each in list_versions(session, model))
            raise VersionNotFound(f"model {model!r} has no version {number}; its versions are {numbers}")
        if version.deleted_at is not None:
            raise VersionDeleted(version)
        if number == champion:
            raise ArgumentError(f"version {number} is the champion of {model!r} already; name another one")


def _swap(session: Session, rollout: Rollout, **values: Any) -> Rollout:
    expected = rollout.revision
    swapped = session.connection().execute(
        update(Rollout)
        .where(col(Rollout.id) == rollout.id, col(Rollout.revision) == expected, col(Rollout.status) == RUNNING)
        .values(revision=expected + 1, **values)
    )
    found = session.get(Rollout, rollout.id, populate_existing=True)
    if swapped.rowcount != 1 or found is None:
        told = "none" if found is None else f"{found.revision} ({found.status})"
        raise RolloutMoved(rollout.model, expected, told)
    return found


def _record(
    session: Session, rollout: Rollout, outcome: str, reason: str, actor: str, evidence: Mapping[str, Any]
) -> None:
    document = {
        "rollout": rollout.id,
        "kind": rollout.kind,
        "environment": rollout.environment,
        "champion": rollout.champion,
        "challengers": rollout.challengers,
        "shares": rollout.shares,
        "step": rollout.step,
        "revision": rollout.revision,
    }
    append_decision(
        session,
        kind=DECISION,
        pipeline=rollout.model,
        outcome=f"{rollout.kind} {outcome}",
        reason=reason,
        actor=actor,
        evidence={**document, **evidence},
        rule=Rule("rollout", parameters=rollout.spec),
    )
    told = {"model": rollout.model, "status": rollout.status, "reason": reason, "actor": actor}
    announce(session, "rollout.moved", {**document, **told})
