"""What each address of the service is for: its template, the role that it asks for, the model that it names."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.operation.tallies import Tallies, Tally

PREDICT, LABEL, VIEW, OPERATE, APPROVE, ADMIN = "predict", "label", "view", "operate", "approve", "admin"

HOOKS = "/v1/hooks/{pipeline}"
"""The address at which a signature may stand for a token; what answers there checks it."""

# What may be asked without a token: whoever probes a process's health knows nothing but its address.
_FREE = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/ping", "/health"})
_OTHER = "other"
# Addresses hold what clients write, and a client may write anything.
_MOST_KNOWN = 4096

# Of the segments after `/v1/models/{name}/`: which role writes there. Reading is for `view` throughout.
_WRITERS = {
    "predict": PREDICT,
    "explain": PREDICT,
    "invocations": PREDICT,
    "labels": LABEL,
    "rollout": OPERATE,
    "rollouts": OPERATE,
    "approvals": APPROVE,
}


@dataclass(frozen=True, slots=True)
class Route:
    """An address as the access rules and the metrics see it.

    Parameters
    ----------
    template : str
        The path with its variable parts by name, as metrics and logs give it; ``other`` where there is none.
    role : str or None
        The role that a token must have; None: nobody is asked.
    model : str or None
        The model that the path names.
    """

    template: str
    role: str | None
    model: str | None
    tally: Tally = field(repr=False, compare=False)


class Routes:
    """The addresses asked for, each looked at once.

    Examples
    --------
    >>> routes = Routes(Tallies())
    >>> routes.find("POST", "/v1/models/trips/predict")
    Route(template='/v1/models/{name}/predict', role='predict', model='trips')
    >>> routes.find("GET", "/readyz").role is None
    True
    """

    __slots__ = ("_read", "_tallies", "_written")

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._read: dict[str, Route] = {}
        self._written: dict[str, Route] = {}

    def find(self, method: str, path: str) -> Route:
        """Say what an address is for; what nobody has listed is read with ``view`` and written with ``admin``."""
        is_read = method in ("GET", "HEAD", "OPTIONS")
        known = self._read if is_read else self._written
        route = known.get(path)
        if route is None:
            template, role, model = classify(path, is_read=is_read)
            route = Route(template, role, model, self._tallies.tally(template))
            if len(known) >= _MOST_KNOWN:
                known.clear()
            known[path] = route
        return route


def classify(path: str, *, is_read: bool) -> tuple[str, str | None, str | None]:
    """Tell an address's template, the role that it asks for, and the model that it names.

    Examples
    --------
    >>> classify("/v2/models/trips/versions/3/infer", is_read=False)
    ('/v2/models/{name}/versions/{version}/infer', 'predict', 'trips')
    >>> classify("/v1/models/trips/versions/3/report", is_read=True)
    ('/v1/models/{name}/versions/{version}/report', 'view', 'trips')
    >>> classify("/v1/hooks/trips", is_read=False)
    ('/v1/hooks/{pipeline}', 'operate', 'trips')
    >>> classify("/wp-login.php", is_read=False)
    ('other', 'admin', None)
    """
    if path in _FREE and is_read:
        return path, None, None
    if path in ("/metrics", "/openapi.json", "/version", "/v1/models", "/v2", "/v2/models") and is_read:
        return path, VIEW, None
    if path == "/invocations":
        return path, PREDICT, None
    parts = path.split("/")
    if len(parts) >= 4 and parts[1] in ("v1", "v2") and parts[2] == "models" and parts[3]:
        return _classify_model(parts, is_read)
    if len(parts) == 4 and parts[1:3] == ["v1", "hooks"] and parts[3]:
        # A pipeline's name is its model's, too.
        return HOOKS, VIEW if is_read else OPERATE, parts[3]
    if len(parts) >= 3 and parts[1] == "v1" and parts[2] in ("rollouts", "approvals"):
        return f"/v1/{parts[2]}", VIEW if is_read else OPERATE if parts[2] == "rollouts" else APPROVE, None
    return _OTHER, VIEW if is_read else ADMIN, None


def _classify_model(parts: list[str], is_read: bool) -> tuple[str, str | None, str | None]:
    protocol, model, rest = parts[1], parts[3], parts[4:]
    template = f"/{protocol}/models/{{name}}"
    if len(rest) >= 2 and rest[0] == "versions":
        template += "/versions/{version}"
        rest = rest[2:]
    if not rest:
        return template, VIEW if is_read else ADMIN, model
    known = {"infer", "ready", "report", "metadata", "config", "stats"} | _WRITERS.keys()
    if rest[0] not in known:
        return _OTHER, VIEW if is_read else ADMIN, model
    template += f"/{rest[0]}"
    if len(rest) > 1:
        template += "/{rest}"
    if is_read:
        return template, VIEW, model
    return template, PREDICT if rest[0] == "infer" else _WRITERS.get(rest[0], ADMIN), model
