"""What is told to whom: the outbox of signed webhooks."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from registry.tables.columns import moment_column, optional_moment_column
from registry.tables.table import Table


class WebhookDelivery(Table, table=True):
    """One message to one receiver, written in the transaction of what it tells.

    *status* is ``waiting``, ``delivered`` or ``given up``. A try moves *next_try_at* ahead before it begins, so that
    no two processes send at once, and one that dies loses nothing.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (UniqueConstraint("message_id", "receiver"),)

    id: int | None = Field(default=None, primary_key=True)
    message_id: str
    # The name of a setting; address and secret are never stored.
    receiver: str
    event: str
    model: str
    # Text and no document: what is signed is these characters, in this order.
    body: str
    status: str = Field(default="waiting", index=True)
    tries: int = 0
    problem: str = ""
    created_at: datetime = moment_column()
    next_try_at: datetime = moment_column()
    finished_at: datetime | None = optional_moment_column()
