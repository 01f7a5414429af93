"""Model cards: every recorded figure is told, nothing is made up, and what people must write is asked for."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.artifacts import Artifact
from base.card_text import WRITTEN_PARTS, compose_template, read_written
from base.contract import ColumnRule
from base.judged import Evaluation, FairnessMetrics, SliceMetrics
from base.request_contract import RequestContract
from console.model_card import render_card
from features.feature_plan import FeaturePlan
from registry.lineage import Lineage
from registry.manifest import ModelManifest
from registry.model_card import CardFacts, compose_card
from registry.tables import AliasMove, ModelVersion

FILE = Artifact(digest="ab" * 32, size_bytes=1, suffix=".skops")
NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)
EVALUATION = Evaluation(
    n_rows=2_607,
    metrics={"mae": 45.4, "mape": math.nan},
    baseline={"mae": 172.2},
    champion={"mae": 47.1},
    champion_version=1,
    slices=(SliceMetrics(column="weather", value="3", n_rows=80, metrics={"challenger_loss": 61.5}),),
    losses=FILE,
    report=FILE,
    intervals={"mae": (41.2, 49.9)},
    fairness=(FairnessMetrics(column="district", metric="mae", value=7.5, groups={"north": 41.0, "south": 48.5}),),
    importance={"hour": (90.1, 2.5), "wind": (0.2, 0.1)},
    missing={"cost": "no cost is declared for class 'c'"},
)


def _facts(card: str | None = None, evaluation: Evaluation | None = EVALUATION) -> CardFacts:
    manifest = ModelManifest(
        model="bike",
        task="regression",
        target="cnt",
        time="moment",
        classes=None,
        estimator="sklearn.linear_model.Ridge",
        parameters={"alpha": 2.0},
        seed=0,
        model_file=FILE,
        plan=FeaturePlan(inputs={"hour": "integer"}, functions=(), numeric=("hour",)),
        contract=RequestContract(columns={"hour": ColumnRule(type="integer", minimum=0)}),
        code={},
        threshold=0.5,
        examples=FILE,
        reference=FILE,
        metrics={"mae": 45.4},
        snapshot="cd" * 32,
        first=NOON,
        learnt_until=NOON,
        watermark=NOON,
        libraries={"scikit-learn": "1.9.1"},
        environment="ef" * 32,
    )
    version = ModelVersion(
        model="bike",
        number=2,
        run_id="run-2",
        pipeline_version="p" * 64,
        manifest=manifest.model_dump(mode="json"),
        metrics={"mae": 45.4},
        verdict={
            "outcome": "better",
            "reason": "better: mae falls by 1.7",
            "loss": "mae",
            "checks": [{"name": "churn", "passed": True, "evidence": "2 % of at most 5 %"}],
        },
        created_at=NOON,
    )
    steps = {} if evaluation is None else {"evaluate": evaluation.model_dump(mode="json")}
    steps["validate_data"] = {"n_rows": 17_000, "reasons": {"rate below 0": 12}}
    lineage = Lineage(
        model="bike",
        number=2,
        run_id="run-2",
        trigger="drift",
        parameters={},
        started_at=NOON,
        pipeline_version="p" * 64,
        package={
            "spec": {"owner": "Ada", "extract": {"source": "hours.parquet"}},
            "contract": {"columns": {"district": {"sensitive": True}, "hour": {}}},
        },
        steps=(),
    )
    move = AliasMove(
        environment="prod",
        model="bike",
        alias="champion",
        revision=2,
        number=2,
        kind="promotion",
        actor="ben",
        reason="approved by ben",
        moved_at=NOON,
    )
    return CardFacts(version, manifest, lineage, [move], steps, read_written(card or ""))


@pytest.mark.parametrize(
    "told",
    [
        "# bike, version 2",
        "| owner | Ada |",
        "asked for by drift",
        "set aside: 12 rows, rate below 0",
        "marked sensitive, and no input of the model: district",
        "| mae | 45.4 | 41.2 to 49.9 | 172.2 | 47.1 |",
        "| mape | – |  | – | – |",
        "cost could not be measured: no cost is declared for class 'c'",
        "| weather = 3 | 80 | 61.5 | – | declaration |",
        "| district | mae | 7.5 | north: 41; south: 48.5 |",
        "| hour | 90.1 ± 2.5 |",
        "**better**: better: mae falls by 1.7",
        "- churn: passed; 2 % of at most 5 %",
        "| 2026-05-03 12:00 | prod | champion | promotion | ben | approved by ben |",
        "ab" * 32,
    ],
)
def test_what_was_recorded_is_told(told: str) -> None:
    assert told in compose_card(_facts())


def test_a_version_without_a_recorded_evaluation_tells_its_metrics_alone() -> None:
    card = compose_card(_facts(evaluation=None))

    assert "| mae | 45.4 |" in card
    assert "## Fairness" not in card
    assert "## Slices" not in card


@pytest.mark.parametrize("part", WRITTEN_PARTS)
def test_a_part_that_nobody_wrote_is_asked_for(part: str) -> None:
    assert f"## {part}\n\n*Not written yet: {WRITTEN_PARTS[part]}" in compose_card(_facts(compose_template("bike")))
    assert f"## {part}\n\nOur words." in compose_card(_facts(f"# {part}\nOur words."))


def test_a_heading_of_ones_own_is_kept() -> None:
    assert "## Out of office\n\nAsk Cleo." in compose_card(_facts("## Out of office\nAsk Cleo."))


@given(
    st.dictionaries(st.from_regex(r"[A-Z][a-z]{1,8}", fullmatch=True), st.from_regex(r"[a-z. ]{1,30}", fullmatch=True))
)
def test_written_parts_come_back(parts: dict[str, str]) -> None:
    text = "\n\n".join(f"# {name}\n{words}" for name, words in parts.items())

    assert read_written(text) == {name: words.strip() for name, words in parts.items() if words.strip()}


def test_a_page_loads_nothing_and_runs_nothing_that_people_wrote() -> None:
    written = "# Purpose\n<script>alert(1)</script> [click](javascript:alert(1))"

    page = render_card(compose_card(_facts(written)), "bike")

    assert "<script>alert" not in page
    assert 'href="javascript:' not in page
    assert "http://" not in page
    assert "https://" not in page
