"""Ask a service by the clients of others, unchanged; runs in an environment of their own, without Everfit.

Reads ``{"address": …, "rows": …}`` from standard input and writes what each client was told.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import urlsplit

DATATYPES = {"distance": "FP64", "passengers": "FP64", "company": "BYTES", "is_shared": "BOOL", "at": "BYTES"}
"""Passengers are whole numbers of which some are missing, which only a float can say in bytes."""


def ask_triton(address: str, rows: list[dict[str, Any]], *, is_binary: bool) -> dict[str, Any]:
    """Predict rows by NVIDIA's client of the Open Inference Protocol."""
    import numpy as np
    import tritonclient.http as triton  # type: ignore[import-not-found]

    client = triton.InferenceServerClient(urlsplit(address).netloc)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("trips")
    assert client.is_model_ready("trips", "1")
    types = {"FP64": np.float64, "BOOL": np.bool_, "BYTES": np.object_}
    gaps = {"FP64": np.nan, "BYTES": ""}
    inputs = []
    for name, datatype in DATATYPES.items():
        values = [gaps.get(datatype) if row.get(name) is None else row[name] for row in rows]
        tensor = triton.InferInput(name, [len(rows), 1], datatype)
        column: Any = np.array(values, dtype=types[datatype])
        tensor.set_data_from_numpy(column.reshape(len(rows), 1), binary_data=is_binary)
        inputs.append(tensor)
    outputs = [triton.InferRequestedOutput(name, binary_data=False) for name in ("id", "probabilities", "prediction")]
    answer = client.infer("trips", inputs, outputs=None if is_binary else outputs, request_id="seven")
    text = str if not is_binary else bytes.decode
    found = {
        "ids": [text(one) for one in answer.as_numpy("id")],
        "predictions": [text(one) for one in answer.as_numpy("prediction")],
        "probabilities": answer.as_numpy("probabilities").tolist(),
        "request_id": answer.get_response()["id"],
        "metadata": client.get_model_metadata("trips"),
        "server": client.get_server_metadata(),
    }
    try:
        client.infer("trips", inputs[1:])
    except triton.InferenceServerException as error:
        found["refused"] = error.message()
    return found


def ask_mlflow(address: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Predict rows by MLflow's client of its scoring server."""
    import pandas as pd
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient  # type: ignore[import-not-found]

    parts = urlsplit(address)
    client = ScoringServerClient(parts.hostname, parts.port)
    client.wait_server_ready(timeout=10)
    frame = pd.DataFrame(rows)
    frame["at"] = pd.to_datetime(frame["at"])
    answer = client.invoke(frame)
    shares = client.invoke(frame, params={"method": "predict_proba"})
    found = {
        "predictions": answer.get_predictions()[0].tolist(),
        "ids": answer["ids"],
        "probabilities": shares.get_predictions("ndarray").tolist(),
        "of_records": client.invoke(rows).get_predictions()[0].tolist(),
        "version": client.get_version(),
    }
    try:
        client.invoke(frame.assign(distance="far"))
    except Exception as error:
        found["refused"] = str(error)
    return found


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    told = {
        "triton, bytes": ask_triton(asked["address"], asked["rows"], is_binary=True),
        "triton, JSON": ask_triton(asked["address"], asked["rows"], is_binary=False),
        "mlflow": ask_mlflow(asked["address"], asked["rows"]),
    }
    json.dump(told, sys.stdout)
