"""Evidently's page, with the report's own verdicts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from monitoring.drift import measure_drift
from monitoring.drift.page import METHOD, run_evidently
from monitoring.drift.profile import make_profile
from tests.monitoring.drift.rows import CATEGORICAL, NUMERIC, make_reference, make_rows


@pytest.mark.slow
def test_the_page_is_whole_in_itself_and_says_how_it_tested() -> None:
    window = make_rows(300, seed=1, shift=1.0).assign(y=np.nan)

    page = measure_drift(make_reference(), window, with_multivariate=False, with_page=True)

    assert page.html is not None
    assert "<html" in page.html[:2_000]
    assert "two-sample test" in page.html
    assert page.report.drifted == ("y", "x")


@pytest.mark.slow
@pytest.mark.parametrize("n_rows", [60, 3_000])
def test_evidently_gives_the_verdicts_of_the_report(n_rows: int) -> None:
    rows = make_rows().assign(__prediction__=np.linspace(0, 1, 2_000))
    profile = make_profile(rows, numeric=NUMERIC, categorical=CATEGORICAL)
    window = make_rows(n_rows, seed=1, shift=1.0, shares=(0.1, 0.1, 0.8))
    answers = pd.Series(np.linspace(0, 1, n_rows))
    report = measure_drift(profile, window, predictions=answers, with_multivariate=False).report

    snapshot = run_evidently(report, profile, window.assign(__prediction__=answers))

    assert snapshot is not None
    metrics = snapshot.dict()["metrics"]
    count = next(metric["value"]["count"] for metric in metrics if "count" in str(metric["value"]))
    shown = {m["config"]["column"]: m for m in metrics if "column" in m["config"]}
    assert count == len(report.drifted) == 2
    assert set(shown) == {*NUMERIC, *CATEGORICAL, "__prediction__"}
    assert {metric["config"]["method"] for metric in shown.values()} == {METHOD}
    for name, p_value in report.adjusted.items():
        assert shown[name]["value"] == pytest.approx(p_value)
    failed = [test["metric_config"]["params"] for test in snapshot.dict()["tests"] if test["status"] == "FAIL"]
    assert {params["column"] for params in failed if "column" in params} == set(report.drifted)


def test_a_window_without_a_value_has_no_page() -> None:
    window = make_rows(50).assign(x=np.nan, y=np.nan, c=None, town=None)

    assert measure_drift(make_reference(), window, with_page=True).html is None
