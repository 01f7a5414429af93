"""Packaging and promotion: what serves answers as training did, and a run decides once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from base.rows.reading import load_rows
from base.settings import Settings
from features.independence import LooksAtOtherRows
from features.plan import frame_from_table, rows_from_frame
from registry.ledger import first_broken_link, list_decisions
from registry.models import AliasMoved, alias_history, find_alias, list_versions, roll_back
from registry.pipelines import register_pipeline
from registry.runs import begin_run, this_process
from registry.store import Registry, open_registry
from serving.loading.stored_rows import compare_reference
from serving.scoring.loaded import load_scorer
from tasks.frames import load_table
from tasks.prepared_rows import load_prepared
from tasks.promotion import promote_model
from tests.pipelines import Trained, define, make_pipeline, make_trips, train

_N_ROWS = 140
_COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "number": st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([0.1, 1e300, np.inf, 1e-40])),
    "integer": st.one_of(st.none(), st.integers(-(2**53), 2**53)),
    "text": st.one_of(st.none(), st.sampled_from(["", "a", "é", "9", "9.0", "nan", "None", "a\nb", "\U0001f600"])),
    "boolean": st.one_of(st.none(), st.booleans()),
    "time": st.one_of(
        st.none(), st.datetimes(pd.Timestamp("1700-01-01").to_pydatetime(), pd.Timestamp("2200-01-01").to_pydatetime())
    ),
}
_DTYPES = {"number": "float64", "integer": "Int64", "text": "object", "boolean": "boolean", "time": "datetime64[us]"}
_ESTIMATORS = {
    "classification": [
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.linear_model.LogisticRegression",
        "sklearn.ensemble.RandomForestClassifier",
    ],
    "regression": [
        "sklearn.ensemble.HistGradientBoostingRegressor",
        "sklearn.linear_model.Ridge",
        "sklearn.ensemble.RandomForestRegressor",
    ],
}
_CODE = """
def add_parts(frame):
    added = {}
    for name in list(frame.columns):
        if name.startswith("time"):
            added[name + "_hour"] = frame[name].dt.hour
            added[name + "_age"] = (frame["at"] - frame[name]).dt.total_seconds()
        if name.startswith("number"):
            added[name + "_is_known"] = frame[name].notna()
        if name.startswith("text"):
            added[name + "_length"] = frame[name].str.len()
    return frame.assign(**added)
