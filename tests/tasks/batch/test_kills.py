"""Batches that are really killed: the output is the same to the byte, and the log has each prediction once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.settings import Settings
from registry.store import Registry
from serving.log.traffic import read_traffic
from tasks.batch.request import BatchRequest
from tasks.batch.run import predict_batch
from tests.serving.models import make_rows, promote, register_model

pytestmark = pytest.mark.slow

_N_ROWS, _PART_ROWS = 6000, 100
_N_PARTS = _N_ROWS // _PART_ROWS
_REQUEST = BatchRequest("trips", "rows.parquet", "out.parquet", part_rows=_PART_ROWS)
_PROGRAM = """
import sys
from pathlib import Path
from base.settings import Settings
from registry.store import open_registry
from tasks.batch.request import BatchRequest
from tasks.batch.run import predict_batch

settings = Settings(home=Path(sys.argv[1]), segment_rows=1500)
request = BatchRequest("trips", "rows.parquet", "out.parquet", part_rows=int(sys.argv[3]))
predict_batch(request, open_registry(settings), settings, folder=Path(sys.argv[2]))
"""
_PATIENCE_SECONDS = 120


def _run_until(folder: Path, settings: Settings, is_time: Callable[[], bool]) -> bool:
    """Run the batch in a process and kill it when it is time; False if it came to its end before."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(settings.home), str(folder), str(_PART_ROWS)],
        stdin=subprocess.DEVNULL,
        cwd=Path(__file__).parents[3],
    )
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None:
        if is_time():
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        assert time.monotonic() < give_up
        time.sleep(0.001)
    assert process.returncode == 0
    return False


def test_a_batch_that_is_killed_over_and_over_gives_what_an_undisturbed_one_gives(
    tmp_path: Path, registry: Registry, settings: Settings
) -> None:
    promote(registry, register_model(registry))
    rows = make_rows(_N_ROWS)
    names = list(dict.fromkeys(name for row in rows for name in row))
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), tmp_path / "rows.parquet")
    work = tmp_path / "out.parquet.parts"

    def finished(count: int) -> Callable[[], bool]:
        return (work / f"part-{count:05}.json").exists

    def unlogged(count: int) -> Callable[[], bool]:
        return lambda: (work / "logging").exists() and len(list(work.glob("*.unlogged.jsonl"))) <= count

    assert _run_until(tmp_path, settings, finished(2))
    first = work / "rows" / "part-00000.parquet"
    written = first.stat()
    other = tmp_path / "undisturbed.parquet.parts"
    (other / "rows").mkdir(parents=True)
    shutil.copy(work / "job.json", other)
    moments = [finished(7), finished(30), unlogged(_N_PARTS), unlogged(_N_PARTS - 3), unlogged(_N_PARTS // 2)]
    kills = sum(_run_until(tmp_path, settings, moment) for moment in moments)
    untouched = first.exists() and (first.stat().st_ino, first.stat().st_mtime_ns) == (
        written.st_ino,
        written.st_mtime_ns,
    )
    if not (tmp_path / "out.parquet").exists():
        assert untouched
        _run_until(tmp_path, settings, lambda: False)

    traffic = read_traffic(settings.home, "trips")
    predict_batch(replace(_REQUEST, output="undisturbed.parquet"), registry, settings, folder=tmp_path)
    output = pq.read_table(tmp_path / "out.parquet")
    assert kills >= 3
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "undisturbed.parquet").read_bytes()
    assert output.num_rows == _N_ROWS
    assert sorted(traffic["id"]) == sorted(output["prediction_id"].to_pylist())
    assert not work.exists()
