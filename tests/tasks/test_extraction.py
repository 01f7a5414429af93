"""From a source to a snapshot in time order."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.errors import DataRefused, DefinitionError, UserCodeError
from base.pipeline import Pipeline
from base.references import Snapshot
from base.rows.reading import load_rows
from base.settings import Settings
from base.user_code import UserCode
from registry.store import Registry
from tasks.extraction import extract_data, open_site
from tasks.found_sources import look_at_sources
from tests.pipelines import define, make_pipeline, make_trips


def test_rows_are_ordered_by_time_and_equal_times_keep_their_order(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips(50).assign(at=lambda rows: rows["at"].dt.floor("10h"))
    shuffled = trips.sample(frac=1, random_state=0)

    snapshot = _extract(make_pipeline(tmp_path / "trips", shuffled), registry)

    expected = shuffled.sort_values("at", kind="stable")["distance"].tolist()
    assert load_rows(registry.artifacts, snapshot.rows).to_pandas()["distance"].tolist() == expected
    assert (snapshot.first, snapshot.watermark) == (trips["at"].min(), trips["at"].max())


def test_the_order_of_the_source_does_not_matter(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips(50)

    one = _extract(make_pipeline(tmp_path / "one", trips), registry)
    other = _extract(make_pipeline(tmp_path / "other", trips.sample(frac=1, random_state=0)), registry)

    assert one == other


def test_a_moment_hides_rows_whose_target_was_still_to_come(registry: Registry, tmp_path: Path) -> None:
    sections = define(extract={"source": "data.parquet", "label_delay": "6 hours"})
    pipeline = make_pipeline(tmp_path / "trips", make_trips(50), sections)

    snapshot = _extract(pipeline, registry, as_of=datetime(2013, 1, 2, tzinfo=UTC))

    assert snapshot.watermark == datetime(2013, 1, 1, 18, tzinfo=UTC)
    assert snapshot.n_rows == 19


def test_a_moment_before_all_rows_is_refused(registry: Registry, tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "trips", make_trips(50))

    with pytest.raises(DataRefused, match="no rows as of 2012-01-01 00:00 UTC"):
        _extract(pipeline, registry, as_of=datetime(2012, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("distance > 10", [True, False, None]),
        ("distance * 2", [24.0, 6.0, None]),
        ("late", [True, False, True]),
    ],
)
def test_a_target_is_computed_and_unknown_where_a_column_is(
    expression: str, expected: list[Any], registry: Registry, tmp_path: Path
) -> None:
    trips = make_trips(3).assign(distance=[12.0, 3.0, np.nan], late=[True, False, True])
    sections = define(target={"name": "goal", "expression": expression})

    snapshot = _extract(make_pipeline(tmp_path / "trips", trips, sections), registry)

    found = load_rows(registry.artifacts, snapshot.rows).to_pandas()["goal"]
    assert [None if pd.isna(value) else value for value in found] == expected


@pytest.mark.parametrize("expression", ["distanze > 1", "distance >", "distance.sum().sum() @ 3", "'red'"])
def test_a_target_that_cannot_be_computed_is_refused(expression: str, registry: Registry, tmp_path: Path) -> None:
    sections = define(target={"name": "goal", "expression": expression})

    with pytest.raises(DefinitionError, match=r"target.expression"):
        _extract(make_pipeline(tmp_path / "trips", make_trips(5), sections), registry)


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("raise ValueError('no access')", UserCodeError, r"ValueError: no access \(features.py, line 3\)"),
        ("raise SystemExit(3)", UserCodeError, "SystemExit"),
        ("return [1, 2]", UserCodeError, "returned list"),
        ("return None", UserCodeError, "returned NoneType"),
        ("return pd.DataFrame({'at': [1, 'x']})", DataRefused, "'at'"),
        ("return pd.DataFrame()", DataRefused, "no rows"),
    ],
)
def test_a_source_function_that_fails_is_named(
    body: str, error: type[Exception], words: str, registry: Registry, tmp_path: Path
) -> None:
    sections = define(extract={"source": "features:load"})
    code = f"import pandas as pd\ndef load():\n    {body}\n"
    pipeline = make_pipeline(tmp_path / "trips", None, sections, features=code)

    with pytest.raises(error, match=words):
        _extract(pipeline, registry)


def test_a_function_has_no_digest_before_it_is_called_and_a_file_that_of_its_content(tmp_path: Path) -> None:
    function = make_pipeline(tmp_path / "one", None, define(extract={"source": "features:load"}))
    file = make_pipeline(tmp_path / "two", make_trips(5))

    assert _look(function) is None
    before = _look(file)
    assert before is not None
    assert _look(file) == before
    make_trips(6).to_parquet(tmp_path / "two" / "data.parquet")
    assert _look(file) != before


def _look(pipeline: Pipeline) -> str | None:
    site = open_site(pipeline, UserCode(pipeline.code), Settings())
    return look_at_sources(pipeline.spec.extract, site, None).digest


def _extract(pipeline: Pipeline, registry: Registry, *, as_of: datetime | None = None) -> Snapshot:
    return extract_data(pipeline, registry.artifacts, code=UserCode(pipeline.code), as_of=as_of)
