"""The page of a backtest: whole in itself, it names every policy, and shows text as text."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from ruamel.yaml import YAML

from tasks.backtest.page import render_backtest
from tasks.backtest.result import BacktestResult
from tests.tasks.backtest.results import make_result

HOSTILE = "<script>alert('1')</script> & \"so on\" | `x`"


class Page(HTMLParser):
    """Collects what a page shows, by the heading that it stands under, and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.sections: dict[str, str] = {}
        self.unlabelled = 0
        self._heading, self._in_heading = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.unlabelled += tag == "svg" and not (named.get("role") == "img" and named.get("aria-label"))
        if tag == "h2":
            self._heading, self._in_heading = "", True

    def handle_endtag(self, tag: str) -> None:
        self._in_heading = self._in_heading and tag != "h2"

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self._heading += data
        else:
            self.sections[self._heading] = self.sections.get(self._heading, "") + data


def _hostile(result: BacktestResult) -> BacktestResult:
    """The same result, with words in every place that could break a page."""
    policies = tuple(
        policy.model_copy(
            update={
                "name": f"{policy.name} {HOSTILE}",
                "tells": HOSTILE,
                "section": {"triggers": {HOSTILE: HOSTILE}},
                "trainings": tuple(one.model_copy(update={"klass": HOSTILE}) for one in policy.trainings),
            }
        )
        for policy in result.policies
    )
    changes = dict.fromkeys(("pipeline", "why", "yaml", "unit", "price_tells", "metric_name", "window"), HOSTILE)
    return result.model_copy(
        update={**changes, "policies": policies, "notes": (HOSTILE,), "recommended": policies[0].name}
    )


@pytest.mark.parametrize("n_policies", [3, 6, 12])
def test_every_policy_is_in_each_table_and_in_its_own_details(n_policies: int) -> None:
    result = make_result(n_policies=n_policies)

    page = Page(render_backtest(result))

    names = {policy.name for policy in result.policies}
    for section in ("All policies", "At another price", "What each training brought", "When each policy trained"):
        assert {name for name in names if name not in page.sections[section]} == set()


def test_the_recommended_policy_why_and_the_block_to_paste_stand_first() -> None:
    result = make_result()

    text = render_backtest(result)

    first = Page(text).sections[f"Take {result.recommended}"]
    assert text.index("<div class=take>") < text.index("<svg")
    assert result.why[1:] in first
    assert result.yaml.strip() in first


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    text = render_backtest(make_result(n_policies=12))

    page = Page(text)
    assert page.fetched == []
    assert {"script", "link", "iframe", "img", "a"} & set(page.tags) == set()
    assert not re.search(r"https?:|url\(|@import", text)


def test_text_of_a_pipeline_is_shown_as_text() -> None:
    page = Page(render_backtest(_hostile(make_result())))

    assert "script" not in page.tags
    assert page.sections[""].count(HOSTILE) >= 1
    assert page.sections["Notes"] == HOSTILE


def test_every_chart_says_in_words_what_it_shows() -> None:
    page = Page(render_backtest(make_result()))

    assert (page.tags.count("svg"), page.unlabelled) == (3, 0)


def test_each_policy_that_a_definition_can_say_has_its_block() -> None:
    result = make_result()
    said = [policy for policy in result.policies if policy.section]

    blocks = re.findall(r"<details>.*?<pre>(.*?)</pre>", render_backtest(result), flags=re.DOTALL)

    assert [YAML(typ="safe").load(block) for block in blocks] == [policy.section for policy in said]


def test_an_answer_that_the_budget_cut_short_says_so_first() -> None:
    result = make_result(is_complete=False)
    unfinished = result.policies[-1].model_copy(update={"is_complete": False})
    result = result.model_copy(update={"policies": (*result.policies[:-1], unfinished)})

    text = render_backtest(result)

    notice = text.index("The budget ended before every policy had walked the whole history")
    assert notice < text.index("<div class=take>")
    assert f"Unfinished: {unfinished.name}." in text
    assert "The budget ended" not in render_backtest(make_result())


def _without_losses(result: BacktestResult) -> BacktestResult:
    unjudged = {"loss": None, "low": None, "high": None, "skipped": "no labels"}
    policies = tuple(
        policy.model_copy(update={"windows": tuple(one.model_copy(update=unjudged) for one in policy.windows)})
        for policy in result.policies
    )
    return result.model_copy(update={"policies": policies, "n_judged": 0})


def _without_trainings(result: BacktestResult) -> BacktestResult:
    return _with(result, trainings=(), n_trainings=0)


def _all_alike(result: BacktestResult) -> BacktestResult:
    return _with(result, loss=0.0, excess=0.0, cost=0.0)


def _with(result: BacktestResult, **changes: Any) -> BacktestResult:
    policies = tuple(policy.model_copy(update=changes) for policy in result.policies)
    return result.model_copy(update={"policies": policies})


ODD = {
    "one policy": make_result(n_policies=1),
    "three windows": make_result(n_windows=3),
    "hundreds of windows": make_result(n_windows=400, n_policies=12),
    "no window judged": _without_losses(make_result()),
    "no window walked": _with(
        make_result(is_complete=False), n_windows=0, windows=(), trainings=(), n_trainings=0, loss=0.0, cost=0.0
    ).model_copy(update={"n_judged": 0}),
    "no training": _without_trainings(make_result()).model_copy(update={"oracle_trainings": (), "oracle_cost": None}),
    "all alike": _all_alike(make_result()),
    "recommended is not there": make_result().model_copy(update={"recommended": "another", "yaml": ""}),
    "hostile words": _hostile(make_result()),
}
"""Results at the edges, for whatever shows them."""


@pytest.mark.parametrize("result", ODD.values(), ids=ODD.keys())
def test_any_result_makes_a_whole_page(result: BacktestResult) -> None:
    text = render_backtest(result)

    page = Page(text)
    assert text.endswith("</html>")
    assert {policy.name for policy in result.policies if policy.name not in page.sections["All policies"]} == set()
    assert "nan" not in re.sub(r"<[^>]*>", "", text).split()


@pytest.mark.parametrize(("delay", "told"), [(timedelta(0), "at once"), (timedelta(days=7), "1 week later")])
def test_the_page_says_when_labels_are_known(delay: timedelta, told: str) -> None:
    page = render_backtest(make_result().model_copy(update={"label_delay": delay}))

    assert f"labels known {told}. A training costs" in page
