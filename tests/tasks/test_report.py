"""The page of a run: whole in itself, and right whatever the rows are."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.evaluate_spec import EvaluateSpec
from base.settings import Settings
from registry.store import Registry
from tasks.curve_charts import (
    draw_calibration,
    draw_dependence,
    draw_importance,
    draw_rank_curves,
    draw_residuals,
)
from tasks.curves import draw_curves
from tasks.explanations import explain_model
from tasks.loss_chart import draw_losses, nice_step
from tests.pipelines import define, make_pipeline, make_trips, train
from tests.tasks.judged import judge


class _Page(HTMLParser):
    """Collects what a page shows and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def page(settings: Settings, registry: Registry, tmp_path: Path) -> str:
    """The page of a second training, of rows and words that could break one."""
    trips = make_trips(1200).assign(sensor=None, company=lambda rows: rows["company"].replace("red", "<b>red & co"))
    sections = define(description="Late </title><script>alert(1)</script>", evaluate={"slices": ["company"]})
    folder = tmp_path / "trips"
    train(make_pipeline(folder, trips, sections, contract=None), settings)
    trained = train(make_pipeline(folder, trips, sections, contract=None), settings)
    return registry.artifacts.read_bytes(trained.judged.evaluation.report).decode()


def test_the_page_shows_what_was_measured(page: str) -> None:
    shown = " ".join(_Page(page).texts)

    for word in ("challenger", "champion, version 1", "baseline", "log_loss", "roc_auc", "company = <b>red & co"):
        assert word in shown
    for word in ("Precision and recall", "Calibration", "What the model looks at", "average_precision", "difference"):
        assert word in shown
    assert "sensor" in shown
    assert "holds no value in the rows to learn from" in shown
    assert "the newest 180 rows" in shown


def test_the_page_fetches_nothing_and_runs_nothing(page: str) -> None:
    found = _Page(page)

    assert found.fetched == []
    assert "script" not in found.tags
    assert not re.search(r"https?:|url\(|@import", page)


def test_the_page_needs_no_time_column(settings: Settings, registry: Registry, tmp_path: Path) -> None:
    sections = define(time=None, task="regression", target="distance", train={}, prepare={})

    trained = train(make_pipeline(tmp_path / "trips", make_trips(), sections), settings)

    page = registry.artifacts.read_bytes(trained.judged.evaluation.report).decode()
    shown = " ".join(_Page(page).texts)
    assert "all rows" in shown
    assert "row 1" in shown
    assert "mae" in shown


@pytest.mark.parametrize(
    "moments",
    [
        pd.Series(pd.date_range("2013-01-01", periods=300, freq="h", tz="UTC")),
        pd.Series(pd.date_range("2013-01-01", periods=300, freq="s", tz="UTC")),
        pd.Series(pd.to_datetime(["2013-01-01"] * 2, utc=True)),
        pd.Series(range(300)),
        pd.Series([0]),
    ],
    ids=["days", "seconds", "one moment", "rows", "one row"],
)
@pytest.mark.parametrize("level", [0.0, 1e-9, 0.3, 12_345.0])
def test_any_losses_make_a_chart_that_is_well_formed(moments: pd.Series[Any], level: float) -> None:
    losses = {name: np.full(len(moments), level) for name in ("challenger", "baseline")}

    chart = draw_losses(moments, losses, loss="mae")

    drawn = ElementTree.fromstring(chart)
    assert "nan" not in chart
    texts = [text.text for text in drawn.iter("text")]
    assert {"challenger", "baseline"} <= set(texts)
    assert "champion" not in texts
    heights = [float(y) for y in re.findall(r"y[12]='([-\d.]+)'", chart)]
    assert all(0 <= height <= 300 for height in heights)


@given(largest=st.floats(1e-8, 1e8))
def test_ticks_are_round_and_few(largest: float) -> None:
    step = nice_step(largest, 5)

    assert 1 < largest / step * 1.01 <= 5.1
    assert f"{step:e}"[0] in "1259"


@pytest.mark.parametrize("level", [0.0, 1e-9, 0.5, 1.0])
def test_curves_of_any_answers_are_well_formed(level: float) -> None:
    n_rows = 200
    features = pd.DataFrame({"x": np.linspace(0, 1, n_rows), "colour": pd.Categorical(["<b>", "blue"] * 100)})
    rows = judge(features, np.arange(n_rows) % 2, lambda frame: np.full(len(frame), level))
    moments = pd.Series(pd.date_range("2013-01-01", periods=n_rows, freq="h", tz="UTC"))
    curves = draw_curves(rows, "classification", moments)
    explained = explain_model(rows, "classification", EvaluateSpec(), (False, True), {})
    charts = [draw_rank_curves(curves), draw_calibration(curves["calibration"]), draw_importance(explained.importance)]
    charts += [draw_dependence(name, curve) for name, curve in explained.curves.items()]

    drawn = ElementTree.fromstring(f"<page>{''.join(charts)}</page>")

    assert "nan" not in "".join(charts)
    assert len(list(drawn.iter("svg"))) == 5


@pytest.mark.parametrize("n_rows", [1, 2, 500])
@pytest.mark.parametrize("error", [0.0, 1e-9, 1e6])
def test_residuals_of_any_errors_are_well_formed(n_rows: int, error: float) -> None:
    features = pd.DataFrame({"x": np.linspace(0, 1, n_rows)})
    rows = judge(features, np.zeros(n_rows), lambda frame: frame["x"] * error, task="regression")

    chart = draw_residuals(draw_curves(rows, "regression", pd.Series(range(n_rows))))

    assert len(list(ElementTree.fromstring(f"<page>{chart}</page>").iter("svg"))) == 2
    assert "nan" not in chart
