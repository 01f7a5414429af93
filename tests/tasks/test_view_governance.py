"""What views and contracts say of joined columns holds: sensitive ones reach no estimator, personal ones no file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from base.contract import DataContract
from base.errors import DefinitionError
from base.settings import Settings
from features.declarations import read_views
from features.online_store import OnlineStore
from registry.feature_views import given_columns, resolve_views
from registry.materialization import materialize_view
from registry.store import Registry, open_registry
from serving.scoring.view_lookup import open_lookup
from tests.pipelines import Trained, define, make_pipeline, make_trips, train

_VIEW = """
name: people
entity: {name: person, keys: [person]}
source: people.parquet
time: since
features:
  band: {type: text}
  income: {type: number}
"""
_COLUMNS = {
    "at": {"type": "time", "nullable": False},
    "person": {"type": "text"},
    "distance": {"type": "number"},
    "late": {"type": "boolean"},
}
_SECTIONS: dict[str, Any] = {
    "prepare": {"views": [{"view": "people"}], "exclude": ["person"]},
    "evaluate": {"slices": ["band"]},
}


def _write(folder: Path, view: str) -> None:
    (folder / "features").mkdir(parents=True, exist_ok=True)
    (folder / "features" / "people.yaml").write_text(view)
    people = pd.DataFrame(
        {
            "person": [f"p{number}" for number in range(10)],
            "since": pd.Timestamp("2012-01-01", tz="UTC"),
            "band": [f"zebra {number % 2}" for number in range(10)],
            "income": [100.0 * number for number in range(10)],
        }
    )
    people.to_parquet(folder / "people.parquet")


def _pipeline(folder: Path, registry: Registry, settings: Settings, *, view: str, columns: dict[str, Any]) -> Any:
    _write(folder, view)
    trips = make_trips(400)[["at", "distance", "late"]].assign(person=[f"p{number % 10}" for number in range(400)])
    online = OnlineStore.from_settings(settings)
    materialize_view(registry, online, read_views(folder)["people"], settings=settings)
    online.close()
    return make_pipeline(folder, trips, define(**_SECTIONS), contract={"columns": _COLUMNS | columns})


def _train(folder: Path, settings: Settings, **more: Any) -> Trained:
    registry = open_registry(settings)
    pipeline = _pipeline(folder, registry, settings, **more)
    registry.database.close()
    return train(pipeline, settings)


@pytest.mark.parametrize(
    ("view", "columns"),
    [
        (_VIEW.replace("band: {type: text}", "band: {type: text, sensitive: true}"), {}),
        (_VIEW, {"band": {"type": "text", "sensitive": True}}),
    ],
    ids=["marked in the view", "marked in the contract"],
)
def test_a_sensitive_column_of_a_view_reaches_no_estimator_and_cuts_slices(
    view: str, columns: dict[str, Any], settings: Settings, tmp_path: Path
) -> None:
    trained = _train(tmp_path / "trips", settings, view=view, columns=columns)

    data, manifest = trained.judged.data, trained.manifest
    assert data.left_out["band"].startswith("is marked sensitive")
    assert "income" in data.numeric
    for names in (data.inputs, data.features, manifest.plan.inputs, manifest.contract.columns):
        assert "band" not in names
    slices = [part for part in trained.judged.evaluation.slices if part.column == "band"]
    assert {part.value for part in slices} == {"zebra 0", "zebra 1"}
    registry, online = open_registry(settings), OnlineStore.from_settings(settings)
    lookup = open_lookup(manifest.plan.views, time_column="at", online=online, registry=registry)
    assert lookup is not None
    assert lookup.complete([{"person": "p3"}]) == [{"person": "p3", "income": 300.0}]
    online.close()
    registry.database.close()


def test_a_mark_that_is_set_later_is_no_reuse(registry: Registry, settings: Settings, tmp_path: Path) -> None:
    views = [
        resolve_views(registry, _pipeline(tmp_path, registry, settings, view=_VIEW, columns=columns))[0]
        for columns in ({}, {"band": {"type": "text", "sensitive": True}})
    ]

    assert [view.sensitive for view in views] == [(), ("band",)]
    assert views[0].digest == views[1].digest
    assert views[0].values_digest != views[1].values_digest


@pytest.mark.parametrize(
    ("view", "columns", "message"),
    [
        (_VIEW, {"band": {"type": "text", "personal": "hash"}}, "'people' stores it as it is; write 'personal: hash'"),
        (_VIEW, {"income": {"type": "number", "minimum": 0}}, "so that 'minimum' cannot be held"),
        (_VIEW, {"income": {"type": "text"}}, "'income' is text, but feature view 'people' gives it as number"),
        (
            _VIEW,
            {"person": {"type": "text", "personal": "hash"}},
            "is stored as it is, and column 'person' of the rows",
        ),
        (_VIEW, {"person": {"type": "text", "sensitive": True}}, "no request carries it, but feature view 'people'"),
        (
            _VIEW.replace("keys: [person]", "keys: [person], personal: [person]"),
            {},
            "is hashed, and column 'person' of the rows is not",
        ),
    ],
)
def test_what_could_not_be_held_is_refused(
    view: str, columns: dict[str, Any], message: str, registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    pipeline = _pipeline(tmp_path, registry, settings, view=view, columns=columns)

    with pytest.raises(DefinitionError, match=re.escape(message)):
        resolve_views(registry, pipeline)


def test_hashed_keys_meet_in_training_and_in_a_request(settings: Settings, tmp_path: Path) -> None:
    view = _VIEW.replace("keys: [person]", "keys: [person], personal: [person]")
    view = view.replace("band: {type: text}", "band: {type: text, personal: hash}")
    columns = {"person": {"type": "text", "personal": "hash"}}

    trained = _train(tmp_path / "trips", settings, view=view, columns=columns)

    assert "income" in trained.judged.data.numeric
    assert "band" in trained.judged.data.categorical
    assert [part.column for part in trained.judged.evaluation.slices if part.column == "band"] == []
    kept = b"".join(file.read_bytes() for file in settings.home.rglob("*") if file.is_file())
    assert b"zebra" not in kept


def test_the_contract_may_speak_of_what_views_give(registry: Registry, settings: Settings, tmp_path: Path) -> None:
    columns = {"band": {"type": "text", "sensitive": True}}
    pipeline = _pipeline(tmp_path, registry, settings, view=_VIEW, columns=columns)

    assert given_columns(registry, pipeline) == {"band": "people", "income": "people"}
    assert isinstance(pipeline.contract, DataContract)
