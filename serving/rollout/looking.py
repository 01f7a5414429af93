"""One look at a running rollout: read what is new, judge it, decide, and write all of that in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from sqlmodel import Session, col, select

from base.rollout_spec import RolloutSpec
from base.times import parse_moment
from registry.rollouts import close_rollout, move_rollout
from registry.store import Registry
from registry.tables import Rollout, RolloutLook, RolloutReplica
from serving.labels.matured import matured_rows
from serving.labels.reading import read_label_versions
from serving.log.traffic import read_traffic
from serving.rollout.bandit import allocate
from serving.rollout.counts import add_counts
from serving.rollout.decision import Close, Decision, Move, Stay, decide
from serving.rollout.evidence import Evidence, as_document, gather_evidence, served_rewards
from serving.rollout.judging import compare_rows, error_scale, judge_rows, keep_judgeable
from serving.rollout.verdict import judge_arms
from serving.scoring.scorer import Scorer

ACTOR = "everfit rollout"
# Rows that one look judges, at most: a look must not take long, and the next one goes on where it ended.
_MOST_LABELLED = 5_000
_MOST_COMPARED = 500
# Who has not been heard of for so long is gone, and what it could not load is nobody's trouble.
_REPLICA_SECONDS = 60.0


@dataclass(frozen=True)
class Look:
    """What a look found, and what was decided."""

    rollout: Rollout
    evidence: Evidence
    decision: Decision


@dataclass
class LookMemory:
    """What a process remembers of a rollout's looks, so that the next look reads only what is new."""

    looks: list[RolloutLook] = field(default_factory=list)
    judged: set[str] = field(default_factory=set)

    def add(self, looks: Sequence[RolloutLook]) -> None:
        """Take in looks that were read or written."""
        self.looks.extend(looks)
        for look in looks:
            self.judged.update(look.labelled.get("ids", ()))


def look_at_rollout(
    registry: Registry,
    home: Path,
    rollout_id: str,
    scorers: Mapping[int, Scorer],
    *,
    now: datetime,
    memory: LookMemory | None = None,
    actor: str = ACTOR,
) -> Look | None:
    """Look at a rollout once, and do what the evidence calls for.

    Two processes that look at once write one look: the other one's transaction is refused, and it reads again later.

    Parameters
    ----------
    scorers : mapping of int to Scorer
        The versions that can be loaded here; the champion is among them.

    Returns
    -------
    Look or None
        None where the rollout is over.
    """
    memory = LookMemory() if memory is None else memory
    with registry.database.read() as session:
        rollout = session.get(Rollout, rollout_id)
        memory.add(read_looks(session, rollout_id, after=len(memory.looks)))
        replicas = list(session.exec(select(RolloutReplica).where(RolloutReplica.rollout_id == rollout_id)))
    if rollout is None or rollout.status != "running":
        return None
    new = _look(registry, home, rollout, scorers, replicas, memory, now)
    looks = [*memory.looks, new] if new is not None else memory.looks
    evidence = _gather(rollout, looks, replicas, now)
    decision = decide_on(rollout, looks, evidence, scorers.get(rollout.champion), now)
    if new is not None or not isinstance(decision, Stay):
        with registry.database.write() as session:
            if new is not None:
                session.add(new)
                session.flush()
            rollout = apply_decision(session, rollout, decision, evidence, actor=actor, now=now)
        memory.add([] if new is None else [new])
    return Look(rollout, evidence, decision)


def read_looks(session: Session, rollout_id: str, *, after: int = 0) -> list[RolloutLook]:
    """Read the looks at a rollout in their order, those after the first so many."""
    query = select(RolloutLook).where(RolloutLook.rollout_id == rollout_id, RolloutLook.number > after)
    return list(session.exec(query.order_by(col(RolloutLook.number))))


def read_evidence(session: Session, rollout: Rollout, *, now: datetime) -> tuple[list[RolloutLook], Evidence]:
    """Read what is known of a rollout, without looking anew; requests are counted up to now."""
    looks = read_looks(session, rollout.id)
    replicas = list(session.exec(select(RolloutReplica).where(RolloutReplica.rollout_id == rollout.id)))
    if requests := _new_requests(replicas, looks):
        looks.append(RolloutLook(rollout_id=rollout.id, number=len(looks) + 1, requests=requests, looked_at=now))
    return looks, _gather(rollout, looks, replicas, now)


def decide_on(
    rollout: Rollout, looks: Sequence[RolloutLook], evidence: Evidence, champion: Scorer | None, now: datetime
) -> Decision:
    """Decide with all that the kind of the rollout calls for."""
    if rollout.kind == "canary":
        return decide(rollout, evidence, now)
    spec = RolloutSpec.model_validate(rollout.spec)
    allocation = None
    if rollout.kind == "bandit" and champion is not None:
        allocation = allocate(
            {str(each): served_rewards(looks, each) for each in (rollout.champion, *rollout.challengers)},
            is_share=champion.manifest.classes is not None,
            exploration=spec.exploration,
            seed=len(looks),
        )
    is_over = not isinstance(decide(rollout, evidence, now), Stay)
    verdict = judge_arms(rollout, looks) if is_over else None
    return decide(rollout, evidence, now, verdict=verdict, allocation=allocation)


