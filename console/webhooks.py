"""`everfit webhooks`: list receivers and messages, test a receiver, send again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, RunFailed, nearest
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from base.settings import Settings
    from base.webhooks import Webhook
    from console.output import Output


def list_command(*, limit: int, output: Output) -> None:
    """List the receivers of the settings, without their addresses' paths and secrets, and the newest messages."""
    settings = read_settings()
    deliveries: list[Any] = []
    if not is_registry_new(settings):
        from registry.webhooks import list_deliveries

        with open_registry(settings).database.read() as session:
            deliveries = list_deliveries(session, limit=limit)
    receivers = [
        {"name": name, "host": receiver.host, "events": list(receiver.events)}
        for name, receiver in settings.webhooks.items()
    ]
    if receivers:
        rows = [[receiver["name"], receiver["host"], ", ".join(receiver["events"])] for receiver in receivers]
        output.table(["receiver", "host", "events"], rows)
    else:
        output.say("No receiver: EVERFIT_WEBHOOKS is not set.")
    messages = [
        {
            "id": delivery.message_id,
            "receiver": delivery.receiver,
            "event": delivery.event,
            "model": delivery.model,
            "status": delivery.status,
            "tries": delivery.tries,
            "problem": delivery.problem,
            "created_at": delivery.created_at.isoformat(),
            "next_try_at": delivery.next_try_at.isoformat() if delivery.status == "waiting" else None,
            "finished_at": None if delivery.finished_at is None else delivery.finished_at.isoformat(),
        }
        for delivery in deliveries
    ]
    if messages:
        output.say()
        output.table(
            ["event", "model", "receiver", "status", "tries", "created (UTC)", "problem", "id"],
            [
                [
                    message["event"],
                    message["model"],
                    message["receiver"] + ("" if message["receiver"] in settings.webhooks else " (not set here)"),
                    message["status"],
                    message["tries"],
                    message["created_at"][:16].replace("T", " "),
                    message["problem"] + _next_try(message),
                    message["id"],
                ]
                for message in messages
            ],
        )
    output.result({"receivers": receivers, "messages": messages})


def test_command(name: str | None, *, output: Output) -> None:
    """Send a signed test message, outside of the outbox.

    Raises
    ------
    ArgumentError
        If there is no receiver, or none of that name.
    RunFailed
        If one did not take it.
    """
    from registry.webhook_delivery import send_message
    from registry.webhooks import TEST_EVENT, write_messages

    answers: list[dict[str, Any]] = []
    for receiver, webhook in _choose(read_settings(), name).items():
        (message,) = write_messages(TEST_EVENT, {"receiver": receiver}, [receiver])
        try:
            code = send_message(webhook, message)
            problem = "" if 200 <= code < 300 else f"answered with status {code}"
        except ConnectionError as error:
            code, problem = None, str(error)
        answers.append({"receiver": receiver, "id": message.message_id, "status_code": code, "problem": problem})
        output.say(f"{receiver} ({webhook.host}): {problem or f'took it, status {code}'}")
    if refused := [answer for answer in answers if answer["problem"]]:
        raise RunFailed(
            "; ".join(f"webhook {answer['receiver']!r}: {answer['problem']}" for answer in refused)
            + "; see whether its address and secret in EVERFIT_WEBHOOKS are right and it is up"
        )
    output.result(answers)


def retry_command(name: str | None, *, output: Output) -> None:
    """Make everything due that waits or was given up, and send it."""
    settings = read_settings()
    receivers = _choose(settings, name)
    from base.times import utc_now
    from registry.webhook_delivery import deliver_due
    from registry.webhooks import DELIVERED, try_again

    registry = open_registry(settings)
    with registry.database.write() as session:
        n_due = sum(try_again(session, receiver, now=utc_now()) for receiver in receivers)
    sent = deliver_due(registry.database, settings)
    for one in sent:
        if one.status != DELIVERED:
            output.warn(f"webhook {one.receiver!r}: {one.event} was not taken: {one.problem}")
    n_delivered = sum(one.status == DELIVERED for one in sent)
    output.say(
        f"{n_due} messages were due, {n_delivered} delivered" + (", the rest waits" if n_delivered < n_due else "")
    )
    output.result({"due": n_due, "delivered": n_delivered})


def _choose(settings: Settings, name: str | None) -> dict[str, Webhook]:
    if not settings.webhooks:
        raise ArgumentError(
            'there is no receiver; set EVERFIT_WEBHOOKS to {"ops": {"url": "https://example.org/hooks", '
            '"secret": "whsec_..."}}'
        )
    if name is None:
        return settings.webhooks
    if name not in settings.webhooks:
        known = settings.webhooks
        raise ArgumentError(f"there is no receiver {name!r}; there are {', '.join(known)}{nearest(name, known)}")
    return {name: settings.webhooks[name]}


def _next_try(message: dict[str, Any]) -> str:
    if message["next_try_at"] is None or not message["tries"]:
        return ""
    return f" (next try {message['next_try_at'][11:16]})"
