"""Batch prediction: the service's answers for files of any size, each row once, whatever happens on the way."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest

from base.errors import ArgumentError, DataRefused
from base.settings import Settings
from registry.store import Registry
from serving.log.accounts import AccountTotals
from serving.log.status import read_status
from serving.log.traffic import read_traffic
from tasks.batch.request import BatchRequest, BatchResult, Progress
from tasks.batch.run import predict_batch
from tests.serving.models import load_version, make_rows, promote, register_model

_N_ROWS = 60


class _Cut(BaseException):
    """What stops a run between two parts, as Ctrl-C does."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with rows to predict, and columns that are no inputs."""
    _write(tmp_path / "rows.parquet", make_rows(_N_ROWS))
    return tmp_path


@pytest.fixture
def trips(registry: Registry) -> Any:
    """Version 1 of ``trips``, the champion."""
    version = register_model(registry)
    promote(registry, version)
    return version


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    numbered = [{"number": at, **row} for at, row in enumerate(rows)]
    names = list(dict.fromkeys(name for row in numbered for name in row))
    table = pa.table({name: [row.get(name) for row in numbered] for name in names})
    if file.suffix == ".parquet":
        pq.write_table(table, file, row_group_size=25)
    elif file.suffix == ".csv":
        arrow_csv.write_csv(table, file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in numbered))


def _read(file: Path) -> pa.Table:
    if file.is_dir():
        return pa.concat_tables([_read(part) for part in sorted(file.iterdir())])
    if file.suffix == ".parquet":
        return pq.read_table(file)
    if file.suffix == ".csv":
        return arrow_csv.read_csv(file)
    return pa.Table.from_pylist([json.loads(line) for line in file.read_text().splitlines()])


_REQUEST = BatchRequest("trips", "rows.parquet", "out.parquet", part_rows=25)


def _run(folder: Path, registry: Registry, settings: Settings, request: BatchRequest = _REQUEST) -> BatchResult:
    return predict_batch(request, registry, settings, folder=folder)


def _totals(settings: Settings, registry: Registry) -> AccountTotals:
    (status,) = read_status(settings.home, registry, ["trips"])
    assert status.gaps == ()
    assert status.n_found == status.totals.stored
    return status.totals


@pytest.mark.parametrize("source", ["rows.parquet", "rows.csv", "rows.jsonl"])
@pytest.mark.parametrize("target", ["out.parquet", "out.csv", "out.jsonl", "out/"])
def test_every_row_gets_the_answer_of_the_version_in_every_format(
    folder: Path, registry: Registry, settings: Settings, trips: Any, source: str, target: str
) -> None:
    rows = make_rows(_N_ROWS)
    _write(folder / source, rows)

    result = _run(folder, registry, settings, replace(_REQUEST, input=source, output=target))

    table = _read(folder / target)
    expected = load_version(registry, trips).predict_rows(rows)
    assert (result.n_rows, result.n_predicted, result.n_parts) == (_N_ROWS, _N_ROWS, 3)
    assert table["number"].to_pylist() == list(range(_N_ROWS))
    assert table["prediction"].to_pylist() == [one.prediction for one in expected]
    np.testing.assert_allclose(table["probability_far"], [(one.probabilities or {})["far"] for one in expected])
    assert set(table["version"].to_pylist()) == {1}
    assert len(set(table["prediction_id"].to_pylist())) == _N_ROWS


def test_predictions_are_logged_as_traffic_of_their_own_kind_and_accounted(
    folder: Path, registry: Registry, settings: Settings, trips: Any
) -> None:
    _run(folder, registry, settings)

    traffic = read_traffic(settings.home, "trips")
    table = _read(folder / "out.parquet")
    assert set(traffic["kind"]) == {"batch"}
    answers = dict(zip(table["prediction_id"].to_pylist(), table["probability_far"].to_pylist(), strict=True))
    assert dict(zip(traffic["id"], traffic["prediction"], strict=True)) == pytest.approx(answers)
    assert _totals(settings, registry) == AccountTotals(accepted=_N_ROWS, stored=_N_ROWS)


def test_what_is_not_to_be_logged_leaves_no_trace_in_the_log(
    folder: Path, registry: Registry, settings: Settings, trips: Any
) -> None:
    _run(folder, registry, settings, replace(_REQUEST, is_logged=False))

    assert _read(folder / "out.parquet").num_rows == _N_ROWS
    assert not (settings.home / "traffic").exists()


def test_rows_that_break_the_signature_are_set_aside_with_their_reasons(
    folder: Path, registry: Registry, settings: Settings, trips: Any
) -> None:
    rows = make_rows(_N_ROWS)
    rows[7] = rows[7] | {"distance": -1.0}
    rows[40] = rows[40] | {"passengers": 9, "is_shared": True}
    _write(folder / "rows.parquet", rows)

    result = _run(folder, registry, settings)

    aside = [json.loads(line) for line in (folder / "out.parquet.rejected.jsonl").read_text().splitlines()]
    assert [one["row"] for one in aside] == [7, 40]
    assert aside[0]["reasons"] == ["column 'distance': found -1.0, expected at least 0"]
    assert "seats" in aside[1]["reasons"][0]
    assert aside[1]["data"]["number"] == 40
    assert (result.n_predicted, result.n_rejected) == (_N_ROWS - 2, 2)
    assert _read(folder / "out.parquet")["number"].to_pylist() == [at for at in range(_N_ROWS) if at not in (7, 40)]
    totals = _totals(settings, registry)
    assert (totals.accepted, totals.stored, totals.rejected) == (_N_ROWS, _N_ROWS - 2, {"invalid": 2})