def apply_decision(
    session: Session, rollout: Rollout, decision: Decision, evidence: Evidence, *, actor: str, now: datetime
) -> Rollout:
    """Do what was decided, if nobody has changed the rollout since it was read."""
    if isinstance(decision, Move):
        return move_rollout(
            session,
            rollout,
            step=decision.step,
            shares=decision.shares,
            actor=actor,
            reason=decision.reason,
            evidence={"evidence": as_document(evidence)},
            now=now,
        )
    if isinstance(decision, Close):
        return close_rollout(
            session,
            rollout,
            status=decision.status,
            actor=actor,
            reason=decision.reason,
            evidence={"evidence": as_document(evidence), "verdict": dict(decision.verdict)},
            promote=decision.promote,
            now=now,
        )
    return rollout


def _gather(
    rollout: Rollout, looks: Sequence[RolloutLook], replicas: Sequence[RolloutReplica], now: datetime
) -> Evidence:
    heard = [each for each in replicas if each.heard_at > now - timedelta(seconds=_REPLICA_SECONDS)]
    refused = {each.replica: "; ".join(map(str, each.refused.values())) for each in heard if each.refused}
    return gather_evidence(rollout, looks, refused=refused, n_replicas=len(heard))


def _look(
    registry: Registry,
    home: Path,
    rollout: Rollout,
    scorers: Mapping[int, Scorer],
    replicas: Sequence[RolloutReplica],
    memory: LookMemory,
    now: datetime,
) -> RolloutLook | None:
    requests = _new_requests(replicas, memory.looks)
    labelled, compared = _judge_traffic(registry, home, rollout, scorers, memory, now)
    if not requests and not labelled and not compared:
        return None
    return RolloutLook(
        rollout_id=rollout.id,
        number=len(memory.looks) + 1,
        labelled=labelled,
        compared=compared,
        requests=requests,
        looked_at=now,
    )


def _new_requests(replicas: Sequence[RolloutReplica], looks: Sequence[RolloutLook]) -> dict[str, Any]:
    total = add_counts(each.counts for each in replicas)
    before = add_counts(look.requests for look in looks)
    new = {number: counts.plus(before[number], -1) if number in before else counts for number, counts in total.items()}
    return {number: counts.as_json() for number, counts in new.items() if counts.requests}


def _judge_traffic(
    registry: Registry,
    home: Path,
    rollout: Rollout,
    scorers: Mapping[int, Scorer],
    memory: LookMemory,
    now: datetime,
) -> tuple[dict[str, Any], dict[str, Any]]:
    champion = scorers.get(rollout.champion)
    if champion is None or not any(number in scorers for number in rollout.challengers):
        # A row is judged once: whoever can load only one side leaves it to others, or to later.
        return {}, {}
    versions = [rollout.champion, *rollout.challengers]
    traffic = read_traffic(home, rollout.model, registry=registry, since=rollout.started_at)
    traffic = traffic[traffic["version"].isin(versions)]
    scale = error_scale(champion.manifest)
    labels = read_label_versions(home, rollout.model, registry=registry)
    labelled: dict[str, Any] = {}
    if len(labels):
        matured = matured_rows(traffic, labels, label_delay=champion.manifest.label_delay, until=now)
        fresh = matured[matured["is_labelled"] & ~matured["id"].isin(memory.judged)]
        fresh = keep_judgeable(fresh, champion.manifest).head(_MOST_LABELLED)
        if len(fresh):
            labelled = judge_rows(fresh, {number: scorers.get(number) for number in versions}, scale=scale)
    if labelled or memory.judged or rollout.kind != "canary":
        return labelled, {}
    return labelled, _compare(rollout, traffic, scorers, memory, scale)


def _compare(
    rollout: Rollout, traffic: pd.DataFrame, scorers: Mapping[int, Scorer], memory: LookMemory, scale: float
) -> dict[str, Any]:
    (number,) = rollout.challengers
    if RolloutSpec.model_validate(rollout.spec).evidence == "labels" or number not in scorers:
        return {}
    until = [look.compared["until"] for look in memory.looks if look.compared]
    rows = traffic.sort_values(["predicted_at", "id"])
    if until:
        rows = rows[rows["predicted_at"] > pd.Timestamp(parse_moment(until[-1]))]
    rows = rows.head(_MOST_COMPARED)
    if rows.empty:
        return {}
    found = compare_rows(rows, scorers[rollout.champion], scorers[number], scale=scale)
    return {**found, "until": rows["predicted_at"].iloc[-1].isoformat()}
