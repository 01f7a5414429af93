"""The shadow: a challenger answers in the background, within a budget, is logged, and nobody ever sees it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from base.times import utc_now
from registry.manifest import ModelManifest
from serving.loading.served import Served
from serving.log.batches import LoggedBatch
from serving.rollout.router import SHADOW_ARM
from serving.scoring.scorer import Scorer

_log = logging.getLogger(__name__)

Rows = Sequence[dict[str, Any]]
Append = Callable[[ModelManifest, int, Sequence[LoggedBatch]], None]

# A call has a price of its own, so what waits is answered together; a long call would hold up the others too long.
_MOST_ROWS_TOGETHER = 128
# Nobody waits for a shadow, and each time its thread wakes up, it takes the interpreter from those who answer.
_LEAST_REST_SECONDS = 0.02


@dataclass(frozen=True)
class _Waiting:
    served: Served
    rows: Rows
    ids: Sequence[str]


class ShadowRunner:
    """Lets shadows answer rows that a champion has answered already, in one thread, for a part of one core.

    What comes faster than the budget allows is dropped and counted: a shadow is a sample, the answer is not.

    Parameters
    ----------
    append : callable
        Takes manifest, version number and batches, and returns when they are in the log, or raises OSError.
    budget : float
        Share of one core's time.
    most_waiting : int
        Rows that may wait.
    """

    def __init__(self, append: Append, *, budget: float = 0.25, most_waiting: int = 2_000) -> None:
        self._append = append
        self._budget = budget
        self._most_waiting = most_waiting
        self._waiting: deque[_Waiting] = deque()
        self._n_waiting = 0
        self._counts: Counter[tuple[str, int, str]] = Counter()
        self._lock = threading.Condition()
        self._is_idle = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(self, served: Served, rows: Rows, ids: Sequence[str]) -> bool:
        """Have a shadow answer rows, some time; return at once whether there was room for them.

        Parameters
        ----------
        rows : sequence of dict
            As the request had them, after its validation.
        ids : sequence of str
            Those of the champion's answers, so that a label belongs to both.
        """
        with self._lock:
            if self._stopping.is_set() or self._n_waiting + len(rows) > self._most_waiting:
                self._count(served, "dropped", len(rows))
                return False
            self._waiting.append(_Waiting(served, rows, ids))
            self._n_waiting += len(rows)
            if self._thread is None:
                # Most services never have a shadow, and need no thread for one.
                self._thread = threading.Thread(target=self._work, name="everfit-shadow", daemon=True)
                self._thread.start()
            elif self._is_idle:
                self._is_idle = False
                self._lock.notify()
            return True

    def stop(self) -> None:
        """Drop what waits, finish what is being answered."""
        self._stopping.set()
        with self._lock:
            for waiting in self._waiting:
                self._count(waiting.served, "dropped", len(waiting.rows))
            self._waiting.clear()
            self._lock.notify()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def count_rows(self, model: str, number: int) -> dict[str, int]:
        """Count the rows of a shadow by what came of them: answered, dropped, refused (by its signature) or failed."""
        with self._lock:
            counts = self._counts.items()
            return {what: count for (name, which, what), count in counts if (name, which) == (model, number) and count}

    def _count(self, served: Served, what: str, n_rows: int) -> None:
        self._counts[served.version.model, served.version.number, what] += n_rows

    def _work(self) -> None:
        while (together := self._take()) is not None:
            began = time.thread_time()
            served = together[0].served
            n_rows = sum(len(each.rows) for each in together)
            try:
                n_answered = self._answer(served, together)
            except Exception as error:
                _log.warning(
                    "the shadow, version %d of %r, failed: %s", served.version.number, served.version.model, error
                )
                n_answered, kind = 0, "failed"
            else:
                kind = "refused"
            with self._lock:
                self._count(served, "answered", n_answered)
                self._count(served, kind, n_rows - n_answered)
            rest = (time.thread_time() - began) * (1 / self._budget - 1)
            self._stopping.wait(max(rest, _LEAST_REST_SECONDS))

    def _take(self) -> list[_Waiting] | None:
        with self._lock:
            while not self._waiting and not self._stopping.is_set():
                self._is_idle = True
                self._lock.wait()
            self._is_idle = False
            if self._stopping.is_set():
                return None
            together = [self._waiting.popleft()]
            n_rows = len(together[0].rows)
            served = together[0].served
            while served.scorer.is_row_wise and self._waiting and self._waiting[0].served is served:
                n_rows += len(self._waiting[0].rows)
                if n_rows > _MOST_ROWS_TOGETHER:
                    break
                together.append(self._waiting.popleft())
            self._n_waiting -= sum(len(each.rows) for each in together)
            return together

    def _answer(self, served: Served, together: Sequence[_Waiting]) -> int:
        scorer = served.scorer
        # The champion's signature let them through; the shadow's own may be another.
        read = [(each, scorer.reader.read(each.rows)) for each in together]
        fitting = [(each, values) for each, values in read if values is not None or not _has_fault(scorer, each.rows)]
        if not fitting:
            return 0
        rows: Rows = [row for each, _ in fitting for row in each.rows]
        began = time.perf_counter()
        if scorer.completes or any(values is None for _, values in fitting):
            rows = scorer.complete_rows(rows)
            found = scorer.score_rows(rows)
        else:
            found = scorer.score_values([row for _, values in fitting for row in values or ()])
        answers = _raw(found, served.manifest)
        micros = round((time.perf_counter() - began) * 1e6)
        ids = [name for each, _ in fitting for name in each.ids]
        batch = LoggedBatch(ids, rows, answers, utc_now(), arm=SHADOW_ARM, micros=micros)
        self._append(served.manifest, served.version.number, [batch])
        return len(ids)


def _has_fault(scorer: Scorer, rows: Rows) -> bool:
    return bool(scorer.find_faults(rows, most=1))


def _raw(answers: npt.NDArray[np.float64], manifest: ModelManifest) -> list[Any]:
    found: list[Any] = (
        answers[:, 1] if manifest.classes is not None and len(manifest.classes) == 2 else answers
    ).tolist()
    return found
