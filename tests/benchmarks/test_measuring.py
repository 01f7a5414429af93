"""What a benchmark measures is the whole process tree, and only of commands that did their work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.figures import Figure, print_table, write_results
from benchmarks.measuring import clean_environment, measure_peak, median_ratio, python, run_timed

_HOLD = "import time; held = bytearray(b'x' * (60 << 20)); time.sleep(0.3)"


def test_the_peak_counts_the_memory_of_children() -> None:
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_HOLD!r}])"

    alone, with_child = (measure_peak(python("-c", code), clean_environment()) for code in ("pass", parent))

    assert with_child - alone > 60


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(RuntimeError, match="ended with code 3"):
        run_timed(python("-c", "raise SystemExit(3)"), clean_environment())
    with pytest.raises(RuntimeError, match="ended with code 3"):
        measure_peak(python("-c", "raise SystemExit(3)"), clean_environment())


def test_settings_of_this_process_do_not_reach_a_measured_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERFIT_HOME", "/elsewhere")
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere")

    environment = clean_environment(EVERFIT_FIT_THREADS="2")

    assert {name for name in environment if name.startswith(("EVERFIT_", "PREFECT_"))} == {"EVERFIT_FIT_THREADS"}
    assert environment["PATH"] == os.environ["PATH"]


def test_a_busy_minute_slows_both_sides_of_a_ratio() -> None:
    assert median_ratio([2.0, 40.0, 3.0], [1.0, 20.0, 1.0]) == 2.0


def test_results_are_a_list_of_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    found = [Figure("wall_ratio", 1.23456, "x", "one plain script; target 1.3")]

    file = write_results("loop", found)
    print_table(found)

    assert file == tmp_path / "loop.json"
    assert json.loads(file.read_text()) == [
        {"name": "wall_ratio", "value": 1.2346, "unit": "x", "against": "one plain script; target 1.3"}
    ]
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["wall_ratio", "1.23", "x"]
