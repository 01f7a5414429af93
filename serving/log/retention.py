"""Retention of the prediction log: which moved segments are too old or too many, and their recorded end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from base.times import describe_duration
from registry.ledger import Rule, append_decision
from registry.manifest import ModelManifest
from registry.models import CHAMPION, find_alias, find_version, list_versions
from registry.needed_files import delete_unneeded
from registry.store import Registry
from registry.tables import TrafficSegment
from registry.traffic import list_moved, mark_removed

_RULE = "traffic_retention"


@dataclass(frozen=True)
class KeptTraffic:
    """How long, and how many bytes of, a model's predictions and labels are kept; None is for ever, or any number."""

    keep_for: timedelta | None = None
    keep_bytes: int | None = None


@dataclass(frozen=True)
class Removed:
    """What retention removed of one model, or would."""

    model: str
    segments: tuple[TrafficSegment, ...]
    reason: str

    @property
    def n_rows(self) -> int:
        """How many predictions and labels these are."""
        return sum(segment.n_rows for segment in self.segments)

    @property
    def size_bytes(self) -> int:
        """How much space they took."""
        return sum(segment.size_bytes for segment in self.segments)


def find_policy(session: Session, model: str, environment: str) -> KeptTraffic:
    """Find what the definition of a model's champion says, or that of its newest version."""
    alias = find_alias(session, environment, model, CHAMPION)
    version = None if alias is None else find_version(session, model, alias.number)
    if version is None:
        version = next(iter(list_versions(session, model)), None)
    if version is None:
        return KeptTraffic()
    log = ModelManifest.model_validate(version.manifest).log
    return KeptTraffic(log.keep_for, log.keep_bytes)


def choose_removed(segments: Sequence[TrafficSegment], policy: KeptTraffic, now: datetime) -> list[TrafficSegment]:
    """Choose the segments whose newest row is too old, and the oldest of those that are too many, oldest first."""
    ordered = sorted(segments, key=lambda one: (one.last_predicted_at or one.moved_at, one.id))
    left = sum(one.size_bytes for one in ordered)
    chosen = []
    for segment in ordered:
        is_old = policy.keep_for is not None and now - (segment.last_predicted_at or segment.moved_at) > policy.keep_for
        if not is_old and (policy.keep_bytes is None or left <= policy.keep_bytes):
            break
        chosen.append(segment)
        left -= segment.size_bytes
    return chosen


def plan_removal(session: Session, model: str, policy: KeptTraffic, now: datetime) -> Removed:
    """Tell what :func:`remove_traffic` would remove, and change nothing."""
    return Removed(model, tuple(choose_removed(list_moved(session, model), policy, now)), _describe(policy))


def remove_traffic(registry: Registry, model: str, policy: KeptTraffic, *, now: datetime, actor: str) -> Removed:
    """Remove what a policy does not keep: marked and told to the ledger first, in one transaction, then deleted.

    A death in between leaves files that nothing needs; `everfit data gc` finds them.
    """
    with registry.database.read() as session:
        if not plan_removal(session, model, policy, now).segments:
            return Removed(model, (), _describe(policy))
    with registry.database.write() as session:
        removed = plan_removal(session, model, policy, now)
        if not removed.segments:
            return removed
        evidence = [
            {"segment": one.id, "kind": one.kind, "version": one.version, "writer": one.writer, "n_rows": one.n_rows}
            for one in removed.segments
        ]
        files = mark_removed(session, removed.segments, now=now)
        append_decision(
            session,
            kind="data",
            pipeline=model,
            outcome=f"{len(files)} segments of the prediction log removed",
            reason=f"{removed.n_rows:,} rows in {removed.size_bytes:,} bytes; {removed.reason}",
            actor=actor,
            evidence={"segments": evidence, "n_rows": removed.n_rows, "size_bytes": removed.size_bytes},
            rule=Rule(
                _RULE,
                1,
                {
                    "keep_for_seconds": None if policy.keep_for is None else policy.keep_for.total_seconds(),
                    "keep_bytes": policy.keep_bytes,
                },
            ),
            inputs={"segments": [one["segment"] for one in evidence]},
        )
    delete_unneeded(registry, files, before=now)
    return removed


def _describe(policy: KeptTraffic) -> str:
    limits = [] if policy.keep_for is None else [f"older than {describe_duration(policy.keep_for)}"]
    limits += [] if policy.keep_bytes is None else [f"beyond {policy.keep_bytes:,} bytes"]
    return " or ".join(limits) or "everything is kept"
