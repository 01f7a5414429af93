"""The peer of serving: what a team writes by itself, FastAPI around ``pipeline.predict_proba``.

``python -m benchmarks.plain_service PORT MODEL.skops``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from base.model_files import load_model


class Rows(BaseModel):
    """A request."""

    rows: list[dict[str, Any]]


def make_app(model: Any) -> FastAPI:
    """Make the service."""
    app = FastAPI()

    @app.post("/predict")
    def predict(asked: Rows) -> dict[str, Any]:
        features = pd.DataFrame(asked.rows)
        numbers = features.select_dtypes("number").columns
        features[numbers] = features[numbers].astype("float32")
        shares = model.predict_proba(features)
        return {"predictions": shares[:, 1].tolist()}

    return app


if __name__ == "__main__":
    uvicorn.run(
        make_app(load_model(Path(sys.argv[2]).read_bytes())),
        port=int(sys.argv[1]),
        access_log=False,
        log_level="warning",
    )
