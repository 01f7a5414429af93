"""The table of a backtest in plain cells and as Markdown."""

from __future__ import annotations

import json
import re

import pytest

from tasks.backtest.result import BacktestResult
from tasks.backtest.table import (
    COLUMNS,
    cheapest_by_price,
    policy_rows,
    prices_of,
    summarise,
    tabulate,
    tell_cheapest,
)
from tests.tasks.backtest.results import make_result
from tests.tasks.backtest.test_page import ODD


def test_the_table_has_a_row_for_each_policy_in_the_results_order() -> None:
    result = make_result(n_policies=12)

    rows = policy_rows(result)

    assert [row[0].removeprefix("→ ").split(" (")[0] for row in rows] == [policy.name for policy in result.policies]
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert [row[0].startswith("→") for row in rows] == [policy.name == result.recommended for policy in result.policies]


def test_the_cheapest_at_a_price_is_the_cheapest_that_a_definition_can_say() -> None:
    result = make_result(n_policies=12)
    sayable = [policy for policy in result.policies if policy.kind != "comparison"]

    found = cheapest_by_price(result)

    assert list(found) == prices_of(result)
    for price, name in found.items():
        assert result.find(name).costs[price] == min(policy.costs[price] for policy in sayable)
        assert name in tell_cheapest(result)


@pytest.mark.parametrize("result", ODD.values(), ids=ODD.keys())
def test_markdown_has_a_line_for_each_policy_and_as_many_cells_in_each(result: BacktestResult) -> None:
    text = tabulate(result, page="file:///srv/page.html")

    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == len(result.policies) + 1
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(COLUMNS) + 1}
    assert "[The whole page](file:///srv/page.html)" in text
    assert "<script" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def test_a_summary_is_json_without_the_windows() -> None:
    document = json.loads(json.dumps(summarise(make_result()), allow_nan=False))

    assert [policy["name"] for policy in document["policies"]] == [policy.name for policy in make_result().policies]
    assert all("windows" not in policy for policy in document["policies"])
    assert document["policies"][0]["trainings"][0]["trigger"] == "performance"
