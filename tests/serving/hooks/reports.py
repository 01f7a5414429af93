"""Reports of other systems, made by those systems."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd


def make_evidently(*, shift: float = 0.0, n_missing: int = 0, with_tests: bool = True) -> dict[str, Any]:
    """Let Evidently compare two windows, of which the second has moved or lacks values."""
    from evidently import Dataset, Report
    from evidently.metrics import MissingValueCount
    from evidently.presets import DataDriftPreset
    from evidently.tests import eq

    draw = np.random.default_rng(0)
    reference, current = (
        pd.DataFrame({"temp": draw.normal(size=300), "kind": draw.choice(["a", "b"], 300)}) for _ in range(2)
    )
    current["temp"] += shift
    current.loc[: n_missing - 1, "temp"] = np.nan
    metrics = [DataDriftPreset(), MissingValueCount(column="temp", tests=[eq(0)] if with_tests else None)]
    snapshot = Report(metrics, include_tests=with_tests).run(
        Dataset.from_pandas(current), Dataset.from_pandas(reference)
    )
    return dict(json.loads(snapshot.json()))


def make_great_expectations(*, largest: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let a checkpoint judge three rows, and return what it found, whole and of its one validation."""
    import great_expectations
    from great_expectations import expectations

    core: Any = expectations

    context = great_expectations.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("rides").add_dataframe_asset("rides")
    batch = asset.add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(
        great_expectations.ExpectationSuite(
            "rides",
            expectations=[
                core.ExpectColumnValuesToNotBeNull(column="temp"),
                core.ExpectColumnValuesToBeBetween(column="temp", min_value=0, max_value=1),
            ],
        )
    )
    validation = context.validation_definitions.add(
        great_expectations.ValidationDefinition(name="rides", data=batch, suite=suite)
    )
    checkpoint = context.checkpoints.add(
        great_expectations.Checkpoint(name="rides", validation_definitions=[validation])
    )
    frame = pd.DataFrame({"temp": [0.1, 0.5, largest]})
    result = checkpoint.run(batch_parameters={"dataframe": frame})
    (one,) = result.run_results.values()
    found: Any = one
    return dict(json.loads(result.describe())), dict(found.to_json_dict())


if __name__ == "__main__":
    from pathlib import Path

    samples = Path(__file__).with_name("samples")
    whole, validation = make_great_expectations(largest=5)
    made = {
        "evidently_drift": make_evidently(shift=3),
        "evidently_broken": make_evidently(shift=3, n_missing=50),
        "evidently_quiet": make_evidently(),
        "evidently_without_tests": make_evidently(with_tests=False),
        "great_expectations": whole,
        "great_expectations_validation": validation,
        "great_expectations_good": make_great_expectations(largest=0.9)[0],
    }
    for name, document in made.items():
        (samples / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
