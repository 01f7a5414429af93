"""The outbox of webhooks: what is to be told is written in the transaction of what happened."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from base.documents import as_document
from base.times import utc_now
from base.webhooks import Webhook, WebhookEvent
from registry.tables import WebhookDelivery

RECEIVERS = "webhooks"
"""Under which name a database knows the receivers of the settings."""
WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given up"
TEST_EVENT = "webhook.test"


def announce(session: Session, event: WebhookEvent, data: Mapping[str, Any]) -> None:
    """Write down that an event is to be told to each receiver that wants to hear of it.

    Nothing is sent here: what is not committed must never be told, and what is committed must be, even if the
    process dies in the next moment. :mod:`registry.webhook_delivery` sends.

    Parameters
    ----------
    data : mapping
        What happened, as JSON; ``model`` names the model.
    """
    receivers: Mapping[str, Webhook] = session.info.get(RECEIVERS) or {}
    wanting = [name for name, receiver in receivers.items() if event in receiver.events]
    if not wanting:
        return
    session.add_all(write_messages(event, data, wanting))
    session.flush()


def write_messages(event: str, data: Mapping[str, Any], receivers: Sequence[str]) -> list[WebhookDelivery]:
    """Write a message as the specification has it (type, timestamp, data), with one id for all receivers."""
    now, message_id = utc_now(), f"msg_{secrets.token_hex(12)}"
    body = {"type": event, "timestamp": now.isoformat().replace("+00:00", "Z"), "data": as_document(data)}
    return [
        WebhookDelivery(
            message_id=message_id,
            receiver=receiver,
            event=event,
            model=str(data.get("model", "")),
            body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
            created_at=now,
            next_try_at=now,
        )
        for receiver in receivers
    ]


def list_deliveries(session: Session, *, status: str | None = None, limit: int = 100) -> list[WebhookDelivery]:
    """List deliveries, newest first."""
    query = select(WebhookDelivery).order_by(col(WebhookDelivery.id).desc()).limit(limit)
    return list(session.exec(query if status is None else query.where(WebhookDelivery.status == status)))


def try_again(session: Session, receiver: str | None = None, *, now: datetime) -> int:
    """Make what waits or was given up due now, with its tries counted anew, and return how many messages that are."""
    query = select(WebhookDelivery).where(col(WebhookDelivery.status) != DELIVERED)
    if receiver is not None:
        query = query.where(WebhookDelivery.receiver == receiver)
    found = list(session.exec(query))
    for delivery in found:
        delivery.status, delivery.tries = WAITING, 0
        delivery.next_try_at, delivery.finished_at = now, None
        session.add(delivery)
    return len(found)


def delete_delivered(session: Session, *, before: datetime) -> int:
    """Forget messages that were delivered before a moment, and return how many."""
    query = select(WebhookDelivery).where(WebhookDelivery.status == DELIVERED, col(WebhookDelivery.created_at) < before)
    found = list(session.exec(query))
    for delivery in found:
        session.delete(delivery)
    return len(found)
