"""Prometheus Alertmanager's webhook, version 4.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from base.times import parse_moment
from serving.hooks.forms.checked import check_document
from serving.hooks.wish import Wish, cut_reason, join_some

NAME = "alertmanager"
_MOST_TOLD = 20


class _Alert(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    startsAt: Annotated[datetime, BeforeValidator(parse_moment)]  # noqa: N815
    fingerprint: str = ""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "an alert without a name")

    @property
    def words(self) -> str:
        told = self.annotations.get("summary") or self.annotations.get("description")
        return f"{self.name} ({told})" if told else self.name


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal["4"]
    status: Literal["firing", "resolved"]
    receiver: str = ""
    groupKey: str = ""  # noqa: N815
    alerts: tuple[_Alert, ...]


def is_alertmanager(document: dict[str, Any]) -> bool:
    """Tell whether a document is a group of alerts."""
    return "alerts" in document and "status" in document and "version" in document


def read_alertmanager(document: dict[str, Any]) -> Wish:
    """Read a group of alerts: those that fire ask for a training, those that are resolved for nothing.

    Raises
    ------
    FaultsFound
        422, where it is not version 4.
    """
    group = check_document(_Group, document)
    firing = [alert for alert in group.alerts if alert.status == "firing"]
    facts: dict[str, Any] = {"group": group.groupKey, "receiver": group.receiver, "status": group.status}
    if not firing:
        names = join_some(sorted({alert.name for alert in group.alerts})) or "no alert"
        return Wish(form=NAME, reason=cut_reason(f"nothing fires any more: {names}"), asks=False, facts=facts)
    told = [
        {"labels": alert.labels, "since": alert.startsAt, "fingerprint": alert.fingerprint}
        for alert in firing[:_MOST_TOLD]
    ]
    count = "an alert fires" if len(firing) == 1 else f"{len(firing)} alerts fire"
    return Wish(
        form=NAME,
        reason=cut_reason(f"{count}: {join_some([alert.words for alert in firing])}"),
        occurred_at=max(alert.startsAt for alert in firing),
        facts=facts | {"firing": len(firing), "alerts": told},
    )
