"""What the Open Inference Protocol lets clients ask beside predictions: health, the server, a model's tensors."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from starlette.responses import Response

from base.contract import ColumnType
from registry.manifest import ModelManifest
from serving.loading.served import Served
from serving.protocols.infer_answer import describe_outputs
from serving.protocols.requests import version_of
from serving.service import Service
from serving.web.model_routes import json_response

# What is given as text: a moment is one in ISO 8601, as in the service's own JSON.
_DATATYPES: dict[ColumnType, str] = {
    "number": "FP64",
    "integer": "INT64",
    "boolean": "BOOL",
    "text": "BYTES",
    "time": "BYTES",
}
_PLATFORMS = {"onnx": "onnxruntime_onnx", "scikit-learn": "scikit-learn_skops"}


class InferenceRoutes:
    """The protocol's endpoints that only read."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def show_server(self) -> Response:
        """Tell the server's name, its version and what it can beyond the protocol."""
        return json_response({"name": "everfit", "version": server_version(), "extensions": ["binary_tensor_data"]})

    async def tell_live(self) -> Response:
        """Say that the process is up."""
        return json_response({"live": True})

    async def tell_ready(self) -> Response:
        """Say whether there is a model to answer with."""
        is_ready = bool(self._service.follower.served)
        return json_response({"ready": is_ready}, status=200 if is_ready else 503)

    async def show_model(self, name: str) -> Response:
        """Tell a model's tensors, its versions in service, and what computes the answers."""
        return json_response(self._describe(name, None))

    async def show_version(self, name: str, version: str) -> Response:
        """Tell the tensors of one version in service, and what computes its answers."""
        return json_response(self._describe(name, version))

    async def tell_model_ready(self, name: str) -> Response:
        """Say that a model can be asked; one that cannot is answered with the reason."""
        self._service.find(name)
        return json_response({"name": name, "ready": True})

    async def tell_version_ready(self, name: str, version: str) -> Response:
        """Say that one version can be asked; one that cannot is answered with the reason."""
        number = version_of(self._service, name, version)
        return json_response({"name": name, "version": str(number), "ready": True})

    def _describe(self, name: str, version: str | None) -> dict[str, Any]:
        number = version_of(self._service, name, version)
        in_service = self._service.in_service(name)
        served = next(each for each, _ in in_service if number in (None, each.number))
        numbers = [each.number for each, _ in in_service] if number is None else [number]
        return {
            "name": name,
            "versions": [str(each) for each in numbers],
            "platform": _PLATFORMS[served.scorer.path],
            "inputs": describe_inputs(served.manifest),
            "outputs": describe_outputs(served.manifest),
            "parameters": _describe_path(served),
        }


def describe_inputs(manifest: ModelManifest) -> list[dict[str, Any]]:
    """Describe the tensors that a model takes, one for each column of its signature."""
    return [
        {
            "name": name,
            "datatype": _DATATYPES[rule.type],
            "shape": [-1],
            "parameters": {"type": rule.type, "optional": rule.nullable},
        }
        for name, rule in manifest.contract.columns.items()
    ]


def server_version() -> str:
    """Return the version of Everfit that is installed."""
    try:
        return version("everfit")
    except PackageNotFoundError:
        return "0"


def _describe_path(served: Served) -> dict[str, Any]:
    manifest, path = served.manifest, served.scorer.path
    if path == "onnx":
        reason = "its compiled form agrees with scikit-learn on the judged rows and on the recorded answers"
    elif manifest.onnx is not None:
        reason = "its compiled form is switched off (EVERFIT_COMPILED), or does not agree here; the log says more"
    else:
        reason = manifest.onnx_reason or "it was trained before versions had a compiled form"
    found: dict[str, Any] = {"scoring": path, "scoring_reason": reason, "task": manifest.task}
    if manifest.classes is not None:
        # The protocol's parameters are plain values.
        found["classes"] = json.dumps([str(known) for known in manifest.classes])
    return found
