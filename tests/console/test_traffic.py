"""`everfit traffic`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from base.settings import Settings
from registry.manifest import ModelManifest
from registry.store import Registry
from tests.console.conftest import Everfit
from tests.serving.log.samples import NOON, fill, fill_day, folder_of
from tests.serving.models import register_model


@pytest.fixture
def manifest(registry: Registry) -> ModelManifest:
    return ModelManifest.model_validate(register_model(registry).manifest)


def test_nothing_was_predicted_yet(everfit: Everfit) -> None:
    assert "Nothing has been predicted yet" in everfit("traffic", "status").out
    assert everfit("traffic", "gc", "--json").document == {"dry_run": False, "removed": []}


def test_the_accounts_are_told_for_people_and_for_programs(
    everfit: Everfit, settings: Settings, manifest: ModelManifest
) -> None:
    fill(settings.home, manifest, 5)

    told = everfit("traffic", "status", "trips")
    (document,) = everfit("traffic", "status", "--json").document

    assert told.code == 0
    assert "trips: accepted 15 = stored 15 + rejected 0 + in flight 0" in told.out
    assert (document["stored"], document["found"], document["gaps"]) == (15, 15, [])
    assert document["writers"][0]["state"] == "closed"


def test_a_gap_is_named_and_ends_with_code_3(everfit: Everfit, settings: Settings, manifest: ModelManifest) -> None:
    fill(settings.home, manifest, 14)
    sorted(folder_of(settings.home).iterdir())[0].unlink()

    told = everfit("traffic", "status")

    assert told.code == 3
    assert "gap in the log of trips: rows 0 to 11" in told.err
    assert everfit("traffic", "status", "trips", "--json").code == 3


def test_a_model_without_a_log_is_named_with_those_that_have_one(
    everfit: Everfit, settings: Settings, manifest: ModelManifest
) -> None:
    fill(settings.home, manifest, 1)

    told = everfit("traffic", "status", "tripz")

    assert told.code == 2
    assert "did you mean 'trips'" in told.err


def test_predictions_are_shown_newest_first_or_by_their_id(
    everfit: Everfit, settings: Settings, manifest: ModelManifest
) -> None:
    ids = [fill_day(settings.home, manifest, NOON + timedelta(days=day)) for day in range(3)]
    assert everfit("traffic", "move", "--json").document == {"segments": 3, "rows": 9}

    shown = everfit("traffic", "show", "trips", "--last", "2", "--json").document
    (one,) = everfit("traffic", "show", "trips", "--id", ids[0][1], "--json").document

    assert {row["id"] for row in shown} < set(ids[2])
    assert (one["id"], one["row"]["distance"], one["arm"]) == (ids[0][1], 1.0, "champion")
    assert ids[0][1] in everfit("traffic", "show", "trips").out
    assert "distance: 1.0" in everfit("traffic", "show", "trips", "--id", ids[0][1]).out
    assert everfit("traffic", "show", "trips", "--id", "unknown").code == 2
    assert everfit("traffic", "show", "other").code == 2


def test_what_is_kept_no_longer_is_told_first_and_removed_then(
    everfit: Everfit, settings: Settings, manifest: ModelManifest
) -> None:
    for day in range(3):
        fill_day(settings.home, manifest, NOON + timedelta(days=day))
    everfit("traffic", "move")
    assert everfit("traffic", "gc", "--json").document["removed"][0]["rows"] == 0

    told = everfit("traffic", "gc", "trips", "--keep-bytes", "1", "--dry-run", "--json").document
    assert (told["dry_run"], told["removed"][0]["rows"]) == (True, 9)
    assert everfit("traffic", "status", "--json").document[0]["segments"]["predictions"]["moved"]["rows"] == 9
    assert "removed 9 rows in 3 segments" in everfit("traffic", "gc", "--keep-bytes", "1").out

    (document,) = everfit("traffic", "status", "--json").document
    assert (document["segments"]["predictions"]["removed"]["rows"], document["gaps"]) == (9, [])
    assert "3 segments of the prediction log removed" in everfit("ledger", "list", "--json").out


@pytest.mark.parametrize("duration", ["soon", "5"])
def test_a_duration_that_is_none_is_refused(everfit: Everfit, duration: str) -> None:
    finished = everfit("traffic", "gc", "--keep-for", duration)

    assert finished.code == 2
    assert "--keep-for" in finished.err
