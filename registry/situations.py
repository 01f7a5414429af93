"""What stands in the registry about a pipeline when a wish for a training comes: all of it in one query."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import String, bindparam, func, select
from sqlmodel import Session, col

from registry.tables import Decision, Launch, PipelineVersion, Run, TriggerRow


@dataclass(frozen=True)
class Situation:
    """A pipeline at the moment of a wish.

    Parameters
    ----------
    known : TriggerRow or None
        The trigger that was filed under the wish's key before.
    launch : Launch or None
        The pipeline's launch that has not ended.
    run : Run or None
        The run that is under way by the registry; its process may be dead.
    version : str or None
        Digest of the version that was registered or trained last; None where no pipeline of that name is registered.
    head : tuple of (int, str) or None
        Number and digest of the ledger's newest entry, to which the next one is linked.
    """

    known: TriggerRow | None
    launch: Launch | None
    run: Run | None
    version: str | None
    head: tuple[int, str] | None


# Built once: building a statement costs more than running it, and a storm of triggers asks this of each.
_ASKED = select(
    bindparam("pipeline", type_=String).label("pipeline"), bindparam("key", type_=String).label("key")
).subquery()
# A definition that was put back to what it had been is the older version again: what ran since is asked, too.
_RAN_SINCE = (
    select(col(Run.pipeline_version))
    .where(col(Run.pipeline) == PipelineVersion.pipeline, col(Run.started_at) > PipelineVersion.created_at)
    .order_by(col(Run.started_at).desc())
    .limit(1)
    .scalar_subquery()
)
NEWEST_VERSION = (
    select(func.coalesce(_RAN_SINCE, col(PipelineVersion.digest)))
    .where(col(PipelineVersion.pipeline) == bindparam("pipeline", type_=String))
    .order_by(col(PipelineVersion.created_at).desc())
    .limit(1)
)
"""The digest of the version of a ``pipeline`` that was registered or trained last."""

_SITUATION = (
    select(TriggerRow, Launch, Run, NEWEST_VERSION.scalar_subquery(), col(Decision.sequence), col(Decision.digest))
    .select_from(_ASKED)
    .outerjoin(TriggerRow, (col(TriggerRow.pipeline) == _ASKED.c.pipeline) & (col(TriggerRow.key) == _ASKED.c.key))
    .outerjoin(Launch, col(Launch.open_for) == _ASKED.c.pipeline)
    .outerjoin(Run, col(Run.under_way) == _ASKED.c.pipeline)
    .outerjoin(Decision, col(Decision.sequence) == select(func.max(col(Decision.sequence))).scalar_subquery())
)


def find_situation(session: Session, pipeline: str, *, key: str = "") -> Situation:
    """Look up what stands about a pipeline, and the trigger that is known under a *key*."""
    row = session.execute(_SITUATION, {"pipeline": pipeline, "key": key}).one()
    known, launch, run, version, sequence, digest = row
    return Situation(known, launch, run, version, None if sequence is None else (sequence, digest))
