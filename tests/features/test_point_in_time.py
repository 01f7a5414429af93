"""Point-in-time joins: what training gets for a moment is what the online store would have answered at that moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.artifacts import ArtifactStore
from base.errors import DataRefused
from base.references import Rows
from base.rows.reading import POSITION, SEGMENT
from base.rows.tables import MOMENT
from features.entities import Entity
from features.event_history import EventHistory
from features.offline_store import append_events
from features.online_store import OnlineStore, entity_key, microseconds
from features.point_in_time import join_views
from features.views import Feature, FeatureView, JoinedView

_START = datetime(2024, 1, 1, tzinfo=UTC)


def _hour(number: int) -> datetime:
    return _START + timedelta(hours=number)


def _view(*, created: bool, freshness: int | None) -> FeatureView:
    return FeatureView(
        name="weather",
        entity=Entity(name="station", keys=("place", "floor")),
        source="weather.csv",
        time="at",
        created="loaded" if created else None,
        features={"temp": Feature(type="number"), "sky": Feature(type="text")},
        freshness=None if freshness is None else timedelta(hours=freshness),
    )


# An event: place, floor, hour, how late it became known, and its value, which may be missing.
_event = st.tuples(
    st.sampled_from(["A", "A", "ä'\""]),
    st.just(0),
    st.integers(0, 8),
    st.none() | st.integers(-1, 6),
    st.none() | st.integers(0, 99),
)
_histories = st.lists(st.lists(_event, min_size=1, max_size=10), min_size=0, max_size=3)
# Every entity is asked for at every hour.
_ASKED = [(place, floor, hour) for hour in range(-1, 16) for place, floor in [("A", 0), ("ä'\"", 0), ("A", 1)]]


def _events(view: FeatureView, batch: list[Any]) -> pa.Table:
    columns: dict[str, Any] = {
        "place": pa.array([place for place, *_ in batch]),
        "floor": pa.array([floor for _, floor, *_ in batch], pa.int64()),
        "at": pa.array([_hour(hour) for _, _, hour, *_ in batch], MOMENT),
        "loaded": pa.array([None if late is None else _hour(hour + late) for _, _, hour, late, _ in batch], MOMENT),
        "temp": pa.array([None if value is None else value / 2 for *_, value in batch], pa.float64()),
        "sky": pa.array([None if value is None else f"sky {value}" for *_, value in batch], pa.string()),
    }
    return pa.table({name: columns[name] for name in view.columns})


def _store_history(artifacts: ArtifactStore, view: FeatureView, history: list[list[Any]]) -> Rows:
    rows = Rows(segments=())
    for batch in history:
        rows = append_events(artifacts, view, rows, _events(view, batch))
    return rows


def _since(view: FeatureView, event: tuple[Any, ...]) -> int:
    _, _, hour, late, _ = event
    return int(hour) if view.created is None or late is None else int(hour) + max(int(late), 0)


def _join(artifacts: ArtifactStore, view: FeatureView, rows: Rows, spine: pa.Table) -> list[dict[str, Any]]:
    joined = JoinedView(
        view=view, digest="d", keys={"place": "p", "floor": "f"}, columns={"temp": "w_temp", "sky": "w_sky"}, rows=rows
    )
    table = join_views(spine, [joined], "when", artifacts)
    assert table.select(spine.column_names).equals(spine)
    return [dict(row) for row in table.select(["w_temp", "w_sky"]).to_pylist()]


def _answer_online(store: OnlineStore, digest: str, view: FeatureView, row: tuple[str, int, int]) -> dict[str, Any]:
    place, floor, hour = row
    key = entity_key([place, floor])
    value = store.read(digest, [key]).get(key)
    nothing = {"w_temp": None, "w_sky": None}
    if value is None:
        return nothing
    age = timedelta(microseconds=microseconds(_hour(hour)) - value.event_time)
    if view.freshness is not None and age > view.freshness:
        return nothing
    return {"w_temp": value.features["temp"], "w_sky": value.features["sky"]}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def online(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnlineStore]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'online.db'}" if is_sqlite else request.getfixturevalue("postgres_database")
    store = OnlineStore(url)
    yield store
    store.close()


_counter = iter(range(1_000_000))


@settings(max_examples=15)
@given(
    history=_histories,
    created=st.booleans(),
    freshness=st.none() | st.integers(1, 5),
    shuffle=st.randoms(use_true_random=False),
)
def test_offline_as_of_values_are_what_the_online_store_would_have_answered_then(
    tmp_path_factory: pytest.TempPathFactory,
    online: OnlineStore,
    history: list[list[Any]],
    created: bool,
    freshness: int | None,
    shuffle: Any,
) -> None:
    artifacts = ArtifactStore(str(tmp_path_factory.getbasetemp() / "views-store"))
    view = _view(created=created, freshness=freshness)
    spine = pa.table(
        {
            "p": pa.array([place for place, *_ in _ASKED]),
            "f": pa.array([float(floor) for _, floor, _ in _ASKED]),
            "when": pa.array([_hour(hour) for *_, hour in _ASKED], MOMENT),
        }
    )

    offline = _join(artifacts, view, _store_history(artifacts, view, history), spine)

    digest, answers = f"history {next(_counter)}", []
    places = [(index, at) for index, batch in enumerate(history) for at in range(len(batch))]
    for hour in dict.fromkeys(hour for *_, hour in _ASKED):
        # What becomes known in this hour arrives in any order, and some of what was known arrives once more.
        arriving = [(index, at) for index, at in places if _since(view, history[index][at]) == hour]
        known = [(index, at) for index, at in places if _since(view, history[index][at]) < hour]
        arriving += shuffle.sample(known, min(len(known), 2))
        shuffle.shuffle(arriving)
        if arriving:
            events = _events(view, [history[index][at] for index, at in arriving])
            events = events.append_column(SEGMENT, pa.array([index for index, _ in arriving], pa.int64()))
            online.write(digest, view, events.append_column(POSITION, pa.array([at for _, at in arriving], pa.int64())))
        answers += [_answer_online(online, digest, view, row) for row in _ASKED if row[2] == hour]
    assert offline == answers


@pytest.mark.slow
@settings(max_examples=30)
@given(history=_histories, created=st.booleans())
def test_a_history_in_memory_answers_as_the_join_does(
    tmp_path_factory: pytest.TempPathFactory, history: list[list[Any]], created: bool
) -> None:
    artifacts = ArtifactStore(str(tmp_path_factory.getbasetemp() / "views-store"))
    view = _view(created=created, freshness=None)
    rows = _store_history(artifacts, view, history)
    spine = pa.table(
        {
            "p": pa.array([place for place, *_ in _ASKED]),
            "f": pa.array([floor for _, floor, _ in _ASKED], pa.int64()),
            "when": pa.array([_hour(hour) for *_, hour in _ASKED], MOMENT),
        }
    )

    held = EventHistory.load(artifacts, view, rows)

    found = [held.find(entity_key([place, floor]), microseconds(_hour(hour))) for place, floor, hour in _ASKED]
    assert [
        {"w_temp": None, "w_sky": None} if one is None else {f"w_{name}": value for name, value in one.features.items()}
        for one in found
    ] == _join(artifacts, view, rows, spine)


def _one_view(artifacts: ArtifactStore, name: str, value: float, **more: Any) -> JoinedView:
    view = _view(created=False, freshness=None).model_copy(update={"name": name})
    rows = append_events(artifacts, view, Rows(segments=()), _events(view, [("A", 0, 1, None, value)]))
    columns = {"temp": f"{name}_temp"}
    return JoinedView(
        view=view, digest=name, keys={"place": "p", "floor": "f"}, rows=rows, **({"columns": columns} | more)
    )


def _spine(**more: Any) -> pa.Table:
    columns = {"p": pa.array(["A", "A", None]), "f": pa.array([0, 1, 0]), "when": pa.array([_hour(2)] * 3, MOMENT)}
    return pa.table(columns | more)


def test_several_views_are_joined_in_one_go_and_a_row_without_a_key_finds_nothing(tmp_path: Path) -> None:
    artifacts = ArtifactStore(str(tmp_path))
    views = [_one_view(artifacts, "sea", 4), _one_view(artifacts, "land", 6)]

    table = join_views(_spine(), views, "when", artifacts)

    assert table["sea_temp"].to_pylist() == [2.0, None, None]
    assert table["land_temp"].to_pylist() == [3.0, None, None]


@pytest.mark.parametrize(
    ("history", "asked", "expected"),
    [
        # (place, floor, hour, how late it became known, value), in the order of their arrival
        ([("A", 0, 3, 0, 6), ("A", 0, 1, 4, 2)], 6, 3.0),  # an older event that becomes known later changes nothing
        ([("A", 0, 1, 4, 2), ("A", 0, 3, 0, 6)], 2, None),  # nor is it known before
        ([("A", 0, 1, 4, 2)], 5, 1.0),
        ([("A", 0, 1, 0, 2), ("A", 0, 1, 2, 4)], 2, 1.0),  # a correction counts from when it was known
        ([("A", 0, 1, 0, 2), ("A", 0, 1, 2, 4)], 3, 2.0),
        ([("A", 0, 1, 0, 2), ("A", 0, 1, 0, 4)], 1, 2.0),  # of equals the one that was stored last
    ],
)
def test_late_and_corrected_events_count_from_when_they_were_known(
    tmp_path: Path, history: list[Any], asked: int, expected: float | None
) -> None:
    artifacts, view = ArtifactStore(str(tmp_path)), _view(created=True, freshness=None)
    spine = pa.table({"p": ["A"], "f": [0], "when": pa.array([_hour(asked)], MOMENT)})

    (answer,) = _join(artifacts, view, _store_history(artifacts, view, [history]), spine)

    assert answer["w_temp"] == expected


def test_a_view_without_events_gives_nulls_of_its_types(tmp_path: Path) -> None:
    artifacts = ArtifactStore(str(tmp_path))
    view = _one_view(artifacts, "sea", 4).model_copy(update={"rows": Rows(segments=())})

    table = join_views(_spine(), [view], "when", artifacts)

    assert table["sea_temp"].type == pa.float64()
    assert table["sea_temp"].null_count == 3


@pytest.mark.parametrize(
    ("spine", "more", "message"),
    [
        (_spine(sea_temp=pa.array([1, 2, 3])), {}, "'sea_temp': found a column of this name.*give it a prefix"),
        (_spine(), {"keys": {"place": "pp", "floor": "f"}}, "'pp': found no such column"),
        (
            _spine(f=pa.array(["0", "1", "0"])),
            {},
            "'f': found string, expected int64, as the key",
        ),
    ],
)
def test_rows_that_a_view_cannot_be_joined_to_are_refused(
    tmp_path: Path, spine: pa.Table, more: dict[str, Any], message: str
) -> None:
    artifacts = ArtifactStore(str(tmp_path))
    joined = _one_view(artifacts, "sea", 4).model_copy(update=more)

    with pytest.raises(DataRefused, match=message):
        join_views(spine, [joined], "when", artifacts)
