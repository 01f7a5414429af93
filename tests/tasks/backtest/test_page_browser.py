"""The page of a backtest as a browser sets it: it fits its width, no name covers another, and nothing is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.backtest.page import render_backtest
from tests.tasks.backtest.results import make_result

pytestmark = pytest.mark.browser

_COVERED = """() => [...document.querySelectorAll('svg')].flatMap(svg => {
  const names = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
  return names.flatMap(([one, a], index) => names.slice(index + 1).filter(([_, b]) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4
  ).map(([other, _]) => `${one} / ${other}`));
})"""
_A4 = 718


@pytest.mark.parametrize(("media", "width"), [("screen", 1200), ("print", _A4)])
@pytest.mark.parametrize("n_windows", [40, 146])
def test_names_stay_apart_and_the_page_fits_its_width(media: str, width: int, n_windows: int, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or pytest.skip("chromium is not installed")
    file = tmp_path / "page.html"
    file.write_text(render_backtest(make_result(n_policies=12, n_windows=n_windows)), encoding="utf-8")
    asked: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 1000})
        page.emulate_media(media=media)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())

        covered = page.evaluate(_COVERED)
        wide = page.evaluate("[...document.querySelectorAll('html, .wide')].map(one => one.scrollWidth)")
        browser.close()

    assert covered == []
    assert max(wide) <= width
    assert asked == [file.as_uri()]
