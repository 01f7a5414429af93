"""What Prefect logs in a command's process: its UI keeps all of it, the terminal shows a line for each step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _StepLines(logging.Handler):
    """Hands each step's own line ("train: reused from run …") on; what Prefect says beside them stays in its UI."""

    def __init__(self, step_done: Callable[[str], None]) -> None:
        super().__init__(level=logging.INFO)
        self._step_done = step_done

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if ": executed (" in text or ": reused from" in text:
            self._step_done(text)


@contextmanager
def steps_as_progress(step_done: Callable[[str], None]) -> Iterator[None]:
    """Hand the line of each step to *step_done*, and keep Prefect's own lines off the terminal."""
    lines = _StepLines(step_done)
    steps = logging.getLogger("prefect.task_runs")
    with quiet_terminal():
        steps.addHandler(lines)
        try:
            yield
        finally:
            steps.removeHandler(lines)


@contextmanager
def quiet_terminal() -> Iterator[None]:
    """Keep what Prefect logs off the terminal; it still reaches the UI."""
    from prefect.logging.configuration import setup_logging

    setup_logging()
    root = logging.getLogger()
    console = [handler for handler in root.handlers if type(handler).__name__ == "PrefectConsoleHandler"]
    silent = logging.NullHandler()  # without any handler, logging falls back to the standard error
    for handler in console:
        root.removeHandler(handler)
    root.addHandler(silent)
    try:
        yield
    finally:
        root.removeHandler(silent)
        for handler in console:
            root.addHandler(handler)
