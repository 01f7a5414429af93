"""`everfit train` on bad input: what it says, what it ends with, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from registry.ledger import list_decisions
from registry.models import find_alias, list_models
from registry.runs import list_runs
from registry.store import Registry
from tests.pipelines import CONTRACT, define, make_trips, write_pipeline
from tests.trainings import Trainings, training_server, trainings

__all__ = ["training_server", "trainings"]
pytestmark = [pytest.mark.prefect, pytest.mark.slow]

_LINEAR = "sklearn.linear_model.LogisticRegression"


@dataclass(frozen=True)
class Bad:
    """A way to break a pipeline: how, what the command then says and ends with, and how its run is recorded."""

    name: str
    write: Callable[[Path], Path]
    code: int
    words: tuple[str, ...]
    run: str | None = None

    def __str__(self) -> str:
        return self.name


def _trips(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], Path]:
    return lambda folder: write_pipeline(folder, change(make_trips(300)))


def _defined(**sections: Any) -> Callable[[Path], Path]:
    return lambda folder: write_pipeline(folder, make_trips(300), define(**sections))


def _estimated(estimator: str, parameters: dict[str, Any] | None = None, **sections: Any) -> Callable[[Path], Path]:
    return _defined(train={"estimators": [{"estimator": estimator, "parameters": parameters or {}}]}, **sections)


def _featured(body: str) -> Callable[[Path], Path]:
    return lambda folder: write_pipeline(folder, make_trips(300), features=f"def add_hour(frame):\n    {body}\n")


def _misspelt(folder: Path) -> Path:
    definition = write_pipeline(folder, make_trips(300))
    definition.write_text(definition.read_text().replace("estimators:", "estimater:"))
    return definition


def _unreadable(folder: Path) -> Path:
    definition = write_pipeline(folder, None)
    (folder / "data.parquet").write_bytes(b"PAR1 and nothing else")
    return definition


def _latin(folder: Path) -> Path:
    rows = "".join(f"2013-01-01T{hour % 24:02}:00:00Z,{hour},caf\xe9,{hour % 2 == 0}\n" for hour in range(300))
    definition = write_pipeline(folder, None, define(extract={"source": "data.csv"}), contract=None)
    (folder / "data.csv").write_bytes(f"at,distance,company,late\n{rows}".encode("latin-1"))
    return definition


def _duplicated(folder: Path) -> Path:
    trips = make_trips(300)
    trips.loc[7, "at"] = trips.loc[8, "at"]
    return write_pipeline(folder, trips, contract=CONTRACT | {"unique": ["at"]})


BAD = [
    Bad(
        "an unknown key", _misspelt, 2, ("pipeline.yaml:", "'train.estimater' is unknown", "did you mean 'estimators'")
    ),
    Bad(
        "a missing file",
        lambda folder: write_pipeline(folder, None),
        2,
        ("'data.parquet'", "there is no such file"),
        "failed",
    ),
    Bad("an unreadable Parquet file", _unreadable, 3, ("data.parquet", "Parquet"), "refused"),
    Bad("an empty table", _trips(lambda trips: trips.head(0)), 3, ("no rows", "at least one row"), "refused"),
    Bad(
        "a target that is null everywhere",
        _trips(lambda trips: trips.assign(late=pd.array([None] * 300, dtype="boolean"))),
        3,
        ("'late'", "null in every row"),
        "refused",
    ),
    Bad("one class", _trips(lambda trips: trips.assign(late=True)), 3, ("'late'", "true in every row"), "refused"),
    Bad(
        "a class that occurs once",
        _trips(lambda trips: trips.assign(late=[True] * 100 + [False] + [True] * 199)),
        3,
        ("'late'", "one class of two rows or more"),
        "refused",
    ),
    Bad(
        "a column that disappeared",
        _trips(lambda trips: trips.rename(columns={"distance": "distances"})),
        3,
        ("'distance'", "no such column", "did you mean 'distances'"),
        "refused",
    ),
    Bad(
        "a column of another type",
        _trips(lambda trips: trips.assign(distance=trips["distance"].astype(str) + " km")),
        3,
        ("'distance'", " km')", "expected number"),
        "refused",
    ),
    Bad(
        "an integer with a fraction",
        _trips(lambda trips: trips.assign(passengers=trips["passengers"].astype(float) + 0.5)),
        3,
        ("'passengers'", ".5)", "expected integer"),
        "refused",
    ),
    Bad("duplicate time stamps", _duplicated, 3, ("'at'", "2013-01-01", "unique", "(2 rows)"), "refused"),
    Bad(
        "a time column that is gone",
        _trips(lambda trips: trips.drop(columns="at")),
        3,
        ("'at'", "key 'time' names"),
        "refused",
    ),
    Bad(
        "a declared column without a value",
        lambda folder: write_pipeline(
            folder, make_trips(300).assign(distance=np.nan), define(prepare={"numeric": ["distance"]})
        ),
        3,
        ("'distance'", "holds no value", "prepare names it"),
        "refused",
    ),
    Bad(
        "a declared quantity that is text",
        _defined(prepare={"numeric": ["company"]}),
        3,
        ("'company'", "no numbers, such as", "prepare.numeric"),
        "refused",
    ),
    Bad("two rows", _trips(lambda trips: trips.head(2)), 3, ("2 good rows", "at least 100"), "refused"),
    Bad(
        "two rows that are let through",
        lambda folder: write_pipeline(
            folder,
            make_trips(2).assign(late=[True, False]),
            define(validate_data={"contract": "contract.yaml", "min_rows": 1}),
        ),
        3,
        ("in the train part", "at least 20"),
        "refused",
    ),
    Bad(
        "too many rows that break the contract",
        _trips(lambda trips: trips.assign(distance=trips["distance"] - 10)),
        3,
        ("distance is below 0", "at most 5.0%"),
        "refused",
    ),
    Bad("a CSV that is not UTF-8", _latin, 3, ("data.csv", "UTF-8"), "refused"),
    Bad(
        "a feature function that raises",
        _featured("return frame['hour']"),
        4,
        ("features:add_hour", "KeyError: 'hour' (features.py, line 2)", "mend it"),
        "failed",
    ),
    Bad(
        "a feature function that returns no table",
        _featured("return frame['distance'] * 2"),
        4,
        ("features:add_hour", "returned Series", "DataFrame"),
        "failed",
    ),
    Bad(
        "a feature function that drops rows",
        _featured("return frame.dropna()"),
        4,
        ("features:add_hour", "rows for 300", "keeps every row"),
        "failed",
    ),
    Bad(
        "a feature function that looks at its neighbours",
        _featured("return frame.assign(hour=frame['distance'].rank())"),
        2,
        ("looks at other rows: column 'hour' of row", "let each row stand for itself", "prepare.fitted"),
        "failed",
    ),
    Bad(
        "an estimator that does not exist",
        _estimated("sklearn.linear_model.LogisticRegresion"),
        2,
        ("LogisticRegresion", "cannot be imported", "did you mean 'LogisticRegression'"),
        "failed",
    ),
    Bad(
        "a parameter that does not exist",
        _estimated(_LINEAR, {"depth": 3}),
        2,
        (_LINEAR, "'depth'", "its parameters are", "max_iter"),
        "failed",
    ),
    Bad(
        "a parameter of the wrong type",
        _estimated(_LINEAR, {"max_iter": "many"}),
        2,
        (_LINEAR, "'max_iter'", "'many'"),
        "failed",
    ),
    Bad(
        "an estimator without probabilities",
        _estimated("sklearn.svm.LinearSVC"),
        2,
        ("LinearSVC", "no probabilities"),
        "failed",
    ),
    Bad(
        "a regressor's task for a classifier",
        _estimated(_LINEAR, task="regression", target="distance"),
        2,
        (_LINEAR, "is a classifier, and the task is regression"),
        "failed",
    ),
    Bad(
        "an estimator that raises",
        _estimated("sklearn.naive_bayes.CategoricalNB"),
        4,
        ("CategoricalNB: ValueError", "the champion stays"),
        "failed",
    ),
    Bad(
        "a target expression with an unknown column",
        _defined(target={"name": "far", "expression": "distanze > 10"}),
        2,
        ("target.expression", "'distanze'", "did you mean 'distance'"),
        "failed",
    ),
    Bad(
        "regression on text",
        _defined(task="regression", target="company"),
        3,
        ("'company'", "type text", "since the task is regression"),
        "refused",
    ),
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_input_is_named_and_leaves_nothing_half_done(
    bad: Bad, trainings: Trainings, registry: Registry, tmp_path: Path
) -> None:
    definition = bad.write(tmp_path / "trips")

    finished = trainings.everfit("train", str(definition), "--json")

    assert finished.code == bad.code, finished.err
    assert finished.document["exit_code"] == bad.code
    for word in bad.words:
        assert word in finished.document["error"]
    assert "Traceback" not in finished.err
    with registry.database.read() as session:
        assert list_models(session) == []
        assert find_alias(session, registry.environment, "trips") is None
        runs, decisions = list_runs(session), list_decisions(session)
    assert [run.status for run in runs] == ([] if bad.run is None else [bad.run])
    assert all(bad.words[0] in run.reason and run.under_way is None for run in runs)
    granted = [] if bad.run is None else [("training", "granted"), ("trigger", "start")]
    assert [(decision.kind, decision.outcome) for decision in decisions] == (
        [("data", "refused"), *granted] if bad.run == "refused" else granted
    )
    assert not list((trainings.home / "artifacts").rglob(".writing-*"))
