"""`everfit history`: which version was champion when, who changed it and why."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from base.times import parse_moment
from console.installation import open_registry, read_environment, read_settings

if TYPE_CHECKING:
    from datetime import datetime

    from console.output import Output
    from registry.reigns import Reign
    from registry.tables import AliasMove


def history_command(model: str, *, at: str | None, environment: str | None, output: Output) -> None:
    """List the moves of a model's champion alias, newest first, or tell who was champion on a day.

    Raises
    ------
    ArgumentError
        If the moment or the environment is none.
    VersionNotFound
        If there is no model of that name.
    """
    settings = read_settings()
    places = None if environment is None else [read_environment(settings, environment)]
    span = None if at is None else _read_span(at)
    from registry.models import ENVIRONMENTS, alias_history, check_model

    registry = open_registry(settings)
    with registry.database.read() as session:
        check_model(session, model)
        if span is not None:
            from registry.reigns import champions_between

            reigns = champions_between(session, model, *span)
            _tell(model, at or "", [reign for reign in reigns if places is None or reign.environment in places], output)
            return
        moves = [move for place in places or ENVIRONMENTS for move in alias_history(session, place, model)]
    moves.sort(key=lambda move: (move.moved_at, move.id or 0), reverse=True)
    if not moves:
        output.say(f"No version of {model!r} was ever champion{'' if places is None else f' in {places[0]}'}.")
    else:
        output.table(
            ["moved (UTC)", "environment", "champion", "was", "how", "by", "reason"],
            [
                [
                    _minute(move.moved_at),
                    move.environment,
                    move.number,
                    "" if move.previous is None else move.previous,
                    move.kind,
                    move.actor,
                    move.reason,
                ]
                for move in moves
            ],
        )
    output.result([move_as_json(move) for move in moves])


def move_as_json(move: AliasMove) -> dict[str, Any]:
    """Describe a move of an alias as a JSON document."""
    return {
        "moved_at": move.moved_at.isoformat(),
        "environment": move.environment,
        "alias": move.alias,
        "version": move.number,
        "previous": move.previous,
        "revision": move.revision,
        "kind": move.kind,
        "actor": move.actor,
        "reason": move.reason,
        "run": move.run_id,
    }


def _tell(model: str, at: str, reigns: list[Reign], output: Output) -> None:
    if not reigns:
        output.say(f"No version of {model!r} was champion on {at}.")
    else:
        output.table(
            ["environment", "champion", "since (UTC)", "until (UTC)"],
            [
                [
                    reign.environment,
                    f"{model}@{reign.number}",
                    _minute(reign.since),
                    "now" if reign.until is None else _minute(reign.until),
                ]
                for reign in reigns
            ],
        )
    output.result(
        [
            {
                "environment": reign.environment,
                "version": reign.number,
                "since": reign.since.isoformat(),
                "until": None if reign.until is None else reign.until.isoformat(),
            }
            for reign in reigns
        ]
    )


def _read_span(at: str) -> tuple[datetime, datetime]:
    """Read a moment, or a day from its first to its last microsecond."""
    try:
        moment = parse_moment(at)
    except ValueError as error:
        raise ArgumentError(f"--at: {error}") from error
    is_day = len(at.strip()) <= len("2026-05-03") and ":" not in at
    return moment, moment + timedelta(days=1, microseconds=-1) if is_day else moment


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