def test_too_many_bad_rows_refuse_the_whole_and_nothing_is_logged(
    folder: Path, registry: Registry, settings: Settings, trips: Any
) -> None:
    _write(
        folder / "rows.csv", [row | {"distance": -1.0} if at % 5 == 0 else row for at, row in enumerate(make_rows(50))]
    )

    with pytest.raises(DataRefused, match="10 of 50 rows that break the signature, such as row 0") as refused:
        _run(folder, registry, settings, replace(_REQUEST, input="rows.csv"))

    assert refused.value.exit_code == 3
    assert not (folder / "out.parquet").exists()
    assert not (folder / "out.parquet.parts").exists()
    assert not (settings.home / "traffic").exists()


def test_a_row_on_which_the_users_code_fails_is_set_aside_alone(
    folder: Path, registry: Registry, settings: Settings
) -> None:
    promote(registry, register_model(registry, function="features:refuse_sharing"))
    rows = [row | {"is_shared": at == 31} for at, row in enumerate(make_rows(_N_ROWS))]
    _write(folder / "rows.parquet", rows)

    result = _run(folder, registry, settings)

    (aside,) = [json.loads(line) for line in (folder / "out.parquet.rejected.jsonl").read_text().splitlines()]
    assert aside["row"] == 31
    assert "nobody shares" in aside["reasons"][0]
    assert result.n_predicted == _N_ROWS - 1


def test_a_run_that_was_cut_goes_on_with_its_version_although_the_champion_has_moved(
    folder: Path, registry: Registry, settings: Settings, trips: Any
) -> None:
    seen: list[Progress] = []

    def cut(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == 2:
            raise _Cut

    with pytest.raises(_Cut):
        predict_batch(_REQUEST, registry, settings, folder=folder, tell=cut)
    finished = folder / "out.parquet.parts" / "rows" / "part-00001.parquet"
    before = finished.stat()
    shutil.copytree(folder / "out.parquet.parts", folder / "copy.parquet.parts")
    promote(registry, register_model(registry, inverted=True))

    result = _run(folder, registry, settings)

    assert (result.version, result.n_kept) == (1, 50)
    assert [progress.n_done for progress in seen] == [25, 50]
    assert set(_read(folder / "out.parquet")["version"].to_pylist()) == {1}
    # One part is done over again in the copy, and gives what it gave.
    for name in ("part-00001.json", "part-00001.unlogged.jsonl"):
        (folder / "copy.parquet.parts" / name).unlink()
    again = _run(folder, registry, settings, replace(_REQUEST, output="copy.parquet", is_logged=True))
    assert (again.n_kept, before.st_size) == (25, before.st_size)
    assert (folder / "copy.parquet").read_bytes() == (folder / "out.parquet").read_bytes()


def test_the_same_batch_twice_predicts_nothing_the_second_time_unless_told_to(
    folder: Path, registry: Registry, settings: Settings, trips: Any
) -> None:
    first = _run(folder, registry, settings)
    second = _run(folder, registry, settings)
    third = _run(folder, registry, settings, replace(_REQUEST, again=True))

    assert (first.is_new, second.is_new, third.is_new) == (True, False, True)
    assert _totals(settings, registry).stored == 2 * _N_ROWS


def test_another_batch_into_the_same_output_waits_for_the_first_to_be_finished_or_thrown_away(
    folder: Path, registry: Registry, settings: Settings, trips: Any
) -> None:
    def cut(_: Progress) -> None:
        raise _Cut

    with pytest.raises(_Cut):
        predict_batch(_REQUEST, registry, settings, folder=folder, tell=cut)

    with pytest.raises(ArgumentError, match=r"another batch that is not finished \(part_rows 30 instead of 25"):
        _run(folder, registry, settings, replace(_REQUEST, part_rows=30))
    result = _run(folder, registry, settings, replace(_REQUEST, part_rows=30, again=True))
    assert (result.n_kept, result.n_parts) == (0, 2)


def test_parts_that_stand_alone_each_begin_with_their_columns(
    folder: Path, registry: Registry, settings: Settings, trips: Any
) -> None:
    result = _run(folder, registry, settings, replace(_REQUEST, columns=("number",), output="out/"))

    parts = sorted((folder / "out").iterdir())
    assert [part.name for part in parts] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    names = ["number", "prediction", "probability_near", "probability_far", "prediction_id", "version"]
    assert [pq.read_schema(part).names for part in parts] == [names] * 3
    assert result.output == str(folder / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": ("numbr",)}, "--columns names 'numbr', which the input does not have; did you mean 'number'"),
        ({"output": "out.xlsx"}, "unknown format '.xlsx'"),
        ({"output": "nowhere/out.parquet"}, "there is no folder"),
        ({"output": "s3://bucket/out.parquet"}, "is a URL"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_predicted(
    folder: Path, registry: Registry, settings: Settings, trips: Any, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        _run(folder, registry, settings, replace(_REQUEST, **change))

    assert not list(folder.glob("out*"))


def test_an_input_without_a_column_that_each_row_must_have_is_refused_at_once(
    folder: Path, registry: Registry, settings: Settings, trips: Any
) -> None:
    _write(folder / "rows.parquet", [{"passengers": 1}])

    with pytest.raises(DataRefused, match="column 'distance': found no such column"):
        _run(folder, registry, settings)

    assert not (folder / "out.parquet.parts").exists()
