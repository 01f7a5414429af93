"""Hand happenings to Prefect as events, for whoever wants automations of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from base.receivers import HappeningKind
from deployments.notices.carrier import NotCarried
from registry.notices.happening import Happening
from tasks.retraining import pipeline_resource

# Drawn once: the same happening is the same event, whoever sends it and however often.
_NAMESPACE = UUID("6f2d1c1e-6f0c-5d53-9a39-0f6a5d3c9b1b")
# What no second try would cure: the server has read the event and calls it none.
_REFUSED = (400, 413, 422)


def name_event(kind: HappeningKind) -> str:
    """Name the event of a kind of happening.

    None of them is the event that asks for a training, so that what we tell never starts one.

    Examples
    --------
    >>> name_event("drift.detected"), name_event("model.promoted")
    ('everfit.drift.detected', 'everfit.model.promoted')
    """
    return f"everfit.{kind}"


def write_event(happening: Happening) -> dict[str, Any]:
    """Write a happening as an event of Prefect's API; the same happening again has the same id."""
    name = name_event(happening.kind)
    related = []
    if happening.flow_run:
        related.append(
            {"prefect.resource.id": f"prefect.flow-run.{happening.flow_run}", "prefect.resource.role": "flow-run"}
        )
    return {
        # With its moment, since two registries may tell one server of the same numbers.
        "id": str(uuid5(_NAMESPACE, f"{happening.pipeline}/{happening.key}/{happening.at.isoformat()}")),
        "occurred": happening.at.isoformat(),
        "event": name,
        "resource": {
            "prefect.resource.id": pipeline_resource(happening.pipeline),
            "prefect.resource.name": happening.pipeline,
            "everfit.severity": happening.severity,
        },
        "related": related,
        "payload": {
            **happening.details,
            "title": happening.title,
            "text": happening.text,
            "severity": happening.severity,
            "link": happening.link,
            "run": happening.run_id,
        },
    }


class PrefectEvents:
    """The carrier to the Prefect server that this process' client talks to."""

    def carry(self, happenings: Sequence[Happening], *, owner: str) -> None:
        """Send events in their order, and return when the server has taken them.

        Raises
        ------
        NotCarried
            If the server does not answer, or refuses one of them.
        """
        import httpx
        from prefect.client.orchestration import get_client
        from prefect.exceptions import PrefectException

        events = [write_event(happening) for happening in happenings]
        try:
            with get_client(sync_client=True) as client:
                client.request("POST", "/events", json=events).raise_for_status()
        except httpx.HTTPStatusError as error:
            code = error.response.status_code
            raise NotCarried(f"Prefect's server answered with status {code}", is_final=code in _REFUSED) from error
        except (httpx.HTTPError, PrefectException, OSError, RuntimeError, ValueError) as error:
            problem = f"Prefect's server did not take it: {type(error).__name__}: {error}".rstrip(": ")
            raise NotCarried(problem) from error
