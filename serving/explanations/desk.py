"""Explanations for requests: in a thread of their own, within a budget of time, rows and waiting requests."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from base.errors import EverfitError
from base.settings import Settings
from registry.store import Registry
from serving.explanations.explanation import NotExplained, RowExplanation
from serving.loading.served import Served

if TYPE_CHECKING:
    from serving.explanations.explainer import Explainer
    from serving.scoring.scorer import Scorer

_log = logging.getLogger(__name__)

_BUSY = "busy: others wait for explanations already"
# Beyond these, a request would have used its time up before its turn.
_MOST_WAITING = 4
# Versions whose explainers are held: the champion's, the arms' of a rollout, and those of another model or two.
_MOST_HELD = 8

Rows = Sequence[dict[str, Any]]


class ExplanationDesk:
    """Explains answers that were given already.

    scikit-learn's model is loaded when its first explanation is asked for, in the desk's own thread: a service that is
    never asked pays nothing for it, and plain requests do not wait for those that are.

    Parameters
    ----------
    settings : Settings
        ``explain_seconds`` is what a request may wait, ``explain_rows`` how many of its rows are explained.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._seconds = settings.explain_seconds
        self._most_rows = settings.explain_rows
        self._trusted = settings.trusted_types
        self._registry = registry
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="everfit-explainer")
        self._lock = threading.Lock()
        self._n_waiting = 0
        self._loaded: dict[tuple[str, int], Future[Explainer]] = {}

    async def explain(
        self, served: Served, rows: Rows, answers: npt.NDArray[np.float64], *, per_class: bool = False
    ) -> list[RowExplanation]:
        """Explain the answers to a request's rows, as far as the budget goes; what is not explained says why."""
        n_rows = min(len(rows), self._most_rows)
        rest: list[RowExplanation] = [
            NotExplained(f"only the first {self._most_rows:,} rows of a request are explained")
        ] * (len(rows) - n_rows)
        with self._lock:
            if self._n_waiting >= _MOST_WAITING:
                return [NotExplained(_BUSY)] * len(rows)
            self._n_waiting += 1
        deadline = time.monotonic() + self._seconds
        work = partial(self._explain, served, rows[:n_rows], answers[:n_rows], per_class, deadline)
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # A request that is given up goes on in its thread until it looks at the clock.
        future.add_done_callback(self._leave)
        try:
            explained = await asyncio.wait_for(asyncio.shield(future), timeout=self._seconds)
        except TimeoutError:
            is_loading = not self._is_loaded(served)
            reason = "the model is being prepared for explanations; ask again" if is_loading else "the time was over"
            explained = [NotExplained(reason)] * n_rows
        return explained + rest

    def stop(self) -> None:
        """Explain nothing any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _leave(self, future: asyncio.Future[list[RowExplanation]]) -> None:
        with self._lock:
            self._n_waiting -= 1
        if not future.cancelled():
            # Nobody may be left to ask for it.
            future.exception()

    def _is_loaded(self, served: Served) -> bool:
        found = self._loaded.get((served.manifest.model, served.number))
        return found is not None and found.done()

    def _explain(
        self, served: Served, rows: Rows, answers: npt.NDArray[np.float64], per_class: bool, deadline: float
    ) -> list[RowExplanation]:
        def is_over() -> bool:
            return time.monotonic() > deadline

        try:
            explainer = self._load(served)
            if is_over():
                return [NotExplained("the time was over")] * len(rows)
            completed = _complete(served.scorer, rows)
            return explainer.explain(completed, answers, per_class=per_class, is_over=is_over)
        except Exception as error:
            # The answers are given whatever becomes of their explanation.
            _log.warning("model %r: rows could not be explained", served.manifest.model, exc_info=error)
            reason = str(error) if isinstance(error, EverfitError) else type(error).__name__
            return [NotExplained(f"the model could not be explained: {reason}")] * len(rows)

    def _load(self, served: Served) -> Explainer:
        # Only the desk's one thread comes here.
        key = (served.manifest.model, served.number)
        found = self._loaded.get(key)
        if found is None:
            found = Future()
            self._loaded[key] = found
            try:
                found.set_result(self._make(served))
            except Exception:
                # What is away now may be there at the next request.
                del self._loaded[key]
                raise
            while len(self._loaded) > _MOST_HELD:
                del self._loaded[next(iter(self._loaded))]
        return found.result()

    def _make(self, served: Served) -> Explainer:
        from serving.explanations.explainer import Explainer

        return Explainer.load(self._registry.artifacts, served.manifest, trusted=self._trusted)


def _complete(scorer: Scorer, rows: Rows) -> Rows:
    return scorer.complete_rows(rows) if scorer.completes else rows
