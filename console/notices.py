"""`everfit notices`: list receivers and notices, test a receiver, mute a pipeline, send again."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from base.actors import name_person
from base.errors import ArgumentError, RunFailed, nearest
from base.times import parse_duration, parse_moment, utc_now
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from base.settings import Settings
    from console.output import Output
    from registry.notices.sinks import Sink
    from registry.tables import NoticeMute, NoticeRow

_SHORT = re.compile(r"(\d+)\s*([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def list_command(pipeline: str | None, *, state: str | None, limit: int, output: Output) -> None:
    """List receivers without their addresses, what is muted, and the newest notices.

    Raises
    ------
    ArgumentError
        If there is no such state.
    """
    from registry.notices.mutes import list_mutes
    from registry.notices.outbox import STATES, list_notices

    if state is not None and state not in STATES:
        raise ArgumentError(f"--state is {state!r}, expected one of {', '.join(STATES)}{nearest(state, STATES)}")
    settings = read_settings()
    notices: list[NoticeRow] = []
    mutes: list[NoticeMute] = []
    if not is_registry_new(settings):
        with open_registry(settings).database.read() as session:
            notices = list_notices(session, pipeline=pipeline, state=state, limit=limit)
            mutes = [each for each in list_mutes(session, now=utc_now()) if pipeline in (None, each.pipeline)]
    _show_receivers(settings, output)
    if mutes:
        output.say()
        output.table(
            ["muted", "kind", "until (UTC)", "by", "why"],
            [
                [
                    each.pipeline,
                    each.kind or "everything",
                    _moment(each.until) or "for good",
                    each.muted_by,
                    each.reason,
                ]
                for each in mutes
            ],
        )
    if notices:
        output.say()
        _show_notices(settings, notices, output)
    output.result(
        {
            "receivers": [
                {
                    "name": name,
                    "schemes": list(receiver.schemes),
                    **receiver.model_dump(mode="json", exclude={"url"}, by_alias=True),
                }
                for name, receiver in settings.notify.items()
            ],
            "muted": [_describe_mute(each) for each in mutes],
            "notices": [_describe_notice(each) for each in notices],
        }
    )


def test_command(name: str | None, *, owner: str, output: Output) -> None:
    """Send a test message to each address, outside of the outbox.

    Raises
    ------
    ArgumentError
        If there is no receiver, or none of that name.
    RunFailed
        If one did not take it.
    """
    from base.receivers import address_owner
    from deployments.notices.apprise_message import send_message
    from deployments.notices.carrier import NotCarried
    from registry.notices.sinks import name_receiver
    from registry.notices.wording import Message

    message = Message(
        "Everfit: a test message",
        f"{name_person()} wanted to see whether this arrives. Nothing has happened.",
        "notice",
    )
    answers: list[dict[str, Any]] = []
    for sink in _choose(read_settings(), name):
        url = None if sink.url is None else address_owner(sink.url, owner)
        problem = "its address has a place for the owner's; give one by --owner" if url is None else ""
        try:
            if url is not None:
                send_message(url, message)
        except NotCarried as error:
            problem = str(error)
        answers.append({"receiver": name_receiver(sink.name), "problem": problem})
        output.say(f"{name_receiver(sink.name)}: {problem or 'took it'}")
    if refused := [answer for answer in answers if answer["problem"]]:
        raise RunFailed(
            "; ".join(f"receiver {answer['receiver']!r}: {answer['problem']}" for answer in refused)
            + "; see whether its address in EVERFIT_NOTIFY is right and it is up"
        )
    output.result(answers)


def mute_command(pipeline: str, *, until: str | None, kind: str | None, reason: str, output: Output) -> None:
    """Tell nobody of a pipeline for a while."""
    from registry.notices.mutes import mute_notices

    now = utc_now()
    end = None if until is None else _read_until(until, now)
    with open_registry(read_settings()).database.write() as session:
        _check_pipeline(session, pipeline)
        mute = mute_notices(session, pipeline, kind=kind, until=end, actor=name_person(), reason=reason, now=now)
    told = "for good" if end is None else f"until {_moment(end)} UTC"
    output.say(f"{kind or 'everything'} of {pipeline!r} is muted {told}; `everfit notices unmute {pipeline}` ends it")
    output.result(_describe_mute(mute))


def unmute_command(pipeline: str, *, kind: str | None, output: Output) -> None:
    """Tell people of a pipeline again."""
    from registry.notices.mutes import unmute_notices

    with open_registry(read_settings()).database.write() as session:
        unmute_notices(session, pipeline, kind=kind, actor=name_person(), now=utc_now())
    output.say(f"{kind or 'everything'} of {pipeline!r} is told again")
    output.result({"pipeline": pipeline, "kind": kind, "muted": False})


def retry_command(name: str | None, *, output: Output) -> None:
    """Make everything due that waits or was given up, and send it; what goes to Prefect its dispatcher sends."""
    settings = read_settings()
    sinks = _choose(settings, name)
    from deployments.notices.courier import Courier, make_routes
    from registry.notices.outbox import WAITING, list_notices, try_again
    from registry.notices.sinks import name_receiver

    registry = open_registry(settings)
    with registry.database.write() as session:
        n_due = try_again(session, [sink.name for sink in sinks], utc_now())
    names = {sink.name for sink in sinks}
    courier = Courier(
        registry, [route for route in make_routes(settings, with_prefect=False) if route.sink.name in names]
    )
    courier.tick()
    courier.wait(60.0)
    with registry.database.read() as session:
        rows = [row for row in list_notices(session, state=WAITING, limit=10_000) if row.sink in names]
    for sink, problem in dict.fromkeys((row.sink, row.problem) for row in rows if row.problem):
        output.warn(f"receiver {name_receiver(sink)!r} did not take it: {problem}")
    n_waiting = len(rows)
    output.say(f"{n_due} notices were due" + (f", {n_waiting} wait still" if n_waiting else ", all are sent"))
    output.result({"due": n_due, "waiting": n_waiting})


def _choose(settings: Settings, name: str | None) -> list[Sink]:
    from registry.notices.sinks import receiver_sinks

    if not settings.notify:
        raise ArgumentError(
            'there is no receiver; set EVERFIT_NOTIFY to {"team": "slack://..."}, with any address that Apprise knows'
        )
    if name is None:
        return receiver_sinks(settings.notify)
    if name not in settings.notify:
        known = settings.notify
        raise ArgumentError(f"there is no receiver {name!r}; there are {', '.join(known)}{nearest(name, known)}")
    return receiver_sinks({name: settings.notify[name]})


def _check_pipeline(session: Any, pipeline: str) -> None:
    from registry.pipelines import list_pipelines

    known = list_pipelines(session)
    if pipeline not in known:
        raise ArgumentError(
            f"there is no pipeline {pipeline!r}; registered are {', '.join(known) or 'none'}{nearest(pipeline, known)}"
        )


def _read_until(text: str, now: datetime) -> datetime:
    short = _SHORT.fullmatch(text.strip())
    try:
        moment = _later(now, text if short is None else f"{short[1]} {_UNITS[short[2]]}") or parse_moment(text)
    except (ValueError, OverflowError):
        raise ArgumentError(
            f"--until is {text!r}, expected a duration such as 14d or a moment such as 2026-12-01"
        ) from None
    if moment <= now:
        raise ArgumentError(f"--until is {text!r}, which is over already")
    return moment


def _later(now: datetime, duration: str) -> datetime | None:
    try:
        found = parse_duration(duration)
    except ValueError:
        return None
    return now + found if isinstance(found, timedelta) else None


def _show_receivers(settings: Settings, output: Output) -> None:
    if not settings.notify:
        output.say("No receiver: EVERFIT_NOTIFY is not set.")
        return
    output.table(
        ["receiver", "by", "from", "kinds", "pipelines", "owners"],
        [
            [
                name,
                ", ".join(receiver.schemes),
                receiver.least,
                ", ".join(receiver.kinds) or "all",
                ", ".join(receiver.pipelines) or "all",
                ", ".join(receiver.owners) or "all",
            ]
            for name, receiver in settings.notify.items()
        ],
    )


def _show_notices(settings: Settings, notices: list[NoticeRow], output: Output) -> None:
    from registry.notices.sinks import PREFECT, name_receiver, receiver_sinks

    here = {sink.name for sink in receiver_sinks(settings.notify)} | {PREFECT}
    output.table(
        ["happened (UTC)", "severity", "what", "receiver", "state", "tries", "problem"],
        [
            [
                _moment(each.happened_at),
                each.severity,
                each.happening.get("title", each.kind),
                name_receiver(each.sink) + ("" if each.sink in here else " (not set here)"),
                each.state,
                each.tries,
                each.problem
                + (f" (next try {each.next_try_at:%H:%M})" if each.state == "waiting" and each.tries else ""),
            ]
            for each in notices
        ],
    )


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _describe_mute(mute: NoticeMute) -> dict[str, Any]:
    return {
        "pipeline": mute.pipeline,
        "kind": mute.kind,
        "until": None if mute.until is None else mute.until.isoformat(),
        "by": mute.muted_by,
        "reason": mute.reason,
    }


def _describe_notice(row: NoticeRow) -> dict[str, Any]:
    from registry.notices.sinks import name_receiver

    return {
        "id": row.id,
        "receiver": name_receiver(row.sink),
        "pipeline": row.pipeline,
        "kind": row.kind,
        "severity": row.severity,
        "title": row.happening.get("title"),
        "text": row.happening.get("text"),
        "state": row.state,
        "tries": row.tries,
        "problem": row.problem,
        "happened_at": row.happened_at.isoformat(),
        "next_try_at": row.next_try_at.isoformat() if row.state == "waiting" else None,
        "finished_at": None if row.finished_at is None else row.finished_at.isoformat(),
    }
