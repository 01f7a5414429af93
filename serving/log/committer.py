"""Group commit: one thread writes all that waits, syncs each file once, and tells everybody."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from serving.log.growing import Stream
from serving.log.segments import Document

_log = logging.getLogger(__name__)

Done = Callable[[OSError | None], None]
"""Is told, in the committer's thread, that the rows are safe, or why they are not in the log."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Documents for one stream, each with its number of rows; and who waits for them."""

    stream: Stream
    documents: Sequence[tuple[Document, int]]
    synced: bool
    done: Done


class Committer:
    """The one thread that writes; while it syncs, the next group gathers."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Commit | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._is_closed = False

    def submit(self, commit: Commit) -> None:
        """Have something written with the next group."""
        with self._lock:
            if self._is_closed:
                refused = OSError(errno.ESHUTDOWN, "the prediction log is closed")
            else:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="everfit-committer", daemon=True)
                    self._thread.start()
                self._queue.put(commit)
                return
        commit.done(refused)

    def close(self) -> None:
        """Write what waits, and take nothing more."""
        with self._lock:
            self._is_closed = True
            thread = self._thread
            self._queue.put(None)
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        is_closed = False
        while not is_closed:
            waiting: dict[int, list[Commit]] = {}
            commit = self._queue.get()
            try:
                while True:
                    if commit is None:
                        is_closed = True
                    else:
                        waiting.setdefault(id(commit.stream), []).append(commit)
                    commit = self._queue.get_nowait()
            except Empty:
                pass
            outcomes = [(commits, _write(commits)) for commits in waiting.values()]
            for commits, error in outcomes:
                for each in commits:
                    _tell(each, error)


def _write(commits: list[Commit]) -> OSError | None:
    documents = [document for commit in commits for document in commit.documents]
    try:
        commits[0].stream.append(documents, synced=any(commit.synced for commit in commits))
    except OSError as error:
        return error
    except Exception as error:
        if len(commits) == 1:
            _log.exception("rows could not be written into the prediction log")
            return OSError(errno.EINVAL, f"the rows cannot be written ({type(error).__name__}: {error})")
        # One of them is no JSON, and the others are not to suffer for it.
        for each in commits:
            _tell(each, _write([each]))
        commits.clear()
    return None


def _tell(commit: Commit, error: OSError | None) -> None:
    try:
        commit.done(error)
    except Exception:
        _log.exception("nobody could be told what became of rows in the prediction log")