"""


@st.composite
def _tables(draw: st.DrawFn) -> tuple[pd.DataFrame, str]:
    """Draw a table of a few columns of any type, short lists of values repeated, and a task for its target."""
    kinds = draw(st.lists(st.sampled_from(sorted(_COLUMNS)), min_size=1, max_size=5))
    numbers = np.random.default_rng(draw(st.integers(0, 100)))
    columns: dict[str, Any] = {"at": pd.date_range("2013-01-01", periods=_N_ROWS, freq="h", tz="UTC")}
    for order, kind in enumerate(kinds):
        values = draw(st.lists(_COLUMNS[kind], min_size=1, max_size=12))
        chosen = numbers.integers(0, len(values), _N_ROWS)
        columns[f"{kind}_{order}"] = pd.Series([values[row] for row in chosen], dtype=_DTYPES[kind])
    columns["steady"] = numbers.normal(size=_N_ROWS)
    task = draw(st.sampled_from(["two classes", "three classes", "regression"]))
    noisy = columns["steady"] + numbers.normal(size=_N_ROWS)
    n_classes = {"two classes": 2, "three classes": 3}.get(task)
    columns["goal"] = (
        noisy if n_classes is None else pd.qcut(noisy, n_classes, labels=list("xyz"[:n_classes])).astype(str)
    )
    return pd.DataFrame(columns), task


@pytest.mark.slow
@given(drawn=_tables(), choice=st.integers(0, 2))
@hypothesis_settings(max_examples=15)
def test_what_serves_answers_as_training_did(
    drawn: tuple[pd.DataFrame, str], choice: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows, kind = drawn
    task = "regression" if kind == "regression" else "classification"
    folder = tmp_path_factory.mktemp("equality")
    settings = Settings(home=folder / "home")
    small = {"max_iter": 5} if choice == 0 else {"n_estimators": 5} if choice == 2 else {}
    sections = define(
        task=task,
        target="goal",
        prepare={"features": ["features:add_parts"]},
        train={"estimators": [{"estimator": _ESTIMATORS[task][choice], "parameters": small}]},
    )

    kinds = {"at": "time", "steady": "number", "goal": "number" if task == "regression" else "text"}
    contract = {"columns": {name: {"type": kinds.get(name, name.split("_")[0])} for name in rows.columns}}

    trained = train(make_pipeline(folder / "trips", rows, sections, contract=contract, features=_CODE), settings)

    registry = open_registry(settings)
    data, manifest = trained.judged.data, trained.manifest
    scorer = load_scorer(registry.artifacts, manifest)
    raw = load_rows(registry.artifacts, trained.judged.validated.good)
    sent = rows_from_frame(frame_from_table(raw, data.inputs), data.inputs)
    learnt = load_prepared(data, registry.artifacts)[list(data.features)]
    assert scorer.find_faults(sent) == []
    np.testing.assert_array_equal(scorer.score_rows(sent), scorer.predict_features(learnt))
    assert scorer.is_row_wise
    registry.database.close()


def test_a_feature_that_looks_at_other_rows_is_refused(settings: Settings, tmp_path: Path) -> None:
    code = "def add_hour(frame):\n    return frame.assign(hour=frame['distance'] - frame['distance'].mean())\n"

    with pytest.raises(LooksAtOtherRows, match="let each row stand for itself"):
        train(make_pipeline(tmp_path / "trips", make_trips(), features=code), settings)


def test_the_stored_rows_are_answered_as_in_training_missing_categories_included(
    settings: Settings, tmp_path: Path
) -> None:
    encoded = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 5}}
    trips = make_trips()
    trips.loc[::3, "company"] = None
    trips.loc[::3, "late"] = True

    trained = train(make_pipeline(tmp_path / "trips", trips, define(train={"estimators": [encoded]})), settings)

    artifacts = open_registry(settings).artifacts
    found = compare_reference(load_scorer(artifacts, trained.manifest), artifacts)
    assert (found.agrees, found.max_difference) == (True, 0.0)


def test_the_signature_takes_the_time_along(settings: Settings, tmp_path: Path) -> None:
    trained = train(make_pipeline(tmp_path / "trips", make_trips(), define(prepare={})), settings)

    assert "at" not in trained.manifest.plan.inputs
    assert trained.manifest.contract.columns["at"].nullable


def test_the_reference_holds_features_target_and_prediction(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    trained = train(make_pipeline(tmp_path / "trips", make_trips()), settings)

    reference = load_table(registry.artifacts, trained.manifest.reference).to_pandas()

    assert list(reference.columns) == [*trained.judged.data.features, "__target__", "__prediction__"]
    assert len(reference) == trained.judged.data.test.n_rows
    assert reference["__prediction__"].between(0, 1).all()


def test_a_champion_that_changed_meanwhile_stays(settings: Settings, registry: Registry, tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "trips", make_trips())
    first = train(pipeline, settings)
    stale = _as_if_better(first, revision=0)
    run_id, digest = _begin(registry, pipeline)

    with pytest.raises(AliasMoved, match="expected revision 0, found 1"):
        promote_model(stale.manifest, stale.judged, registry, run_id=run_id, pipeline_version=digest, actor="test")

    with registry.database.read() as session:
        assert len(list_versions(session)) == 1
        assert len(alias_history(session, registry.environment, "trips")) == 1
        assert [decision.kind for decision in list_decisions(session)] == ["promotion", "gate", "training"]
        assert first_broken_link(session) is None


@pytest.mark.parametrize("was_promoted", [True, False])
def test_a_run_decides_once_whatever_happened_since(
    was_promoted: bool, settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    pipeline = make_pipeline(tmp_path / "trips", make_trips())
    first = train(pipeline, settings)
    again = _as_if_better(first, revision=1, promote=was_promoted)
    run_id, digest = _begin(registry, pipeline)
    told: dict[str, Any] = {"run_id": run_id, "pipeline_version": digest, "actor": "test"}
    decided = promote_model(again.manifest, again.judged, registry, **told)
    with registry.database.write() as session:
        if was_promoted:
            roll_back(session, registry.environment, "trips", actor="test", reason="it was not good")
        before = find_alias(session, registry.environment, "trips")
        n_decisions = len(list_decisions(session))

    otherwise = _as_if_better(first, revision=99, promote=not was_promoted)
    repeated = promote_model(otherwise.manifest, otherwise.judged, registry, **told)

    assert (decided.promoted, repeated.promoted) == (was_promoted, was_promoted)
    assert decided.version == repeated.version == 2
    with registry.database.read() as session:
        assert before is not None
        after = find_alias(session, registry.environment, "trips")
        assert after is not None
        assert (after.number, after.revision) == (1, before.revision)
        assert len(list_decisions(session)) == n_decisions


def _begin(registry: Registry, pipeline: Any) -> tuple[str, str]:
    version = register_pipeline(registry, pipeline)
    with registry.database.write() as session:
        run, _ = begin_run(
            session, version, parameters={}, trigger="person", owner=this_process(), lease=timedelta(minutes=1)
        )
    return run.id, version.digest


def _as_if_better(trained: Trained, *, revision: int, promote: bool = True) -> Trained:
    change = {"champion_revision": revision, "promote": promote, "outcome": "better" if promote else "worse"}
    verdict = trained.judged.verdict.model_copy(update=change)
    judged = trained.judged.model_copy(update={"verdict": verdict})
    return Trained(judged, trained.promotion, trained.manifest, trained.run_id)
