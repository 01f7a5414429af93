"""Hold a process at a place until a test lets it go on: nothing is killed by luck.

A test asks for a hold by the file ``HOLDS/PLACE@PIPELINE``. The process that comes there first renames it to
``….held``, writes its number into it, and waits until the file is gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LONGEST_HOLD_SECONDS = 240.0


def ask_hold(folder: Path, place: str, pipeline: str) -> None:
    """Ask that the first process that comes to a place waits there."""
    (folder / f"{place}@{pipeline}").touch()


def held_process(folder: Path, place: str, pipeline: str) -> int | None:
    """Return the process that waits at a place, or None."""
    try:
        return int((folder / f"{place}@{pipeline}.held").read_text())
    except (FileNotFoundError, ValueError):
        return None


def let_go(folder: Path) -> None:
    """Let all go on that wait, and nobody wait any more."""
    for file in folder.iterdir():
        file.unlink()


def hold(place: str, pipeline: str) -> None:
    """Wait here, where a test has asked for it."""
    folder = Path(os.environ["EVERFIT_HOME"]).parent / "holds"
    asked, held = folder / f"{place}@{pipeline}", folder / f"{place}@{pipeline}.held"
    try:
        asked.rename(held)
    except FileNotFoundError:
        return
    written = held.with_suffix(".written")
    written.write_text(str(os.getpid()))
    written.rename(held)
    deadline = time.monotonic() + _LONGEST_HOLD_SECONDS
    while held.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def hold_before(owner: Any, function: str, place: str, pipeline_of: Callable[..., str]) -> None:
    """Let each call of a function of a module or class come by a place first."""
    original: Callable[..., Any] = getattr(owner, function)

    def held(*arguments: Any, **options: Any) -> Any:
        hold(place, pipeline_of(*arguments, **options))
        return original(*arguments, **options)

    setattr(owner, function, held)
