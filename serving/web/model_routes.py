"""What the service tells about itself: health, readiness, the models in service, the page on which one was judged."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.responses import Response

from base.pages import name_page
from registry.manifest import ModelManifest
from registry.models import find_version
from serving.loading.follower import Served
from serving.scoring.view_lookup import describe_views
from serving.service import Service
from serving.web.problems import BodyRefused

# The page holds its style and its picture; it loads and runs nothing.
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def json_response(document: object, *, status: int = 200) -> Response:
    """Write an answer as JSON."""
    return Response(orjson.dumps(document), status_code=status, media_type="application/json")


class ModelRoutes:
    """The endpoints that only read."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def tell_health(self) -> Response:
        """Say that the process is up."""
        return json_response({"status": "up"})

    async def tell_readiness(self) -> Response:
        """Say whether there is a model to answer with, and what is amiss."""
        follower = self._service.follower
        served = {name: one.version.number for name, one in follower.served.items()}
        refused = {name: {"version": one.number, "reason": one.reason} for name, one in follower.refused.items()}
        registry = "readable" if follower.trouble is None else f"away ({follower.trouble})"
        log = self._service.log.trouble
        # At a start, one model that is loaded says nothing of the others yet.
        is_ready = bool(served) and follower.has_looked
        status = "ready" if is_ready else "loading" if served else "no model is loaded"
        if is_ready and (follower.trouble or log or refused):
            # What is loaded answers all the same: a balancer should not take the last service away.
            status = "degraded"
        document = {"status": status, "models": served, "refused": refused, "registry": registry}
        return json_response(document | ({"log": log} if log else {}), status=200 if is_ready else 503)

    async def list_models(self) -> Response:
        """List the models in service."""
        served = self._service.follower.served.values()
        return json_response({"models": [_summary(one) for one in sorted(served, key=lambda one: one.version.model)]})

    async def show_model(self, name: str) -> Response:
        """Tell which version of a model serves, what its rows must be, and where it came from."""
        service = self._service
        served = service.find(name)
        manifest, version = served.manifest, served.version
        refused = service.follower.refused.get(name)
        document = _summary(served) | {
            "environment": service.registry.environment,
            "target": manifest.target,
            "time": manifest.time,
            "classes": manifest.classes,
            "threshold": manifest.threshold if manifest.classes is not None and len(manifest.classes) == 2 else None,
            "signature": {
                column: {"type": rule.type, "nullable": rule.nullable}
                | rule.model_dump(mode="json", exclude_defaults=True)
                for column, rule in manifest.contract.columns.items()
            },
            "rules": {rule.name: rule.expression for rule in manifest.contract.rules},
            "views": describe_views(manifest.plan.views, served.scorer.lookup),
            "arms": {arm: one.version.number for one, arm in service.in_service(name)},
            "source": {
                "run": version.run_id,
                "pipeline_version": version.pipeline_version,
                "registered_at": version.created_at,
                "model_file": manifest.model_file.digest,
                "snapshot": manifest.snapshot,
                "trained_on": {"first": manifest.first, "last": manifest.watermark},
                "estimator": manifest.estimator,
                "metrics": manifest.metrics,
            },
            "refused": None if refused is None else {"version": refused.number, "reason": refused.reason},
        }
        return json_response(document)

    async def show_report(self, name: str, number: int) -> Response:
        """Show the page on which a version was judged, whether it serves or not."""
        page = await asyncio.to_thread(self._read_report, name, number)
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": _PAGE_POLICY})

    def _read_report(self, name: str, number: int) -> bytes:
        registry = self._service.registry
        with registry.database.read() as session:
            version = find_version(session, name, number)
        report = None if version is None else ModelManifest.model_validate(version.manifest).report
        if report is None:
            raise BodyRefused(
                404, f"there is no report of {name!r} version {number}; `everfit versions` lists what there is"
            )
        page = registry.artifacts.read_bytes(report).decode("utf-8")
        return name_page(page, f"{name}@{number}").encode("utf-8")


def _summary(served: Served) -> dict[str, Any]:
    version = served.version
    return {
        "model": version.model,
        "version": version.number,
        "task": served.manifest.task,
        "scoring": served.scorer.path,
        "loaded_at": served.loaded_at,
    }
