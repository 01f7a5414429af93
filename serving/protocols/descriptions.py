"""What the machine-readable description (OpenAPI) says of the protocols' addresses."""

from __future__ import annotations

from typing import Any

from serving.protocols.infer_body import OUTPUTS
from serving.protocols.tensors import DATATYPES
from serving.web.descriptions import BODY, GATE, Schema, content_of, describe, refer

_TEXT: Schema = {"type": "string"}
_PARAMETERS: Schema = {
    "type": ["object", "null"],
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
_OUTPUT_PARAMETERS: Schema = {
    **_PARAMETERS,
    "properties": {"binary_data": {"type": "boolean"}},
}
_TENSOR: dict[str, Any] = {
    "name": _TEXT,
    "datatype": {"enum": list(DATATYPES)},
    "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
    "parameters": _PARAMETERS,
}
_SHAPE: Schema = {
    "type": "array",
    "items": {"type": "integer", "minimum": 1},
    "minItems": 1,
    "maxItems": 2,
    "description": "[n] or [n, 1] for one column, [n, k] for all of k numeric ones.",
}
_DATA: Schema = {"type": "array", "items": {}, "description": "In row-major order, flat or nested."}

_ROWS: Schema = {"type": "array", "items": refer("Row"), "minItems": 1}
_VALUES: Schema = {"type": "array", "items": {}, "minItems": 1}
_FORMATS: dict[str, Schema] = {
    "dataframe_split": {
        "type": "object",
        "required": ["columns", "data"],
        "additionalProperties": False,
        "properties": {
            "index": {"type": "array", "items": {}},
            "columns": {"type": "array", "items": _TEXT, "uniqueItems": True},
            "data": {"type": "array", "items": {"type": "array", "items": {}}, "minItems": 1},
        },
    },
    "dataframe_records": _ROWS,
    "instances": _ROWS,
    "inputs": {"oneOf": [{"type": "object", "additionalProperties": _VALUES, "minProperties": 1}, _ROWS]},
}
_PARAMS: Schema = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {"method": {"enum": ["predict", "predict_proba"]}},
}

SCHEMAS: dict[str, Schema] = {
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": {
                "type": ["object", "null"],
                "additionalProperties": {"type": ["string", "number", "boolean"]},
                "properties": {
                    "missing": {
                        "type": "string",
                        "default": "",
                        "description": "Which text of a BYTES tensor stands for a missing value.",
                    },
                    "binary_data_output": {"type": "boolean", "default": False},
                },
            },
            "inputs": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["name", "shape", "datatype"],
                    "properties": {**_TENSOR, "shape": _SHAPE, "data": _DATA},
                },
            },
            "outputs": {
                "type": ["array", "null"],
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"enum": list(OUTPUTS)}, "parameters": _OUTPUT_PARAMETERS},
                },
            },
        },
    },
    "InferAnswer": {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "parameters": _PARAMETERS,
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "datatype", "shape"],
                    "properties": {**_TENSOR, "data": _DATA},
                },
            },
        },
    },
    "ModelMetadata": {
        "type": "object",
        "required": ["name", "versions", "platform", "inputs", "outputs"],
        "properties": {
            "name": _TEXT,
            "versions": {"type": "array", "items": _TEXT},
            "platform": _TEXT,
            "inputs": {"type": "array", "items": {"type": "object", "properties": _TENSOR}},
            "outputs": {"type": "array", "items": {"type": "object", "properties": _TENSOR}},
            "parameters": _PARAMETERS,
        },
    },
    "Invocation": {
        "description": "Exactly one of the four formats, and what is wanted.",
        "oneOf": [
            {
                "type": "object",
                "required": [name],
                "additionalProperties": False,
                "properties": {name: schema, "params": _PARAMS},
            }
            for name, schema in _FORMATS.items()
        ],
    },
    "InvocationAnswer": {
        "type": "object",
        "required": ["predictions", "ids"],
        "properties": {
            "predictions": {"type": "array", "items": {}},
            "ids": {"type": "array", "items": _TEXT},
            "classes": {"type": "array", "items": _TEXT},
            "warnings": refer("Faults"),
        },
    },
}

