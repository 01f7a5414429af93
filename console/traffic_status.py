"""`everfit traffic status`: the accounts of the prediction log, held against what is really stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, nearest
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output
    from serving.log.status import ModelStatus
    from serving.log.streams import Place

_PLACES: tuple[Place, ...] = ("growing", "sealed", "moved", "removed")


def status_command(model: str | None, *, output: Output) -> bool:
    """Print the accounts of one model or all; False where a gap was found.

    Raises
    ------
    ArgumentError
        If there is no log of the model.
    """
    from serving.log.status import read_status

    settings = read_settings()
    registry = None if is_registry_new(settings) else open_registry(settings)
    statuses = read_status(settings.home.absolute(), registry)
    if model is not None:
        known = [status.model for status in statuses]
        statuses = [status for status in statuses if status.model == model]
        if not statuses:
            raise ArgumentError(
                f"there is no log of a model {model!r}; there are logs of {', '.join(known) or 'none'}"
                f"{nearest(model, known)}"
            )
    if not statuses:
        output.say("Nothing has been predicted yet.")
    for status in statuses:
        _say(status, output)
    output.result([_document(status) for status in statuses])
    return not any(status.gaps for status in statuses)


def _say(status: ModelStatus, output: Output) -> None:
    totals = status.totals
    output.say(
        f"{status.model}: accepted {totals.accepted:,} = stored {totals.stored:,} "
        f"+ rejected {sum(totals.rejected.values()):,} + in flight {totals.in_flight:,}"
    )
    for reason, n_rows in sorted(totals.rejected.items()):
        output.say(f"  rejected, {reason}: {n_rows:,}")
    if totals.shadow:
        output.say(f"  of shadow versions, seen by nobody: {totals.shadow:,}")
    for kind in sorted({segment.kind for segment in status.segments}):
        places = [(place, *status.count(place, kind)) for place in _PLACES]
        told = [f"{n_rows:,} in {n} {place} segment{'' if n == 1 else 's'}" for place, n, n_rows in places if n]
        output.say(f"  {kind} found: {', '.join(told)}")
    if status.writers:
        output.table(
            ["writer", "state", "counted at (UTC)", "accepted", "stored", "rejected", "in flight", "found"],
            [
                [
                    one.accounts.writer,
                    one.accounts.life,
                    f"{one.accounts.written_at:%Y-%m-%d %H:%M:%S}",
                    f"{one.accounts.totals.accepted:,}",
                    f"{one.accounts.totals.stored + one.accounts.totals.shadow:,}",
                    f"{sum(one.accounts.totals.rejected.values()):,}",
                    f"{one.accounts.totals.in_flight:,}",
                    f"{one.n_found:,}",
                ]
                for one in status.writers
            ],
        )
    for one in status.writers:
        for note in one.notes:
            output.say(f"  {one.accounts.writer}: {note}")
    for note in status.notes:
        output.say(f"  {note}")
    for gap in status.gaps:
        output.warn(f"gap in the log of {status.model}: {gap}")


def _document(status: ModelStatus) -> dict[str, Any]:
    totals = status.totals
    return {
        "model": status.model,
        **totals.as_json(),
        "in_flight": totals.in_flight,
        "found": status.n_found,
        "segments": {
            kind: {place: dict(zip(("segments", "rows"), status.count(place, kind), strict=True)) for place in _PLACES}
            for kind in sorted({segment.kind for segment in status.segments})
        },
        "writers": [
            {
                "writer": one.accounts.writer,
                "host": one.accounts.host,
                "pid": one.accounts.pid,
                "state": one.accounts.life,
                "written_at": one.accounts.written_at,
                **one.accounts.totals.as_json(),
                "in_flight": one.accounts.totals.in_flight,
                "found": one.n_found,
                "notes": one.notes,
                "gaps": one.gaps,
            }
            for one in status.writers
        ],
        "notes": status.notes,
        "gaps": status.gaps,
    }
