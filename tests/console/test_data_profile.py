"""`everfit data profile`: the page about some data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.console.conftest import Everfit

_CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    """Rows with all that a profile should name."""
    draw = np.random.default_rng(0)
    n_rows = 3_000
    frame = pd.DataFrame(
        {
            "at": pd.date_range("2024-01-01", periods=n_rows, freq="h", tz="UTC"),
            "price": draw.gamma(4, 25, n_rows).round(2),
            "kind": draw.choice(["one", "two", "Undefined"], n_rows, p=[0.6, 0.3, 0.1]),
            "<b>&\"'": draw.normal(size=n_rows),
            "empty": np.nan,
            "same": 1,
            "name": [f"person {index % 40}" for index in range(n_rows)],
            "far": draw.normal(size=n_rows),
        }
    )
    frame["sold"] = frame["price"] > 100
    frame["receipt"] = np.where(frame["sold"], "yes", "no")
    frame.loc[0, "price"], frame.loc[1, "price"] = -4.0, 99_999.0
    frame.loc[2, "far"] = np.inf
    frame.loc[2_000:, "kind"] = None
    frame.loc[1_500:, "far"] += 5
    file = tmp_path / "dirty.parquet"
    frame.to_parquet(file)
    return file


def test_what_stands_out_is_said(everfit: Everfit, dirty: Path) -> None:
    finished = everfit("data", "profile", str(dirty), "--target", "sold", "--time", "at", "--personal", "name")

    assert finished.code == 0
    for finding in (
        "- receipt may give the target away",
        "- empty holds no value in any row",
        "- same holds the same value in every row",
        "- far is infinite in 1 rows",
        "- kind holds 'Undefined' in",
        "- price is below 0 in 1 row only; the least is −4",
        "- price reaches 99,999",
        "drifted far from their start: ",
    ):
        assert finding in finished.out
    page = Path("dirty-profile.html").read_text()
    assert "person 3" not in page
    assert "<b>&\"'" not in page
    assert len(re.findall("<svg", page)) >= 4


def test_text_that_holds_moments_is_read_as_time(everfit: Everfit, tmp_path: Path) -> None:
    frame = pd.DataFrame({"day": [f"2024-{month:02}-01" for month in range(1, 13)] * 20, "n": range(240)})
    frame.to_csv(tmp_path / "days.csv", index=False)

    found = everfit("data", "profile", "days.csv", "--time", "day", "--target", "n", "--json").document

    assert found["columns"][0]["type"] == "time"
    assert found["columns"][1]["farthest_drift"] is not None


@pytest.mark.parametrize("rows", ["a,b\n", "a,b\n1,x\n"])
def test_a_table_of_almost_nothing_has_a_page(everfit: Everfit, tmp_path: Path, rows: str) -> None:
    (tmp_path / "few.csv").write_text(rows)

    finished = everfit("data", "profile", "few.csv", "--output", "few.html")

    assert (finished.code, finished.err.count("Traceback")) == (0, 0)
    assert "Profile of few" in Path("few.html").read_text()


@pytest.mark.browser
@pytest.mark.parametrize("more", [[], pytest.param(["--evidently"], marks=pytest.mark.slow)])
def test_the_page_asks_for_nothing_and_runs_without_an_error(everfit: Everfit, dirty: Path, more: list[str]) -> None:
    if not _CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    if more:  # Evidently draws each column for itself
        pd.read_parquet(dirty, columns=["price", "kind", "at", "sold", "empty"]).to_parquet(dirty)
    everfit("data", "profile", str(dirty), "--target", "sold", "--time", "at", "--output", "page.html", *more)
    asked, said = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(_CHROMIUM), args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        file = Path("page.html").absolute().as_uri()
        page.goto(file)
        if more:
            page.click("summary")
            frame = page.frame_locator("iframe").get_by_text("Dataset Summary").first
            frame.wait_for(timeout=60_000)
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        n_plots = page.locator("svg.plot").count()
        browser.close()

    assert ([url for url in asked if url != file], said, wide) == ([], [], False)
    assert n_plots >= 2
