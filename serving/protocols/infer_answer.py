"""Answers of the Open Inference Protocol: predictions, probabilities and ids as tensors."""

from __future__ import annotations

from typing import Any

import orjson

from base.errors import Fault
from registry.manifest import ModelManifest
from serving.answers import Answers
from serving.protocols.answer_columns import PredictionType, columns_of, prediction_type
from serving.protocols.infer_body import OUTPUTS, InferRequest, Output
from serving.protocols.tensors import write_bytes
from serving.web.problems import FaultsFound

DATATYPES: dict[PredictionType, str] = {"text": "BYTES", "integer": "INT64", "number": "FP64", "boolean": "BOOL"}
_MOST_WARNINGS = 10


def describe_outputs(manifest: ModelManifest) -> list[dict[str, Any]]:
    """Describe the tensors that a model answers with."""
    found = [
        {"name": "prediction", "datatype": DATATYPES[prediction_type(manifest)], "shape": [-1]},
        {"name": "id", "datatype": "BYTES", "shape": [-1]},
        {"name": "version", "datatype": "INT64", "shape": [-1]},
    ]
    if manifest.classes is not None:
        found.insert(1, {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(manifest.classes)]})
    return found


def check_outputs(request: InferRequest, manifest: ModelManifest) -> None:
    """Refuse a request for probabilities that a regression does not have.

    Raises
    ------
    FaultsFound
    """
    if manifest.classes is None and any(output.name == "probabilities" for output in request.outputs or ()):
        raise FaultsFound([Fault(None, "'probabilities' of a regression as an output", "prediction, id or version")])


def write_infer_answer(model: str, request: InferRequest, answers: Answers) -> tuple[bytes, int | None]:
    """Write an answer; where tensors follow the JSON document as bytes, its length is told as well."""
    columns = columns_of(answers)
    outputs: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for output in request.outputs or [Output(name, request.is_binary) for name in OUTPUTS]:
        values: Any
        shape = [answers.n_rows]
        if output.name == "prediction":
            datatype, values = DATATYPES[columns.kind], columns.predictions
        elif output.name == "id":
            datatype, values = "BYTES", columns.ids
        elif output.name == "version":
            datatype, values = "INT64", columns.versions
        elif columns.probabilities is None:
            continue
        else:
            datatype, values = "FP64", columns.probabilities.ravel()
            shape.append(columns.probabilities.shape[1])
        document: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": shape}
        if output.is_binary:
            data = write_bytes(datatype, values)
            document["parameters"] = {"binary_data_size": len(data)}
            binary.append(data)
        else:
            document["data"] = values
        outputs.append(document)
    head: dict[str, Any] = {"model_name": model}
    if answers.version is not None:
        head["model_version"] = str(answers.version)
    if request.id is not None:
        head["id"] = request.id
    if answers.warnings:
        head["parameters"] = {"warnings": "; ".join(map(str, answers.warnings[:_MOST_WARNINGS]))}
    written = orjson.dumps(head | {"outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    if not binary:
        return written, None
    return b"".join([written, *binary]), len(written)
