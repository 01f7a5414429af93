"""`everfit train`: what it says, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from registry.models import find_alias, list_versions
from registry.runs import list_runs
from registry.store import Registry
from tests.pipelines import CONTRACT, TREE, define, make_trips, write_pipeline
from tests.prefect_server import TestServer
from tests.trainings import Trainings, training_server, trainings

__all__ = ["training_server", "trainings"]
pytestmark = [pytest.mark.prefect, pytest.mark.slow]

_LINEAR = "sklearn.linear_model.LogisticRegression"
_FOREST = "sklearn.ensemble.RandomForestClassifier"


def test_an_estimator_that_fails_is_named_and_the_others_go_on(
    trainings: Trainings, registry: Registry, tmp_path: Path
) -> None:
    estimators = [{"estimator": "sklearn.naive_bayes.CategoricalNB"}, TREE, {"estimator": _LINEAR}]
    definition = write_pipeline(tmp_path / "trips", make_trips(), define(train={"estimators": estimators}))

    finished = trainings.everfit("train", str(definition), "--json")

    assert finished.code == 0, finished.err
    with registry.database.read() as session:
        (version,) = list_versions(session)
    assert version.manifest["estimator"] in (TREE["estimator"], _LINEAR)


def test_a_column_without_a_value_is_left_out_and_named(
    trainings: Trainings, registry: Registry, tmp_path: Path
) -> None:
    trips = make_trips().assign(distance=np.nan, hint=lambda rows: rows["late"].astype(float))
    contract = {"columns": CONTRACT["columns"] | {"hint": {"type": "number"}}}
    gradient_boosting = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier"}
    definition = write_pipeline(
        tmp_path / "trips", trips, define(train={"estimators": [gradient_boosting]}), contract=contract
    )

    finished = trainings.everfit("train", str(definition), "--json")

    assert finished.code == 0, finished.err
    with registry.database.read() as session:
        (version,) = list_versions(session)
    assert "distance" not in version.manifest["plan"]["numeric"]
    page = Path(finished.document["report"].removeprefix("file://")).read_text()
    assert "distance" in page
    assert "holds no value in the rows to learn from" in page


def test_a_table_of_extremes_is_trained_on(trainings: Trainings, tmp_path: Path) -> None:
    trips = make_trips()
    table = pa.Table.from_pandas(
        trips.assign(
            serial=np.arange(len(trips)) + 2**60,
            ratio=np.where(np.arange(len(trips)) % 7 == 0, np.inf, 1.5),
            huge=1e300,
        ),
        preserve_index=False,
    )
    definition = write_pipeline(tmp_path / "trips", None, contract=None)
    pq.write_table(table, definition.parent / "data.parquet")

    finished = trainings.everfit("train", str(definition), "--json")

    assert finished.code == 0, finished.err
    assert set(finished.document["left_out"]) == {"serial", "huge"}


def test_a_first_model_that_says_nothing_is_registered_and_not_served(
    trainings: Trainings, registry: Registry, tmp_path: Path
) -> None:
    trips = make_trips(noise=0.5)
    forest = {"estimator": _FOREST, "parameters": {"n_estimators": 5, "min_samples_leaf": 1}}
    definition = write_pipeline(tmp_path / "trips", trips, define(train={"estimators": [forest]}))

    finished = trainings.everfit("train", str(definition))

    assert finished.code == 0, finished.err
    assert "version 1 is registered; there is no champion yet: refused: log_loss" in finished.out
    with registry.database.read() as session:
        (version,) = list_versions(session)
        (run,) = list_runs(session)
        assert find_alias(session, registry.environment, "trips") is None
    assert version.verdict["outcome"] == "refused"
    assert run.status == "kept"


def test_the_result_is_told_in_words_and_as_a_document(trainings: Trainings, tmp_path: Path) -> None:
    definition = str(write_pipeline(tmp_path / "trips", make_trips()))

    told = trainings.everfit("train", definition)
    document = trainings.everfit("train", definition, "--json").document

    assert told.code == 0
    assert "trips version 1 is the champion now: first model; its log_loss" in told.out
    assert "report: file://" in told.out
    assert document["model"] == "trips"
    assert document["version"] == 2
    assert document["champion_before"] == 1
    assert document["rows_fitted"] + document["rows_judged"] == document["rows"] == 400
    assert document["quarantined"] == document["left_out"] == {}
    assert set(document["metrics"]) >= {"log_loss", "roc_auc"}


@pytest.mark.parametrize("moment", ["yesterday", "2013-13-01"])
def test_a_moment_that_is_none_is_refused(moment: str, trainings: Trainings, tmp_path: Path) -> None:
    definition = str(write_pipeline(tmp_path / "trips", make_trips()))

    finished = trainings.everfit("train", definition, "--as-of", moment)

    assert finished.code == 2
    assert moment in finished.err


def test_a_moment_needs_a_time_column(trainings: Trainings, tmp_path: Path) -> None:
    definition = write_pipeline(tmp_path / "trips", make_trips(), define(time=None))

    finished = trainings.everfit("train", str(definition), "--as-of", "2013-01-10")

    assert finished.code == 2
    assert "name that column under key 'time'" in finished.err


def test_a_killed_command_is_resumed_by_the_same_command(
    prefect_server: TestServer, registry: Registry, trainings: Trainings, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from sklearn.tree import DecisionTreeClassifier\n\n\n"
        "class SlowTree(DecisionTreeClassifier):\n"
        "    def fit(self, *arguments, **options):\n"
        "        marker = Path(__file__).with_name('fitting')\n"
        "        if not marker.exists():\n"
        "            marker.touch()\n"
        "            time.sleep(120)\n"
        "        return super().fit(*arguments, **options)\n"
    )
    estimator = {"estimator": "slow.SlowTree", "parameters": {"max_depth": 2}}
    definition = write_pipeline(tmp_path / "trips", make_trips(), define(train={"estimators": [estimator]}))
    environment = os.environ | {
        "EVERFIT_HOME": str(trainings.home),
        "EVERFIT_TRUSTED_TYPES": '["slow.SlowTree"]',
        "PYTHONPATH": str(tmp_path),
    }
    entry = "from console.cli import main; main()"
    command = [sys.executable, "-c", entry, "train", str(definition)]

    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(tmp_path / "fitting", first)
        os.kill(first.pid, signal.SIGKILL)
    finally:
        first.kill()
        first.wait()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    assert second.returncode == 0, second.stderr
    assert second.stderr.count("reused from run") == 3
    with registry.database.read() as session:
        (run,) = list_runs(session)
        (version,) = list_versions(session)
    assert (run.status, version.run_id) == ("promoted", run.id)


def _wait_for(marker: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not marker.exists():
        assert process.poll() is None, "the command ended before it was killed"
        assert time.monotonic() < deadline, "the command did not come to the step where it is killed"
        time.sleep(0.02)
