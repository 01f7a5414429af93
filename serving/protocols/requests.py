"""What requests of every protocol have: headers, a version by its number, rows that count even when refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from base.errors import Fault
from base.json_values import cut_text
from serving.operation.exchange import Scope, exchange_of
from serving.service import Service
from serving.web.problems import BodyRefused, FaultsFound

_KEY_HEADER = b"everfit-key"


class RowsRefused(FaultsFound):
    """Rows that were refused before they could be judged by the signature: they are counted all the same."""

    def __init__(self, faults: Sequence[Fault], *, n_rows: int) -> None:
        super().__init__(faults)
        self.n_rows = n_rows


def count_refused(service: Service, model: str, error: Exception) -> None:
    """Account for rows that never came to the service."""
    if isinstance(error, RowsRefused) and service.follower.find(model) is not None:
        service.log.accounts.accept(model, error.n_rows)
        service.log.accounts.reject(model, error.reason, error.n_rows)


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """Return a request's headers by lower-case name."""
    exchange = exchange_of(scope)
    return dict(scope["headers"]) if exchange is None else exchange.headers


def request_key_of(headers: Mapping[bytes, bytes]) -> str | None:
    """Return whom or what the request says that it is about."""
    key = headers.get(_KEY_HEADER)
    return None if key is None else key.decode("latin-1")


def media_type_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the media type of the body, without its parameters; empty where the client gives none."""
    return headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()


def refuse_encoded(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a body that is compressed.

    Raises
    ------
    BodyRefused
        415
    """
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
        found = cut_text(encoding.decode("latin-1"))
        raise BodyRefused(415, f"the body is encoded as {found!r}, expected one that is not compressed")


def version_of(service: Service, model: str, version: str | None) -> int | None:
    """Read the version that a path names.

    Raises
    ------
    BodyRefused
        404 when the model or the version is not in service.
    """
    service.find(model)
    if version is None:
        return None
    for served, _ in service.in_service(model):
        if str(served.number) == version:
            return served.number
    numbers = ", ".join(str(served.number) for served, _ in service.in_service(model))
    raise BodyRefused(
        404,
        f"version {cut_text(version)} of model {model!r} is not in service; in service: {numbers}",
        reason="not_served",
    )
