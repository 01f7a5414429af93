"""Validate the model: the verdict from what is stored, and luck that is asked for only where it matters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from base.judged import Evaluation, Verdict
from base.pipeline import PipelineSpec
from registry.store import Registry
from tasks.frames import store_frame
from tasks.model_validation import Refits, validate_model
from tests.pipelines import define


class _Refits:
    """Fits whose losses are known, and counted."""

    def __init__(self, *losses: float) -> None:
        self.losses = losses
        self.n_fits = 0

    def __call__(self, n_fits: int) -> Iterator[float]:
        for loss in self.losses[:n_fits]:
            self.n_fits += 1
            yield loss


_CHAMPION = np.random.default_rng(0).uniform(1, 2, 600)
_BETTER = _CHAMPION - 0.05


@pytest.mark.parametrize(
    ("challenger", "gate", "refits", "outcome", "n_fits"),
    [
        (_BETTER, {}, _Refits(*(_BETTER.mean() + np.array([0.001, -0.001, 0.002]))), "better", 3),
        (_BETTER, {}, _Refits(1.7, 1.2, 1.5), "cannot tell", 3),
        (_CHAMPION + 0.05, {}, _Refits(1.7, 1.2, 1.5), "cannot tell", 3),
        # The same model again: this recipe has no luck.
        (_BETTER, {}, _Refits(float(_BETTER.mean()), 9.0), "better", 1),
        (_BETTER, {"refits": 0}, _Refits(1.7, 1.2, 1.5), "better", 0),
        # Rows that cannot tell need no further fit.
        (np.random.default_rng(1).permutation(_CHAMPION), {}, _Refits(1.7, 1.2), "cannot tell", 0),
        # Every other fit failed.
        (_BETTER, {}, _Refits(), "better", 0),
    ],
)
def test_luck_is_asked_for_only_where_the_rows_have_told(
    challenger: npt.NDArray[np.float64],
    gate: dict[str, Any],
    refits: _Refits,
    outcome: str,
    n_fits: int,
    registry: Registry,
) -> None:
    refits.n_fits = 0

    verdict = _judge(registry, challenger, gate, refits)

    assert (verdict.outcome, refits.n_fits) == (outcome, n_fits)


def _judge(registry: Registry, challenger: npt.NDArray[np.float64], gate: dict[str, Any], refits: Refits) -> Verdict:
    stored = store_frame(registry.artifacts, pd.DataFrame({"challenger": challenger, "champion": _CHAMPION}))
    evaluation = Evaluation(
        n_rows=len(challenger),
        metrics={"log_loss": float(challenger.mean())},
        baseline={"log_loss": 0.69},
        champion={"log_loss": float(_CHAMPION.mean())},
        champion_version=3,
        slices=(),
        losses=stored,
        report=stored,
    )
    spec = PipelineSpec.model_validate(define(validate_model=gate))
    return validate_model(evaluation, spec, registry.artifacts, trigger="person", champion_revision=7, refits=refits)
