"""What the machine-readable description (OpenAPI) says of the addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.web.problems import MEDIA_TYPE

Schema = dict[str, Any]
JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"

_MEANINGS = {
    400: "The body is not what its media type says.",
    401: "No token was shown, or one that is not known.",
    403: "The token has not the role that this address asks for.",
    404: "There is no such model, version or address; the known ones are named.",
    408: "The body did not come in time.",
    413: "The body or the number of rows is over its limit.",
    415: "The body's media type is not taken here; those that are taken are named.",
    422: "What breaks the signature: row, column, what was found, what was expected.",
    429: "Too many requests; Retry-After says when to come again.",
    500: "The version failed on rows that its signature allows, or the service did; the log says more.",
    503: "Nothing can answer now: no model is loaded, the log cannot be written, or too many requests wait.",
}
GATE = (401, 403, 429, 503)
"""How every address but those of health may refuse."""

BODY = (400, 404, 408, 413, 415, 422, 500, *GATE)
"""How an address that takes a body may refuse."""

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_FAULTS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["row", "column", "found", "expected"],
        "properties": {
            "row": {"type": ["integer", "null"]},
            "column": {"type": ["string", "null"]},
            "found": _TEXT,
            "expected": _TEXT,
        },
    },
}
_FAULT = {"row": 1, "column": "passengers", "found": "'two' (text)", "expected": "integer"}
_PREDICTION: Schema = {
    "type": "object",
    "required": ["id", "prediction"],
    "properties": {
        "id": _TEXT,
        "version": {"type": "integer", "description": "Where several versions answer one request."},
        "prediction": {"type": ["string", "number", "boolean"]},
        "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
    },
}
_SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}

SCHEMAS: dict[str, Schema] = {
    "Problem": {
        "description": "Problem details as RFC 9457 has them, with every fault of the body.",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "instance": {"type": "string", "description": "The request's id, as in X-Request-Id and the log."},
            "errors": {"$ref": "#/components/schemas/Faults"},
            "is_cut": {"type": "boolean", "description": "Whether there are more faults than are told."},
            "error": {"type": "string", "description": "The detail again, for clients of Open Inference."},
            "message": {"type": "string", "description": "The detail again, for clients of MLflow."},
        },
    },
    "Faults": _FAULTS,
    "Row": {
        "description": "A value for each column of the model's signature; what may be null may be left out.",
        "type": "object",
        "additionalProperties": _SCALAR,
    },
    "Rows": {
        "type": "object",
        "required": ["rows"],
        "additionalProperties": False,
        "properties": {
            "rows": {
                "oneOf": [
                    {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "minItems": 1},
                    {"$ref": "#/components/schemas/Row"},
                ]
            }
        },
    },
    "Predictions": {
        "type": "object",
        "required": ["model", "version", "predictions"],
        "properties": {
            "model": _TEXT,
            "version": {"type": ["integer", "null"], "description": "Null where several versions answered."},
            "predictions": {"type": "array", "items": _PREDICTION},
            "warnings": {"$ref": "#/components/schemas/Faults"},
        },
    },
    "Model": {
        "type": "object",
        "required": ["model", "version", "task", "scoring", "loaded_at"],
        "properties": {
            "model": _TEXT,
            "version": _COUNT,
            "task": _TEXT,
            "scoring": {"enum": ["onnx", "scikit-learn"]},
            "loaded_at": {"type": "string", "format": "date-time"},
            "signature": {"type": "object"},
        },
    },
    "LabelCounts": {
        "type": "object",
        "required": ["model", "received", "accepted", "refused"],
        "properties": {
            "model": _TEXT,
            "received": _COUNT,
            "accepted": _COUNT,
            "stored": _COUNT,
            "repeated": _COUNT,
            "corrected": _COUNT,
            "late": _COUNT,
            "unknown": _COUNT,
            "ambiguous": _COUNT,
            "refused": _COUNT,
            "errors": {"$ref": "#/components/schemas/Faults"},
        },
    },
    "Readiness": {
        "type": "object",
        "required": ["status", "models"],
        "properties": {
            "status": {"enum": ["ready", "degraded", "no model is loaded"]},
            "models": {"type": "object", "additionalProperties": _COUNT},
            "refused": {"type": "object"},
            "registry": _TEXT,
            "log": _TEXT,
        },
    },
}


def refer(name: str) -> Schema:
    """Refer to one of the schemas that have a name."""
    return {"$ref": f"#/components/schemas/{name}"}


def content_of(schema: Schema, *, media_type: str = JSON, example: Any = None) -> dict[str, Any]:
    """Describe a body of one media type."""
    return {media_type: {"schema": schema} | ({} if example is None else {"example": example})}


def describe(
    *statuses: int, answer: Mapping[str, Any] | None = None, body: Mapping[str, Any] | None = None, says: str = "OK"
) -> dict[str, Any]:
    """Describe an address for the framework.

    Parameters
    ----------
    statuses : int
        The ways it refuses.
    answer, body : mapping of media type to description, optional
        What it answers with 200, and what it takes.
    """
    responses: dict[int | str, Any] = {200: {"description": says} | ({} if answer is None else {"content": answer})}
    problem = content_of(refer("Problem"), media_type=MEDIA_TYPE)
    for status in statuses:
        told = problem
        if status == 422:
            document = {"type": "about:blank", "title": "Unprocessable Content", "status": 422}
            detail = "1 fault in the body, such as: row 1, column 'passengers': found 'two' (text), expected integer"
            told = content_of(
                refer("Problem"), media_type=MEDIA_TYPE, example=document | {"detail": detail, "errors": [_FAULT]}
            )
        responses[status] = {"description": _MEANINGS[status], "content": told}
    # Where nothing else is said, the framework would describe a 422 of its own.
    responses["default"] = {"description": "Whatever else keeps the request from its answer.", "content": problem}
    found: dict[str, Any] = {"responses": responses}
    if body is not None:
        found["openapi_extra"] = {"requestBody": {"required": True, "content": body}}
    return found


def describe_predict() -> dict[str, Any]:
    """Describe the service's own address for predictions."""
    row = {"distance": 3.2, "passengers": 2, "company": "red"}
    prediction = {"id": "01a4d2f0", "prediction": "near", "probabilities": {"near": 0.9, "far": 0.1}}
    stream = {"type": "string", "format": "binary", "description": "An Arrow IPC stream, a column for each input."}
    found = describe(
        *BODY,
        answer=content_of(refer("Predictions"), example={"model": "trips", "version": 3, "predictions": [prediction]})
        | content_of(stream | {"description": "id, prediction, probabilities, version"}, media_type=ARROW),
        body=content_of(refer("Rows"), example={"rows": [row]}) | content_of(stream, media_type=ARROW),
        says="A prediction for each row, in their order; each is in the log already.",
    )
    explain = {
        "name": "explain",
        "in": "query",
        "required": False,
        "schema": {"type": "string", "enum": ["true", "false", "all"]},
        "description": "Tell what each feature contributed to a prediction; all: to each class. JSON bodies only.",
    }
    found["openapi_extra"].setdefault("parameters", []).append(explain)
    return found


