"""Served rows and references without a training, for what is measured on them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.contract import ColumnRule
from base.metrics import Task, row_losses
from base.request_contract import RequestContract
from features.feature_plan import FeaturePlan
from monitoring.performance import ReferenceRows
from registry.manifest import ModelManifest

Kind = Literal["two classes", "three classes", "regression"]
Floats = npt.NDArray[np.float64]


def describe_model(kind: Kind) -> ModelManifest:
    """Make the part of a manifest that performance looks at: two quantities, a category, a personal column."""
    classes: dict[Kind, tuple[int, ...] | None] = {
        "two classes": (0, 1),
        "three classes": (0, 1, 2),
        "regression": None,
    }
    told: dict[str, Any] = {
        "task": "regression" if kind == "regression" else "classification",
        "classes": classes[kind],
        "plan": FeaturePlan(
            inputs={"size": "number", "age": "number", "city": "text", "owner": "text"},
            numeric=("size", "age"),
            categorical=("city",),
        ),
        "contract": RequestContract(
            columns={
                "size": ColumnRule(type="number"),
                "owner": ColumnRule(type="text", personal="drop"),
            }
        ),
        "metrics": {"log_loss": 0.5, "mae": 1.0},
        "threshold": 0.5,
    }
    return ModelManifest.model_construct(**told)


def draw_rows(kind: Kind, n_rows: int, *, seed: int, harder: float = 1.0) -> ReferenceRows:
    """Draw rows with honest answers; the larger, the harder; *harder* stretches the errors of values."""
    draw = np.random.default_rng(seed)
    features = pd.DataFrame(
        {
            "size": draw.uniform(0, 1, n_rows),
            "age": draw.normal(size=n_rows),
            "city": draw.choice(["rome", "oslo", "bonn"], n_rows).astype(object),
        }
    )
    size = features["size"].to_numpy()
    if kind == "regression":
        answers = features["age"].to_numpy() * 3
        target: npt.NDArray[Any] = answers + draw.normal(size=n_rows) * (0.2 + 2 * size) * harder
    elif kind == "two classes":
        positive = 0.5 + (size - 0.5) * 0.9
        answers = np.column_stack([1 - positive, positive])
        target = (draw.random(n_rows) < positive).astype(np.int64)
    else:
        answers = draw.dirichlet([1.0, 2.0, 0.7], n_rows)
        target = (draw.random(n_rows)[:, None] > np.cumsum(answers, axis=1)).sum(axis=1).clip(0, 2)
    task: Task = "regression" if kind == "regression" else "classification"
    return ReferenceRows(features, target, answers, row_losses(task, target, answers))


def as_served(rows: ReferenceRows) -> pd.DataFrame:
    """Write rows as the prediction log would read them back, with their labels."""
    answers = rows.answers
    served = rows.features.assign(is_labelled=True, value=rows.target.astype(object), owner="somebody")
    if answers.ndim == 1:
        return served.assign(prediction=answers)
    if answers.shape[1] == 2:
        return served.assign(prediction=answers[:, 1])
    return served.assign(prediction=answers.argmax(axis=1).astype(float), probabilities=list(answers))
