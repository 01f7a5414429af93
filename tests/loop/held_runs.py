"""Imported into the process that runs are forked from: their trainings can be held, and two at once are noticed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil

import flows.continuous_training as flow
from tests.loop.holding import hold_before


def _of_run(_registry: Any, run: Any, *_: Any, **__: Any) -> str:
    return str(run.definition.parent.name)


def _watch_for_two_at_once() -> None:
    train = flow._train

    def watched(run: Any, definition: Any, *more: Any) -> Any:
        folder = Path(os.environ["EVERFIT_HOME"]).parent / "training"
        mine = folder / f"{definition.name}.{os.getpid()}"
        for other in folder.glob(f"{definition.name}.*"):
            if _lives(int(other.suffix[1:])):
                (folder / f"two at once: {other.name} and {mine.name}").touch()
        mine.touch()
        try:
            return train(run, definition, *more)
        finally:
            mine.unlink()

    flow._train = watched  # type: ignore[assignment]  # the same one, watched


def _lives(pid: int) -> bool:
    # One that is being killed is given the moment that the system takes.
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.05)
    return True


hold_before(flow, "admit", "before it begins", lambda _registry, definition, *_, **__: str(definition.name))
hold_before(flow, "extract_step", "after it began", lambda run, *_, **__: str(run.definition.parent.name))
hold_before(flow, "train_step", "in the training", lambda run, *_, **__: str(run.definition.parent.name))
hold_before(flow, "promote_step", "at the promotion", lambda run, *_, **__: str(run.definition.parent.name))
hold_before(flow, "close_run", "after the promotion", _of_run)
_watch_for_two_at_once()
