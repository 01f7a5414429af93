"""All that a command says: tables and progress on a terminal, plain lines elsewhere, one JSON document on request."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

INTERRUPTED = 130
"""What a shell reports of a program that Ctrl-C ended."""

_UNEXPECTED = 4
_PIPE_CLOSED = 141


class Output:
    """Where a command speaks; with *as_json* only :meth:`result` reaches the standard output.

    Examples
    --------
    >>> output = Output()
    >>> output.table(["model", "version"], [["bike", 3], ["hotel", 12]])
    model  version
    bike   3
    hotel  12
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def say(self, text: str = "") -> None:
        """Print a line for people."""
        if not self.as_json:
            _write(sys.stdout, text)

    def warn(self, text: str) -> None:
        """Print a line that must not be missed, to the standard error, whatever the form of the output."""
        _write(sys.stderr, f"warning: {text}", style="yellow")

    def result(self, document: Any) -> None:
        """Print the command's result as one JSON document, where that was asked for."""
        if self.as_json:
            _write(sys.stdout, json.dumps(document, default=_jsonable, ensure_ascii=False, allow_nan=False))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
        """Print rows under their columns' names; where no terminal is, a row is one line however long it gets."""
        if self.as_json:
            return
        cells = [[_printable(str(cell)) for cell in row] for row in rows]
        if sys.stdout.isatty():
            _print_rich_table(columns, cells, title)
            return
        if title:
            self.say(title)
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        for line in (columns, *cells):
            self.say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

    @contextmanager
    def progress(self, title: str, *, total: int | None = None) -> Iterator[Callable[[str], None]]:
        """Show how far a command is: a bar on a terminal, elsewhere one line for each step, to the standard error.

        The function that it gives is called when a step is done, with the step's name.
        """
        if not sys.stderr.isatty():
            yield lambda step: _write(sys.stderr, f"{title}: {step}")
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda step: bar.update(task, advance=1, description=f"{title}: {step}")


def report_error(error: BaseException, *, as_json: bool) -> int:
    """Say what went wrong, without a traceback, and return the exit code.

    An error of Everfit's own family brings its exit code (2, 3 or 4), a usage error is 2, Ctrl-C is 130;
    anything else is a fault of the program: exit code 4, the traceback goes to a file that the message names.
    """
    from base.errors import DataRefused, EverfitError

    if isinstance(error, KeyboardInterrupt):
        return _report({"error": "interrupted", "kind": "Interrupted"}, INTERRUPTED, as_json=as_json)
    if isinstance(error, BrokenPipeError):
        # Who reads has seen enough (`everfit versions | head`); flushing at exit would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    if isinstance(error, EverfitError):
        document: dict[str, Any] = {"error": str(error), "kind": type(error).__name__}
        if isinstance(error, DataRefused):
            document["faults"] = [vars(fault) for fault in error.faults]
        return _report(document, error.exit_code, as_json=as_json)
    if callable(describe := getattr(error, "format_message", None)):  # typer's usage errors
        context = getattr(error, "ctx", None)
        hint = f"; see `{context.command_path} --help`" if context is not None else ""
        message = str(describe()).rstrip(".") + hint
        code = int(getattr(error, "exit_code", 2))
        return _report({"error": message, "kind": "UsageError"}, code, as_json=as_json)
    file = _write_traceback(error)
    message = (
        f"{type(error).__name__}: {error}\n  This is a fault of Everfit and nobody's data or definition; "
        f"the traceback is in {file}"
    )
    if os.environ.get("EVERFIT_DEBUG"):
        traceback.print_exception(error)
    return _report({"error": message, "kind": "UnexpectedError"}, _UNEXPECTED, as_json=as_json)


def _report(document: dict[str, Any], code: int, *, as_json: bool) -> int:
    _write(sys.stderr, f"error: {document['error']}", style="red")
    Output(as_json=as_json).result(document | {"exit_code": code})
    return code


def _write_traceback(error: BaseException) -> Path:
    text = "".join(traceback.format_exception(error))
    name = f"error-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    # The settings may be what is broken, so the home folder is read from where it is written.
    home = Path(os.environ.get("EVERFIT_HOME") or ".everfit").absolute()
    for folder in (home / "logs", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / name
            file.write_text(text, encoding="utf-8")
        except OSError:
            continue
        return file
    return Path("no folder that can be written")


def _write(stream: TextIO, text: str, *, style: str | None = None) -> None:
    text = "\n".join(map(_printable, text.split("\n")))
    if not stream.isatty():
        stream.write(f"{text}\n")
        stream.flush()
        return
    from rich.console import Console

    Console(file=stream, highlight=False).print(text, style=style, markup=False)


def _print_rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]], title: str | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title, title_justify="left", title_style="bold")
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)


def _printable(text: str) -> str:
    """Replace what would move a terminal's cursor or break a line: cells hold other people's text."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if callable(plain := getattr(value, "tolist", None)):
        return plain()
    return str(value)
