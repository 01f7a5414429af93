"""Gaps between groups: counted by hand, and nothing said of groups too small or personal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.pipeline import Pipeline
from tasks.fairness import measure_fairness
from tasks.slices import cut_slices
from tests.pipelines import CONTRACT, define, make_pipeline
from tests.tasks.judged import judge


def _pipeline(folder: Path, column: dict[str, Any], **evaluate: Any) -> Pipeline:
    contract = {"columns": CONTRACT["columns"] | {"region": {"type": "text"} | column}}
    return make_pipeline(folder / "trips", None, define(evaluate=evaluate), contract=contract)


def _rows(n_each: int = 100) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Rows of three groups: in the north half of the positives are called, elsewhere all, and no negative."""
    region = np.repeat(["north", "south", "tiny"], [n_each, n_each, 10])
    target = np.arange(len(region)) % 2
    called = (target == 1) & ((region != "north") | (np.arange(len(region)) % 4 == 1))
    features = pd.DataFrame({"distance": np.where(called, 0.9, 0.1)})
    return features, target, pd.DataFrame({"region": region})


def test_gaps_are_between_groups_of_enough_rows(tmp_path: Path) -> None:
    features, target, raw = _rows()
    rows = judge(
        features, target, lambda frame: frame["distance"], champion=lambda frame: 1 - frame["distance"], raw=raw
    )
    missing: dict[str, str] = {}

    found = measure_fairness(rows, _pipeline(tmp_path, {"sensitive": True}), missing)

    gaps = {each.metric: each for each in found}
    assert gaps["demographic_parity_difference"].value == pytest.approx(0.25)
    assert gaps["accuracy_difference"].groups == pytest.approx({"north": 0.75, "south": 1.0})
    assert gaps["true_positive_rate_difference"].value == pytest.approx(0.5)
    assert gaps["false_positive_rate_difference"].value == 0
    assert gaps["equalized_odds_difference"].value == pytest.approx(0.5)
    assert gaps["accuracy_difference"].n_rows == {"north": 100, "south": 100, "tiny": 10}
    # The champion says the contrary of each: what was right is wrong.
    assert gaps["accuracy_difference"].champion_groups == pytest.approx({"north": 0.25, "south": 0.0})
    assert missing == {}


def test_a_null_is_a_group_and_values_are_compared_by_their_errors(tmp_path: Path) -> None:
    region = np.array([None, "north"] * 50, dtype=object)
    features = pd.DataFrame({"distance": np.where(region == "north", 5.0, 1.0)})
    rows = judge(
        features,
        np.zeros(100),
        lambda frame: frame["distance"],
        raw=pd.DataFrame({"region": region}),
        task="regression",
    )

    found = measure_fairness(rows, _pipeline(tmp_path, {}, fairness=["region"]), {})

    assert {each.metric: each.value for each in found} == {"mae_difference": 4.0, "mean_error_difference": 4.0}
    assert found[0].groups == {"missing": 1.0, "north": 5.0}
    assert found[0].champion_value is None


@pytest.mark.parametrize(
    ("rule", "n_each", "reason"),
    [
        ({"sensitive": True}, 20, "fewer than two groups have 30 rows"),
        ({"sensitive": True, "personal": "hash"}, 100, "it is marked personal, and its values appear nowhere"),
    ],
)
def test_what_cannot_be_compared_is_said(rule: dict[str, Any], n_each: int, reason: str, tmp_path: Path) -> None:
    features, target, raw = _rows(n_each)
    personal = frozenset({"region"} if "personal" in rule else ())
    rows = judge(features, target, lambda frame: frame["distance"], raw=raw, personal=personal)
    missing: dict[str, str] = {}

    found = measure_fairness(rows, _pipeline(tmp_path, rule), missing)

    assert found == ()
    assert missing == {"fairness.region": reason}


def test_no_slice_is_cut_by_a_personal_column(tmp_path: Path) -> None:
    features, target, raw = _rows(1_000)
    features = features.assign(region=raw["region"])
    rows = judge(features, target, lambda frame: frame["distance"], raw=raw, personal=frozenset({"region"}))
    missing: dict[str, str] = {}

    cut = cut_slices(rows, _pipeline(tmp_path, {"personal": "hash"}, slices=["region"]), missing)

    assert all("region" not in part.figures.name for part in cut)
    assert missing == {"slices.region": "it is marked personal, and its values appear nowhere"}
