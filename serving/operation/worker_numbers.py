"""What the workers of one service have counted, added up: each leaves its numbers in a file, about each second."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from serving.operation.families import Family, merge_families


class WorkerNumbers:
    """The numbers of this worker, and of the others of the same service.

    A file each and no memory shared: a request costs nothing more than a plain sum, and a worker that was killed has
    left what it had counted up to its last second, so that counters never fall. Its gauges end with it.

    Parameters
    ----------
    measure : callable
        Measures this worker.
    folder : Path, optional
        Where the workers of one service leave their numbers; default: this is the only worker.
    """

    def __init__(self, measure: Callable[[], Sequence[Family]], *, folder: Path | None = None) -> None:
        self._measure = measure
        self._folder = folder
        self._name = f"{os.getpid()}.json"

    def leave(self) -> None:
        """Write this worker's numbers, whole or not at all; a lost second is no reason to wait for a disk."""
        if self._folder is None:
            return
        aside = self._folder / f"{self._name}.new"
        aside.write_bytes(orjson.dumps([family.as_json() for family in self._measure()]))
        aside.replace(self._folder / self._name)

    def collect(self) -> list[Family]:
        """Add up this worker's numbers, as they are now, and the others', as they left them last."""
        own = list(self._measure())
        if self._folder is None:
            return own
        others = []
        for file in sorted(self._folder.glob("*.json")):
            if file.name == self._name:
                continue
            try:
                families = [Family.from_json(document) for document in orjson.loads(file.read_bytes())]
            except (OSError, ValueError, KeyError, TypeError):
                continue  # its writer and its folder may be about to end
            if not _is_alive(int(file.stem)):
                families = [family for family in families if family.kind != "gauge"]
            others.append(families)
        return merge_families([own, *others])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
