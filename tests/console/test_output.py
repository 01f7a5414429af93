"""What commands say: plain and unwrapped where no terminal is, one JSON document on request."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.output import Output

REPOSITORY = Path(__file__).parents[2]


def test_a_long_row_stays_one_line_without_colours(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(["name", "why"], [["a", "x" * 500], ["bb", "y"]], title="Long")

    assert capsys.readouterr().out.splitlines() == ["Long", "name  why", f"a     {'x' * 500}", "bb    y"]


def test_a_table_without_rows_has_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(["name", "why"], [])

    assert capsys.readouterr().out == "name  why\n"


@given(cells=st.lists(st.text(), min_size=1))
def test_other_people_s_text_moves_no_cursor_and_breaks_no_line(cells: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("sys.stdout", _Lines(lines))
        Output().table(["cell"], [[cell] for cell in cells])

    assert len(lines) == 1 + len(cells)
    assert all(line.removesuffix("\n").isprintable() for line in lines)


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> None:
        self._lines.append(text)

    def flush(self) -> None:
        pass


def test_as_json_only_the_result_reaches_the_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True)

    output.say("hello")
    output.table(["a"], [[1]])
    output.warn("careful")
    with output.progress("working", total=1) as advance:
        advance("done")
    output.result({"at": datetime(2024, 1, 1, tzinfo=UTC), "name": "Zoë"})

    out, err = capsys.readouterr()
    assert json.loads(out) == {"at": "2024-01-01T00:00:00+00:00", "name": "Zoë"}
    assert err == "warning: careful\nworking: done\n"


def test_without_json_the_result_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    Output().result({"a": 1})

    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_table_with_borders() -> None:
    script = "from console.output import Output; Output().table(['name'], [['[red]a[/red]']])"
    ours, theirs = pty.openpty()

    subprocess.run([sys.executable, "-c", script], stdout=theirs, check=True, cwd=REPOSITORY)

    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "┏━" in shown
    assert "[red]a[/red]" in shown
