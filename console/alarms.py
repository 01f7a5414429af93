"""The bodies of `everfit alarms`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from base.actors import name_person
from base.errors import ArgumentError
from base.times import parse_duration, utc_now
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from datetime import datetime

    from console.output import Output
    from registry.tables import AlarmMute, AlarmRow

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHORT = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def list_command(model: str | None, *, everything: bool, output: Output) -> None:
    """List alarms and mutes of one model, or of all."""
    settings, now = read_settings(), utc_now()
    alarms: list[AlarmRow] = []
    mutes: list[AlarmMute] = []
    if not is_registry_new(settings):
        from registry.alarm_mutes import list_mutes
        from registry.alarms import list_alarms
        from registry.versions import check_model

        with open_registry(settings).database.read() as session:
            if model is not None:
                check_model(session, model)
            alarms = list_alarms(session, model, is_open=not everything)
            mutes = list_mutes(session, model, now=now)
    if alarms:
        output.table(
            ["raised (UTC)", "model", "alarm", "columns", "verdict", "windows", "state", "reason"],
            [
                [
                    f"{each.raised_at:%Y-%m-%d %H:%M}",
                    each.model,
                    f"{each.kind} ({each.severity})",
                    ", ".join(each.columns) or "-",
                    each.verdict,
                    each.n_windows,
                    "open" if each.closed_at is None else f"closed {each.closed_at:%Y-%m-%d}: {each.closed_because}",
                    each.reason,
                ]
                for each in alarms
            ],
        )
    else:
        output.say("No alarm was ever raised." if everything else "No alarm is open; --all lists those that are over.")
    for mute in mutes:
        told = "for good" if mute.until is None else f"until {mute.until:%Y-%m-%d %H:%M} UTC"
        what = " in ".join(part for part in (mute.kind, mute.feature) if part)
        output.say(f"muted in {mute.model}: {what}, {told}, by {mute.muted_by}: {mute.reason}")
    output.result(
        {
            "alarms": [_describe_alarm(each) for each in alarms],
            "mutes": [_describe_mute(each) for each in mutes],
        }
    )


def mute_command(
    model: str, column: str | None, *, kind: str | None, until: str | None, reason: str, output: Output
) -> None:
    """Mute a column, a kind of alarm, or a kind in a column.

    Raises
    ------
    ArgumentError
        If there is no such model or kind, nothing is named, or the duration cannot be read.
    """
    from registry.alarm_mutes import mute_alarms
    from registry.versions import check_model

    _check_reason(reason)
    now = utc_now()
    with open_registry(read_settings()).database.write() as session:
        check_model(session, model)
        mute = mute_alarms(
            session,
            model,
            feature=column,
            kind=kind,
            until=None if until is None else _read_until(until, now),
            actor=name_person(),
            reason=reason,
            now=now,
        )
    told = "for good" if mute.until is None else f"until {mute.until:%Y-%m-%d %H:%M} UTC"
    output.say(f"muted {told}; `everfit alarms unmute {model}` with the same words lets it speak again")
    output.result(_describe_mute(mute))


def unmute_command(model: str, column: str | None, *, kind: str | None, output: Output) -> None:
    """Lift a mute.

    Raises
    ------
    ArgumentError
        If it is not muted.
    """
    from registry.alarm_mutes import unmute_alarms
    from registry.versions import check_model

    with open_registry(read_settings()).database.write() as session:
        check_model(session, model)
        mute = unmute_alarms(session, model, feature=column, kind=kind, actor=name_person(), now=utc_now())
    output.say("it raises alarms again")
    output.result(_describe_mute(mute))


def reset_command(model: str, *, reason: str, output: Output) -> None:
    """Close a model's open alarms, and take what they showed as usual from now on."""
    from registry.alarms import reset_alarms
    from registry.versions import check_model

    _check_reason(reason)
    with open_registry(read_settings()).database.write() as session:
        check_model(session, model)
        closed = reset_alarms(session, model, actor=name_person(), reason=reason, now=utc_now())
    told = ", ".join(each.kind for each in closed) or "none was open"
    output.say(f"alarms closed: {told}; what the windows show now is taken as usual")
    output.result({"model": model, "closed": [_describe_alarm(each) for each in closed]})


def _read_until(text: str, now: datetime) -> datetime:
    short = _SHORT.fullmatch(text.strip())
    try:
        duration = parse_duration(text if short is None else f"{short[1]} {_UNITS[short[2]]}")
    except ValueError as error:
        raise ArgumentError(f"--until: {error}; 14d is read as well") from None
    if not isinstance(duration, timedelta) or duration <= timedelta(0):
        raise ArgumentError(f"--until is {text!r}, expected longer than nothing")
    try:
        return now + duration
    except OverflowError:
        raise ArgumentError(
            f"--until is {text!r}, which lies beyond all calendars; leave it out to mute for good"
        ) from None


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise ArgumentError("--reason is empty; say in a few words why, for whoever reads the ledger later")


def _describe_alarm(alarm: AlarmRow) -> dict[str, Any]:
    return alarm.model_dump(mode="json", exclude={"open_for"}) | {"is_open": alarm.closed_at is None}


def _describe_mute(mute: AlarmMute) -> dict[str, Any]:
    return mute.model_dump(mode="json", exclude={"active_for"})
