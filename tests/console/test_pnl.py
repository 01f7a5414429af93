"""Claims about `everfit pnl`: what each training was worth, which trigger earns its keep, and when more can be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.settings import Settings
from registry.pipelines import register_pipeline
from registry.store import open_registry
from tests.console.conftest import Everfit
from tests.monitoring.pnl.histories import PlayedPipeline
from tests.pipelines import make_pipeline


@pytest.fixture
def played(tmp_path: Path, settings: Settings) -> PlayedPipeline:
    """A first training, one that follows a turned world, and one in vain."""
    pipeline = PlayedPipeline(tmp_path)
    assert pipeline.settings.home == settings.home
    pipeline.train("2013-01-01")
    turned = pipeline.train("2013-02-01", turned=True, trigger="performance")
    pipeline.serve(turned, "2013-03-01", 24 * 14, turned=True)
    pipeline.train("2013-03-01", turned=True, trigger="schedule")
    return pipeline


def test_the_account_names_what_paid_off_what_did_not_and_who_had_asked(
    everfit: Everfit, played: PlayedPipeline
) -> None:
    told = everfit("pnl", "trips")

    assert told.code == 0
    assert "trips: 1 of 3 trainings changed nothing; 1 paid off, 1 cannot be told." in told.out
    lines = {line.split()[2]: line for line in told.out.splitlines() if line.startswith("20")}
    assert "2 after 1" in lines["performance"]
    assert "paid off" in lines["performance"]
    assert "-0.200" in lines["schedule"]
    assert "its version never was champion" in lines["schedule"]
    assert "it was the first" in lines["person"]
    assert "Not counted: 1, which cost 0.200." in told.out
    assert "in windows of full loss: 1 week, with every answer wrong" in told.out


def test_the_document_holds_the_same_and_nothing_else_is_printed(everfit: Everfit, played: PlayedPipeline) -> None:
    document = everfit("pnl", "trips", "--json").document
    account = document["account"]

    assert document["headline"] == "1 of 3 trainings changed nothing; 1 paid off, 1 cannot be told"
    assert (document["window"], document["price"], document["label_delay"]) == ("1 week", 0.2, "0 seconds")
    assert [one["klass"] for one in account["trainings"]] == ["cannot be told", "paid off", "changed nothing"]
    assert account["by_trigger"]["schedule"]["net"] == -0.2
    assert account["totals"]["classes"] == {"paid off": 1, "changed nothing": 1, "cannot be told": 1}


def test_since_leaves_earlier_trainings_out(everfit: Everfit, played: PlayedPipeline) -> None:
    nothing = everfit("pnl", "trips", "--since", "2100-01-01")
    everything = everfit("pnl", "trips", "--since", "2001-01-01", "--json").document

    assert "trips: no training to tell of." in nothing.out
    assert len(everything["account"]["trainings"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trip"], "there is no pipeline 'trip'; registered are trips; did you mean"),
        (["trips", "--since", "soon"], "--since: expected a moment such as"),
    ],
)
def test_what_cannot_be_told_of_is_a_wrong_argument(
    everfit: Everfit, tmp_path: Path, settings: Settings, arguments: list[str], message: str
) -> None:
    registry = open_registry(settings)
    register_pipeline(registry, make_pipeline(tmp_path / "trips", None))
    registry.database.close()

    told = everfit("pnl", *arguments)

    assert told.code == 2
    assert message in told.err