def describe_readiness() -> dict[str, Any]:
    """Describe readiness, which is told and not refused where no model is loaded."""
    content = content_of(refer("Readiness"), example={"status": "ready", "models": {"trips": 3}})
    found = describe(answer=content, says="There is a model to answer with.")
    found["responses"][503] = {"description": "No model is loaded.", "content": content}
    return found


def describe_health() -> dict[str, Any]:
    """Describe liveness."""
    return describe(answer=content_of({"type": "object", "required": ["status"], "properties": {"status": _TEXT}}))


def describe_metrics() -> dict[str, Any]:
    """Describe what Prometheus reads."""
    openmetrics = "application/openmetrics-text"
    return describe(
        *GATE, answer=content_of(_TEXT, media_type="text/plain") | content_of(_TEXT, media_type=openmetrics)
    )


def describe_models() -> dict[str, Any]:
    """Describe the list of models."""
    models = {"type": "array", "items": refer("Model")}
    return describe(
        *GATE, answer=content_of({"type": "object", "required": ["models"], "properties": {"models": models}})
    )


def describe_model() -> dict[str, Any]:
    """Describe what is told of one model."""
    return describe(404, *GATE, answer=content_of(refer("Model")))


def describe_report() -> dict[str, Any]:
    """Describe the page on which a version was judged."""
    return describe(404, *GATE, answer=content_of(_TEXT, media_type="text/html"))


def describe_labels(body: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the address for labels, which takes *body*."""
    found = describe(*BODY, answer=content_of(refer("LabelCounts")), says="What became of the labels.")
    return found | {"openapi_extra": body}
