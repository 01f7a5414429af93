"""The checks of the gate: each asks its question, and one that cannot be answered fails."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from base.artifacts import Artifact
from base.gate.checks import check_all
from base.gate_spec import ValidateModelSpec
from base.judged import Check, Evaluation, FairnessMetrics, SliceMetrics

_FILE = Artifact(digest="0" * 64, size_bytes=1, suffix=".parquet")
_METRICS = {"log_loss": 0.4, "accuracy": 0.8, "roc_auc": 0.85, "f1": math.nan}
_CHAMPION = {"log_loss": 0.5, "accuracy": 0.82, "roc_auc": 0.85}
_FAIR = FairnessMetrics(
    column="sex", metric="selection_rate", value=0.12, groups={"f": 0.3, "m": 0.42}, champion_value=0.08
)


@pytest.mark.parametrize(
    ("gate", "passes", "words"),
    [
        ({"floors": {"roc_auc": {"at_least": 0.8}}}, True, "roc_auc is 0.85, expected at least 0.8"),
        ({"floors": {"roc_auc": {"at_least": 0.9}}}, False, "roc_auc is 0.85, expected at least 0.9"),
        ({"floors": {"log_loss": {"at_most": 0.3}}}, False, "log_loss is 0.4, expected at most 0.3"),
        ({"floors": {"accuracy": {"at_least": 0.7, "at_most": 0.9}}}, True, "at least 0.7 and at most 0.9"),
        ({"floors": {"rocauc": {"at_least": 0.9}}}, False, "'rocauc' was not measured; did you mean 'roc_auc'?"),
        ({"floors": {"f1": {"at_least": 0.1}}}, False, "'f1' was not measured: no positive row"),
        ({"floors": {"profit": {"at_least": 1.0}}}, False, "there is accuracy, f1, log_loss, roc_auc"),
        ({"changes": {"accuracy": {"at_least": -0.03}}}, True, "-0.02"),
        ({"changes": {"accuracy": {"at_least": -0.01}}}, False, "interval -0.04 to +0.01"),
        ({"changes": {"log_loss": {"at_most": -0.1, "relative": True}}}, True, "-20.00%"),
        ({"changes": {"log_loss": {"at_most": -0.3, "relative": True}}}, False, "expected at most -30.0%"),
        ({"changes": {"f1": {"at_least": 0.0}}}, False, "'f1' was not measured"),
        ({"fairness": [{"column": "sex", "metric": "selection_rate", "at_most": 0.2}]}, True, "f 0.3, m 0.42"),
        ({"fairness": [{"column": "sex", "metric": "selection_rate", "at_most": 0.1}]}, False, "at most 0.1"),
        (
            {"fairness": [{"column": "sex", "metric": "selection_rate", "at_most": 0.2, "max_rise": 0.01}]},
            False,
            "+0.01 over the champion's 0.08",
        ),
        (
            {"fairness": [{"column": "race", "metric": "selection_rate", "at_most": 0.1}]},
            False,
            "there is selection_rate over sex",
        ),
        ({"max_churn": 0.3}, True, "answers that change: 25.00%"),
        ({"max_churn": 0.2}, False, "at most 20.00% is allowed"),
    ],
)
def test_a_limit_is_held_or_told(gate: dict[str, Any], passes: bool, words: str) -> None:
    (check,) = _ask(gate)

    assert check.passed is passes
    assert words in check.evidence


def test_churn_of_values_is_their_relative_change() -> None:
    losses = _losses().assign(challenger_answer=11.0, champion_answer=10.0)

    (check,) = _ask({"max_churn": 0.05}, losses=losses, metrics={"mae": 1.0}, champion={"mae": 2.0})

    assert check.figures == {"churn": pytest.approx(0.1)}
    assert not check.passed


def test_churn_that_cannot_be_counted_fails() -> None:
    (check,) = _ask({"max_churn": 0.5}, losses=_losses().drop(columns="champion_answer"))

    assert not check.passed
    assert "no column 'champion_answer'" in check.evidence


def test_what_compares_with_a_champion_is_not_asked_of_a_first_model() -> None:
    gate = {"changes": {"f1": {"at_least": 0.0}}, "max_churn": 0.01, "max_slice_regression": 0.1}

    checks = _ask(gate, champion=None)

    assert [check.name for check in checks] == ["beats the baseline"]


@pytest.mark.parametrize(("name", "passes"), [("majority", True), ("last value", False), ("mean", False)])
def test_a_first_model_must_beat_the_baselines_that_are_asked_for(name: str, passes: bool) -> None:
    baselines = {"majority": {"accuracy": 0.6}, "last value": {"accuracy": 0.85}}

    _, check = _ask({"baselines": [name]}, champion=None, baselines=baselines)

    assert (check.name, check.passed) == (f"beats the {name}", passes)


_LENIENT = {"slice_correction": "benjamini-hochberg"}
SLICES: list[tuple[str, dict[str, float], dict[str, Any], list[str], bool, str]] = [
    ("all hold", {"red": -0.5, "blue": 0.02}, {}, ["company"], True, "0 of 2 slices"),
    ("one regresses", {"red": -0.5, "blue": 0.5}, {}, ["company"], False, "worst slice company = blue: loss +"),
    ("the lenient way", {"red": -0.5, "blue": 0.5}, _LENIENT, ["company"], False, "benjamini"),
    ("within the tolerance", {"red": 0.05}, {"max_slice_regression": 0.2}, ["company"], True, "+20.0%"),
    ("only the one that was asked for", {"red": -0.5, "blue": 0.5}, {"slices": ["company = red"]}, [], True, "of 1 "),
    ("a value that is not there", {"red": 0.0}, {"slices": ["company = green"]}, [], False, "did you mean"),
    ("a column that is not there", {"red": 0.0}, {}, ["company", "origin"], False, "'origin': too few rows"),
    ("none was cut", {}, {}, ["company"], False, "slice column 'company'"),
    ("none was declared", {}, {}, [], False, "declares no slice"),
    ("none was found", {}, {"found_slices": True}, [], False, "no slice was found"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rises", "gate", "declared", "passes", "words"), [row[1:] for row in SLICES], ids=[row[0] for row in SLICES]
)
def test_no_slice_may_regress_where_a_limit_is_set(
    rises: dict[str, float], gate: dict[str, Any], declared: list[str], passes: bool, words: str
) -> None:
    losses, slices = _cut(rises)

    (check,) = _ask({"max_slice_regression": 0.1} | gate, losses=losses, slices=slices, declared=declared)

    assert check.passed is passes
    assert words in check.evidence


def test_found_slices_are_held_to_the_limit_only_when_asked() -> None:
    losses, slices = _cut({"red": -0.5, "blue": 0.5})
    slices = (slices[0], slices[1].model_copy(update={"found": True, "value": "hour > 17"}))
    gate = {"max_slice_regression": 0.1}

    (lenient,) = _ask(gate, losses=losses, slices=slices, declared=["company"])
    (strict,) = _ask(gate | {"found_slices": True}, losses=losses, slices=slices, declared=["company"])

    assert (lenient.passed, strict.passed) == (True, False)
    assert "worst slice hour > 17" in strict.evidence


def test_a_slice_whose_rows_are_not_marked_fails() -> None:
    losses, slices = _cut({"red": 0.0})

    (check,) = _ask({"max_slice_regression": 0.1}, losses=losses.drop(columns="slice_0"), slices=slices)

    assert not check.passed
    assert "'slice_0'" in check.evidence


@pytest.mark.parametrize(
    "gate", [{"floors": {"f1": {}}}, {"slices": ["company"]}, {"found_slices": True}, {"baselines": ["luck"]}]
)
def test_a_limit_that_limits_nothing_is_refused(gate: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ValidateModelSpec.model_validate(gate)


def _ask(
    gate: dict[str, Any],
    *,
    losses: pd.DataFrame | None = None,
    metrics: dict[str, float] | None = None,
    champion: dict[str, float] | None = _CHAMPION,
    slices: tuple[SliceMetrics, ...] = (),
    declared: list[str] | None = None,
    baselines: dict[str, dict[str, float]] | None = None,
) -> list[Check]:
    metrics = _METRICS if metrics is None else metrics
    evaluation = Evaluation(
        n_rows=400,
        metrics=metrics,
        baseline={"log_loss": 0.69},
        champion=champion,
        champion_version=None if champion is None else 1,
        slices=slices,
        losses=_FILE,
        report=_FILE,
        differences={"accuracy": (-0.02, -0.04, 0.01)},
        fairness=(_FAIR,),
        missing={"f1": "no positive row", "slice origin": "too few rows"},
        baselines=baselines or {},
    )
    spec = ValidateModelSpec.model_validate(gate)
    frame = _losses() if losses is None else losses
    loss = "mae" if "mae" in metrics else "log_loss"
    return check_all(evaluation, frame, spec, loss=loss, declared_slices=declared or [])


def _losses() -> pd.DataFrame:
    answers = np.tile([0.0, 1.0], 200)
    return pd.DataFrame(
        {
            "challenger": np.full(400, 0.4),
            "champion": np.full(400, 0.5),
            "challenger_answer": answers,
            "champion_answer": np.where(np.arange(400) % 4 == 0, 1.0, answers),
        }
    )


def _cut(rises: dict[str, float]) -> tuple[pd.DataFrame, tuple[SliceMetrics, ...]]:
    draw = np.random.default_rng(0)
    champion = draw.uniform(0.9, 1.1, 400)
    challenger, columns, slices = champion.copy(), {}, []
    members = np.arange(400) % max(1, len(rises))
    for index, (value, rise) in enumerate(rises.items()):
        rows = members == index
        challenger[rows] += rise
        columns[f"slice_{index}"] = rows
        slices.append(SliceMetrics(column="company", value=value, n_rows=int(rows.sum()), metrics={}))
    return pd.DataFrame({"challenger": challenger, "champion": champion, **columns}), tuple(slices)
