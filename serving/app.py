"""The prediction service: requests in, logged predictions out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import orjson
from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from base.errors import EverfitError, Fault, nearest
from base.rows.personal import personal_key
from base.settings import Settings
from features.online_store import OnlineStore
from registry.manifest import ModelManifest
from registry.models import find_version
from registry.store import Registry
from serving.loading.follower import Follower, Served
from serving.loading.servability import Admission
from serving.log.prediction_log import PredictionLog
from serving.scoring.batcher import Answer, Batcher, PredictionNotLogged
from serving.scoring.scorer import Scorer
from serving.scoring.view_lookup import describe_views
from serving.web.payloads import MOST_FAULTS, BodyRefused, FaultsFound, describe_faults, read_labels_of, read_rows

_T = TypeVar("_T")

# A call releases Python's lock only in parts; more threads than this make each other slower.
_SCORING_THREADS = 2
# Up to here, reading a body takes less time than handing it to a thread.
_SMALL_BODY_BYTES = 32 << 10


def create_app(settings: Settings, registry: Registry, *, models: Collection[str] | None = None) -> FastAPI:
    """Make the service that follows the champions of the registry's environment.

    Parameters
    ----------
    models : collection of str, optional
        Serve these only; default: every model that has a champion, also one that gets its first later.
    """
    return _Service(settings, registry, models).make_app()


# The page holds its style and its picture; it loads and runs nothing.
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class _Service:
    """The routes, and what they share."""

    def __init__(self, settings: Settings, registry: Registry, models: Collection[str] | None) -> None:
        self._settings = settings
        self._registry = registry
        self._log = PredictionLog(settings.home.absolute(), segment_rows=settings.segment_rows)
        self._online = OnlineStore.from_settings(settings)
        self._pool = ThreadPoolExecutor(_SCORING_THREADS, thread_name_prefix="everfit-scorer")
        self._follower = Follower(
            registry,
            models=models,
            seconds=settings.follow_seconds,
            trusted=settings.trusted_types,
            make_batcher=self._make_batcher,
            on_retired=self._log.retire,
            online=self._online,
            read_key=partial(personal_key, settings),
            admit=Admission(registry, settings).admit,
        )

    def make_app(self) -> FastAPI:
        """Bind the routes."""
        # The interactive pages load their scripts from a foreign host; the machine-readable description stays.
        app = FastAPI(title="Everfit predictions", lifespan=self._lifespan, docs_url=None, redoc_url=None)
        app.add_exception_handler(BodyRefused, _answer_refusal)
        app.add_exception_handler(EverfitError, _answer_failure)
        app.add_exception_handler(ClientDisconnect, _answer_nobody)
        app.add_exception_handler(Exception, _answer_defect)
        routes: list[tuple[str, str, Any, dict[str, Any]]] = [
            ("GET", "/healthz", self.tell_health, {}),
            ("GET", "/readyz", self.tell_readiness, _describe(503)),
            ("GET", "/v1/models", self.list_models, {}),
            ("GET", "/v1/models/{name}", self.show_model, _describe(404, 503)),
            ("GET", "/v1/models/{name}/versions/{number}/report", self.show_report, _describe(404)),
            ("POST", "/v1/models/{name}/predict", self.predict, _describe(400, 404, 413, 422, 503, body="rows")),
            ("POST", "/v1/models/{name}/labels", self.add_labels, _describe(400, 404, 413, 422, 503, body="labels")),
        ]
        for method, path, endpoint, description in routes:
            app.add_api_route(path, endpoint, methods=[method], response_class=Response, **description)
        return app

    async def tell_health(self) -> Response:
        """Say that the process is up."""
        return _json({"status": "up"})

    async def tell_readiness(self) -> Response:
        """Say whether there is a model to answer with."""
        served = {name: one.version.number for name, one in self._follower.served.items()}
        refused = {name: {"version": one.number, "reason": one.reason} for name, one in self._follower.refused.items()}
        registry = "readable" if self._follower.trouble is None else f"away ({self._follower.trouble})"
        status = "ready" if served else "no model is loaded"
        document = {"status": status, "models": served, "refused": refused, "registry": registry}
        return _json(document, status=200 if served else 503)

    async def list_models(self) -> Response:
        """List the models in service."""
        served = self._follower.served.values()
        return _json({"models": [_summary(one) for one in sorted(served, key=lambda one: one.version.model)]})

    async def show_model(self, name: str) -> Response:
        """Tell which version of a model serves, what its rows must be, and where it came from."""
        served = self._find(name)
        manifest, version = served.manifest, served.version
        refused = self._follower.refused.get(name)
        document = _summary(served) | {
            "environment": self._registry.environment,
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
        return _json(document)

    async def show_report(self, name: str, number: int) -> Response:
        """Show the page on which a version was judged, whether it serves or not."""
        page = await asyncio.to_thread(self._read_report, name, number)
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": _PAGE_POLICY})

    async def predict(self, name: str, request: Request) -> Response:
        """Predict rows; every answer is in the log before it is given."""
        self._find(name)
        body = await self._read_body(request)
        # From here on the request belongs to this version, whatever the alias does.
        served = self._find(name)
        rows, warnings = await self._run(
            len(body), partial(_read_valid_rows, body, served.scorer, self._settings.max_rows)
        )
        answer = await served.batcher.predict(rows)
        return await self._run(len(body), partial(_write_answer, served, answer, warnings))

    async def add_labels(self, name: str, request: Request) -> Response:
        """Take what came true for earlier predictions."""
        self._find(name)
        body = await self._read_body(request)
        manifest = self._find(name).manifest
        labels = await self._run(
            len(body), partial(read_labels_of, body, manifest, most_labels=self._settings.max_rows)
        )
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._log.append_labels, name, labels)
        except OSError as error:
            raise PredictionNotLogged(
                f"the labels could not be kept ({error.strerror}); free the disk and send them again"
            ) from error
        return _json({"model": name, "accepted": len(labels)})

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        self._log.adopt()
        self._follower.start()
        yield
        await asyncio.to_thread(self._follower.stop)
        self._pool.shutdown(wait=True)
        await asyncio.to_thread(self._log.close)
        self._online.close()

    def _read_report(self, name: str, number: int) -> bytes:
        with self._registry.database.read() as session:
            version = find_version(session, name, number)
        report = None if version is None else ModelManifest.model_validate(version.manifest).report
        if report is None:
            raise BodyRefused(
                404, f"there is no report of {name!r} version {number}; `everfit versions` lists what there is"
            )
        return self._registry.artifacts.read_bytes(report)

    def _make_batcher(self, scorer: Scorer, number: int) -> Batcher:
        return Batcher(scorer, partial(self._log.append, scorer.manifest, number), self._pool)

    def _find(self, name: str) -> Served:
        served = self._follower.find(name)
        if served is not None:
            return served
        if refused := self._follower.refused.get(name):
            raise BodyRefused(
                503,
                f"version {refused.number} of model {name!r} cannot be loaded, and none before it: {refused.reason}",
            )
        if not self._follower.has_looked:
            raise BodyRefused(503, "the service has just started and is loading its models; ask /readyz, then again")
        known = sorted(self._follower.served)
        raise BodyRefused(
            404, f"there is no model {name!r}; served are {', '.join(known) or 'none'}{nearest(name, known)}"
        )

    async def _read_body(self, request: Request) -> bytes:
        most = self._settings.max_body_bytes
        declared = request.headers.get("content-length", "")
        size, parts = int(declared) if declared.isdecimal() else 0, list[bytes]()
        received = 0
        if size <= most:
            async for part in request.stream():
                parts.append(part)
                received += len(part)
                if received > most:
                    break
        if max(size, received) > most:
            raise BodyRefused(
                413, f"the body is larger than {most:,} bytes (EVERFIT_MAX_BODY_BYTES); send the rows in parts"
            )
        return b"".join(parts)

    async def _run(self, size: int, work: Callable[[], _T]) -> _T:
        if size <= _SMALL_BODY_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _read_valid_rows(body: bytes, scorer: Scorer, most_rows: int) -> tuple[list[dict[str, Any]], list[Fault]]:
    rows = read_rows(body, most_rows=most_rows)
    if faults := scorer.find_faults(rows, most=MOST_FAULTS + 1):
        raise FaultsFound(faults)
    return rows, scorer.find_warnings(rows)


def _write_answer(served: Served, answer: Answer, warnings: list[Fault]) -> Response:
    predictions = [
        {"id": name, **prediction.as_json()} for name, prediction in zip(answer.ids, answer.predictions, strict=True)
    ]
    document = {"model": served.version.model, "version": served.version.number, "predictions": predictions}
    return _json(document | ({"warnings": describe_faults(warnings)} if warnings else {}))


def _summary(served: Served) -> dict[str, Any]:
    version = served.version
    return {
        "model": version.model,
        "version": version.number,
        "task": served.manifest.task,
        "loaded_at": served.loaded_at,
    }


def _json(document: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document), status_code=status, headers=headers, media_type="application/json")


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    if not isinstance(error, BodyRefused):
        raise error
    document: dict[str, Any] = {"detail": error.detail}
    if isinstance(error, FaultsFound) and error.is_cut:
        document["is_cut"] = True
    return _json(document, status=error.status, headers={"Retry-After": "1"} if error.status == 503 else None)


async def _answer_failure(_request: Request, error: Exception) -> Response:
    return _json({"detail": str(error)}, status=503 if isinstance(error, PredictionNotLogged) else 500)


async def _answer_defect(_request: Request, _error: Exception) -> Response:
    return _json({"detail": "the service failed to answer this request; its log says more"}, status=500)


async def _answer_nobody(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)


_MEANINGS = {
    400: "The body is no JSON.",
    404: "There is no such model; the known ones are named.",
    413: "The body or the number of rows is over its limit.",
    422: "What breaks the signature: row, column, what was found, what was expected.",
    503: "Nothing can answer now: no model is loaded, or the log cannot be written.",
}


def _describe(*statuses: int, body: str | None = None) -> dict[str, Any]:
    description: dict[str, Any] = {"responses": {status: {"description": _MEANINGS[status]} for status in statuses}}
    if body is not None:
        schema = {
            "type": "object",
            "required": [body],
            "properties": {body: {"type": "array", "items": {"type": "object"}, "minItems": 1}},
        }
        description["openapi_extra"] = {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
        }
    return description