_FREE = (503,)
_FLAG: Schema = {"type": "boolean"}


def describe_server() -> dict[str, Any]:
    """Describe what the server says of itself."""
    properties = {"name": _TEXT, "version": _TEXT, "extensions": {"type": "array", "items": _TEXT}}
    return describe(
        *GATE,
        answer=content_of(
            {"type": "object", "required": ["name", "version", "extensions"], "properties": properties},
            example={"name": "everfit", "version": "0.1.0", "extensions": ["binary_tensor_data"]},
        ),
    )


def describe_live() -> dict[str, Any]:
    """Describe liveness."""
    return describe(*_FREE, answer=content_of({"type": "object", "properties": {"live": _FLAG}}))


def describe_ready() -> dict[str, Any]:
    """Describe readiness, which is not refused with a problem: it is told."""
    return _told_with_503({"type": "object", "required": ["ready"], "properties": {"ready": _FLAG}})


def describe_ping() -> dict[str, Any]:
    """Describe readiness as MLflow's clients ask for it."""
    return describe_ready()


def describe_model_ready() -> dict[str, Any]:
    """Describe the readiness of one model."""
    properties = {"name": _TEXT, "version": _TEXT, "ready": _FLAG}
    return describe(404, *GATE, answer=content_of({"type": "object", "properties": properties}))


def describe_model() -> dict[str, Any]:
    """Describe a model's metadata."""
    tensor = {"name": "distance", "datatype": "FP64", "shape": [-1]}
    example = {
        "name": "trips",
        "versions": ["3"],
        "platform": "onnxruntime_onnx",
        "inputs": [tensor],
        "outputs": [{"name": "prediction", "datatype": "BYTES", "shape": [-1]}],
        "parameters": {"scoring": "onnx"},
    }
    return describe(404, *GATE, answer=content_of(refer("ModelMetadata"), example=example))


def describe_infer() -> dict[str, Any]:
    """Describe predictions of tensors."""
    tensor = {"name": "distance", "shape": [1], "datatype": "FP64", "data": [3.2]}
    output = {"name": "prediction", "shape": [1], "datatype": "BYTES", "data": ["near"]}
    binary = {"type": "string", "format": "binary", "description": "The JSON document, then the tensors' bytes."}
    found = describe(
        *BODY,
        answer=content_of(
            refer("InferAnswer"), example={"model_name": "trips", "model_version": "3", "outputs": [output]}
        )
        | content_of(binary, media_type="application/octet-stream"),
        body=content_of(refer("InferRequest"), example={"inputs": [tensor]})
        | content_of(binary, media_type="application/octet-stream"),
    )
    found["openapi_extra"]["parameters"] = [
        {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "schema": {"type": "integer", "minimum": 0},
            "description": "Bytes of the JSON document, where tensors follow it as bytes.",
        }
    ]
    return found


def describe_invocations() -> dict[str, Any]:
    """Describe predictions by MLflow's protocol."""
    example = {"dataframe_split": {"columns": ["distance"], "data": [[3.2]]}}
    return describe(
        *BODY,
        answer=content_of(refer("InvocationAnswer"), example={"predictions": ["near"], "ids": ["01a4d2f0"]}),
        body=content_of(refer("Invocation"), example=example)
        | content_of(_TEXT, media_type="text/csv", example="distance,company\n3.2,red\n"),
    )


def describe_any_invocations() -> dict[str, Any]:
    """Describe the same where the address names no model."""
    found = describe_invocations()
    says = "The model, where several are in service."
    found["openapi_extra"]["parameters"] = [
        {"name": "model", "in": "query", "schema": _TEXT, "description": says},
        {"name": "Everfit-Model", "in": "header", "schema": _TEXT, "description": says},
    ]
    return found


def describe_version() -> dict[str, Any]:
    """Describe the version of the server."""
    return describe(*GATE, answer=content_of(_TEXT, media_type="text/plain", example="0.1.0"))


def _told_with_503(schema: Schema) -> dict[str, Any]:
    found = describe(answer=content_of(schema))
    found["responses"][503] = {"description": "No model is loaded.", "content": content_of(schema)}
    return found
