"""How far estimates without labels are from the truth on the shared data sets: quiet (shuffled) and as they drifted."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.metrics import row_losses
from benchmarks.gate_streams import DATA_SETS, DataSet, find_data
from benchmarks.policy_streams import Order, fit_one, read_rows
from features.feature_plan import FeaturePlan
from monitoring.performance import (
    Estimate,
    ReferenceRows,
    ScoredEstimate,
    estimate_performance,
    learn_expectation,
    pair_with_truth,
    score_estimates,
)
from registry.manifest import ModelManifest

Floats = npt.NDArray[np.float64]

_LEARNT, _REFERENCE, _N_WINDOWS = 0.3, 0.15, 20
_MOST_REFERENCE_ROWS = 5_000


@dataclass(frozen=True)
class EstimatedWindow:
    """One window: what was estimated, what turned out, and what the reference had lost."""

    estimate: Estimate
    truth: float
    reference: float

    @property
    def scored(self) -> ScoredEstimate | None:
        """The estimate beside the truth."""
        return pair_with_truth(self.estimate, self.truth)


def estimate_windows(each: DataSet, order: Order) -> list[EstimatedWindow]:
    """Train once, and estimate 20 later windows one after the other, each knowing how those before turned out."""
    folder = find_data()
    if folder is None:
        raise SystemExit("the shared data sets are not there; name their folder in EVERFIT_SHARED_DATA")
    features, target = read_rows(folder / f"{each.name}.parquet", each, order)
    n_rows = len(features)
    learnt, judged = int(n_rows * _LEARNT), int(n_rows * (_LEARNT + _REFERENCE))
    model = fit_one(each.task, 100, features.iloc[:learnt], target[:learnt])
    answers = np.asarray(model.predict(features) if each.task == "regression" else model.predict_proba(features))
    losses = row_losses(each.task, target, answers)
    told: dict[str, Any] = {
        "task": each.task,
        "classes": None if each.task == "regression" else (0, 1),
        "plan": FeaturePlan(inputs={}, numeric=tuple(features.columns)),
        "threshold": 0.5,
    }
    manifest = ModelManifest.model_construct(**told)
    kept = np.unique(np.linspace(learnt, judged - 1, min(_MOST_REFERENCE_ROWS, judged - learnt)).astype(int))
    reference = ReferenceRows(features.iloc[kept], target[kept], answers[kept], losses[kept])
    expectation = learn_expectation(manifest, reference)
    found: list[EstimatedWindow] = []
    for rows in np.array_split(np.arange(judged, n_rows), _N_WINDOWS):
        served = pd.DataFrame({"prediction": answers[rows] if answers.ndim == 1 else answers[rows, 1]})
        past = [one.scored for one in found]
        estimate = estimate_performance(
            served,
            manifest,
            reference,
            features=features.iloc[rows].reset_index(drop=True),
            expectation=expectation,
            past=score_estimates([one for one in past if one is not None]),
        )
        found.append(EstimatedWindow(estimate, float(losses[rows].mean()), float(reference.losses.mean())))
    return found


def tabulate(each: DataSet, order: Order, windows: list[EstimatedWindow]) -> dict[str, Any]:
    """Sum up how far the estimates were off, beside saying that nothing changes."""
    errors = np.array([abs(one.estimate.value / one.truth - 1) for one in windows])
    unchanged = np.array([abs(one.reference / one.truth - 1) for one in windows])
    trusted = np.array([one.estimate.is_trusted for one in windows])
    covered = np.array([one.scored is not None and one.scored.is_covered for one in windows])
    return {
        "data": each.name,
        "order": order,
        "error": float(np.median(errors)),
        "unchanged": float(np.median(unchanged)),
        "bias": float(np.mean([one.estimate.value / one.truth - 1 for one in windows])),
        "covered": float(covered.mean()),
        "trusted": int(trusted.sum()),
        "covered_trusted": float(covered[trusted].mean()) if trusted.any() else float("nan"),
        "error_trusted": float(np.median(errors[trusted])) if trusted.any() else float("nan"),
    }


def main() -> None:
    """Print the table of docs/performance-monitoring.md."""
    print("| data | order | error | nothing changes | bias | covered | trusted | of these covered | of these error |")
    print("|---|---|---|---|---|---|---|---|---|")
    for each in DATA_SETS:
        for order in ("shuffled", "as it was"):
            print(f"estimates: {each.name}, {order}", file=sys.stderr, flush=True)
            row = tabulate(each, order, estimate_windows(each, order))
            print(
                f"| {row['data']} | {row['order']} | {row['error']:.1%} | {row['unchanged']:.1%} | {row['bias']:+.1%} "
                f"| {row['covered']:.0%} | {row['trusted']} of {_N_WINDOWS} | {row['covered_trusted']:.0%} "
                f"| {row['error_trusted']:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
