"""Where imported labels go: to the service where one answers, else straight into the log of this machine."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from base.errors import Fault, RunFailed
from base.times import utc_now

if TYPE_CHECKING:
    import httpx

    from base.settings import Settings
    from registry.manifest import ModelManifest
    from serving.labels.intake import Counts

PART = 2_000
"""Labels of one request: few enough for every fault of every label to be told."""

_TRIES = 8
_SECONDS = 60.0
_AWAY_SECONDS = 2.0


@dataclass(frozen=True)
class Taken:
    """What became of one part; the faults' rows are positions in it."""

    counts: Counts
    faults: list[Fault]


@dataclass(frozen=True)
class Sender:
    """Takes a part of a file under a name by which it is known again."""

    way: str
    send: Callable[[list[Any], str], Taken]

    def __call__(self, part: list[Any], name: str) -> Taken:
        return self.send(part, name)


def service_sender(
    settings: Settings, manifest: ModelManifest, address: str | None, within: str
) -> AbstractContextManager[Sender] | None:
    """Send through the service, if it answers and serves the model; None if it does not.

    Raises
    ------
    RunFailed
        If an address was given and nobody answers there, or the service asks for a token that it does not get.
    """
    import httpx

    url = address or f"http://{settings.service_host}:{settings.service_port}"
    headers = {}
    if settings.token is not None:
        headers["authorization"] = f"Bearer {settings.token.get_secret_value()}"
    client = httpx.Client(base_url=url, headers=headers, timeout=_SECONDS)
    try:
        status = client.get(f"/v1/models/{manifest.model}", timeout=_AWAY_SECONDS).status_code
    except httpx.HTTPError as error:
        client.close()
        if address is not None:
            raise RunFailed(f"the service at {url} does not answer: {error}") from error
        return None
    if status not in (httpx.codes.OK, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        client.close()
        if address is not None:
            raise RunFailed(f"the service at {url} does not serve {manifest.model!r}: it answers {status}")
        return None
    return _through_service(client, url, manifest.model, within)


@contextmanager
def _through_service(client: httpx.Client, url: str, model: str, within: str) -> Iterator[Sender]:
    from serving.labels.intake import Counts

    def send(part: list[Any], name: str) -> Taken:
        body = _body(part)
        document = _post(client, url, model, body, {"partial": "true"} | ({"within": within} if within else {}), name)
        errors = [
            Fault(one["column"], one["found"], one["expected"], row=one["row"]) for one in document.get("errors", [])
        ]
        faults = [_own_fault(part, fault) for fault in errors]
        if "received" not in document:
            return Taken(Counts(received=len(part), refused=len(part)), faults)
        return Taken(Counts(**{name: document[name] for name in Counts.__dataclass_fields__}), faults)

    try:
        yield Sender(f"through the service at {url}", send)
    finally:
        client.close()


def _post(client: httpx.Client, url: str, model: str, body: bytes, params: dict[str, str], name: str) -> dict[str, Any]:
    import httpx

    headers = {"content-type": "application/json", "idempotency-key": name}
    for attempt in range(_TRIES):
        try:
            answer = client.post(f"/v1/models/{model}/labels", params=params, content=body, headers=headers)
        except httpx.HTTPError as error:
            problem, wait = f"{type(error).__name__}: {error}", min(2.0**attempt / 4, 10)
        else:
            document: dict[str, Any] = answer.json()
            if answer.status_code == httpx.codes.OK or (answer.status_code == 422 and "errors" in document):
                return document
            problem = f"{answer.status_code}: {document.get('detail', '')}"
            if answer.status_code not in (429, 503):
                hint = "; set EVERFIT_TOKEN to a token with the role label" if answer.status_code in (401, 403) else ""
                raise RunFailed(f"the service at {url} does not take the labels ({problem}){hint}")
            wait = float(answer.headers.get("retry-after", 1))
        if attempt < _TRIES - 1:
            time.sleep(wait)
    raise RunFailed(
        f"the service at {url} did not take the labels after {_TRIES} tries ({problem}); "
        "run the same import again when it does: what was taken is not taken twice"
    )


@contextmanager
def direct_sender(settings: Settings, manifest: ModelManifest, within: timedelta) -> Iterator[Sender]:
    """Write straight into the log of this machine, by the same intake as the service's."""
    from base.rows.personal import has_personal, personal_key
    from serving.labels.entries import EntryJudge
    from serving.labels.intake import LabelIntake
    from serving.log.prediction_log import PredictionLog

    key = personal_key(settings) if has_personal(manifest.contract) else None
    log = PredictionLog.from_settings(settings)
    intake = LabelIntake.from_settings(settings, log)

    def send(part: list[Any], name: str) -> Taken:
        judge = EntryJudge(manifest, now=utc_now(), within=within, personal_key=key)
        batch = judge.judge(part)
        faults = [_own_fault(part, fault) for fault in batch.faults]
        digest = hashlib.sha256(_body(part)).hexdigest()
        return Taken(intake.take(manifest.model, manifest, batch, name=name, digest=digest), faults)

    try:
        yield Sender("straight into the log, since no service answers", send)
    finally:
        log.close()
        intake.accounts.close()


def _own_fault(part: list[Any], fault: Fault) -> Fault:
    """A line that could not be read has a fault of its own, which says more than that it is no label."""
    row = fault.row or 0
    own = part[row]
    return Fault(own.column, own.found, own.expected, row=row) if isinstance(own, Fault) else fault


def _body(part: list[Any]) -> bytes:
    labels = [None if isinstance(entry, Fault) else entry for entry in part]
    return json.dumps({"labels": labels}, default=_jsonable).encode()


def _jsonable(value: Any) -> Any:
    # Dates of a Parquet file; what has no form of its own is shown, and refused as no label.
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
