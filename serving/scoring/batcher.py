"""Score the requests that are waiting in one call, and log them in one write, before anybody gets an answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from base.errors import EverfitError
from base.times import utc_now
from serving.identifiers import new_ids
from serving.log.batches import LoggedBatch
from serving.scoring.asked import Answer, Asked, PredictionFailed, PredictionNotLogged
from serving.scoring.row_reader import Values, values_of
from serving.scoring.scorer import Scorer

_log = logging.getLogger(__name__)

Commit = Callable[[Sequence[LoggedBatch], Callable[[Exception | None], None]], None]

# Beyond this a call takes so long that those who wait longest are better served by two.
_MOST_ROWS_TOGETHER = 4096
# A compiled model answers so many rows in less time than a thread takes to wake up.
_MOST_ROWS_AT_ONCE = 64
# Under load, requests come in at every turn of the event loop; a call for each would cost more than a moment's wait.
_QUIET_TURNS = 2
_LONGEST_WAIT_SECONDS = 0.002
# While the log writes one group, the next is scored; more of them would be smaller ones.
_MOST_WRITTEN = 2
# Other requests' bodies are to be read between one call and the next.
_MOST_TOGETHER_AT_ONCE = 64


class _Waiting(msgspec.Struct, frozen=True, gc=False):
    asked: Asked
    answer: asyncio.Future[Answer]


_Outcome = Answer | EverfitError


class Batcher:
    """One model version's queue.

    Nobody waits for company: what is waiting when the scorer becomes free is scored together. Rows that a compiled
    model answers at once are scored on the event loop: all that came in one turn of it, or while the log wrote the
    group before. Others are scored in a thread, the next group while the log writes the one before.

    Parameters
    ----------
    commit : callable
        Takes the batches that were answered and a function that is told, from any thread, when they are in the log,
        or why they are not.
    """

    def __init__(self, scorer: Scorer, commit: Commit, pool: Executor) -> None:
        self._scorer = scorer
        self._commit = commit
        self._pool = pool
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._at_once: list[_Waiting] = []
        self._n_writing = 0
        self._is_gathering = False
        self._gathered = (0, 0, 0.0)
        self._is_immediate = scorer.is_immediate
        self._inputs = list(scorer.manifest.plan.inputs)

    async def predict(self, asked: Asked) -> Answer:
        """Answer one request's rows, which have passed the signature.

        Raises
        ------
        UserCodeError, PredictionFailed, PredictionNotLogged
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(asked, loop.create_future())
        if self._is_immediate and asked.values is not None and len(asked.values) <= _MOST_ROWS_AT_ONCE:
            self._at_once.append(waiting)
            if not self._is_gathering and self._n_writing < _MOST_WRITTEN:
                self._gather(loop)
        else:
            self._waiting.append(waiting)
            if self._worker is None:
                self._worker = loop.create_task(self._work(loop))
        return await waiting.answer

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer when two turns of the event loop have brought nobody new, or the first has waited long enough."""
        n_waiting = len(self._at_once)
        if self._is_gathering:
            n_before, n_quiet, give_up = self._gathered
            n_quiet = n_quiet + 1 if n_waiting == n_before else 0
        else:
            n_quiet, give_up = 0, loop.time() + _LONGEST_WAIT_SECONDS
        if n_quiet >= _QUIET_TURNS or n_waiting >= _MOST_TOGETHER_AT_ONCE or loop.time() >= give_up:
            self._is_gathering = False
            self._answer_at_once(loop)
        else:
            self._is_gathering, self._gathered = True, (n_waiting, n_quiet, give_up)
            loop.call_soon(self._gather, loop)

    def _answer_at_once(self, loop: asyncio.AbstractEventLoop) -> None:
        together, self._at_once = self._at_once[:_MOST_TOGETHER_AT_ONCE], self._at_once[_MOST_TOGETHER_AT_ONCE:]
        asked = [one.asked for one in together]
        try:
            outcomes = self._score(asked, [one.values or () for one in asked])
            self._n_writing += self._record(loop, together, outcomes, then=self._go_on)
        except Exception as error:
            # Whatever it was, those who wait must hear of it.
            _refuse(together, error)
        if self._at_once and self._n_writing < _MOST_WRITTEN:
            self._gather(loop)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self._n_writing -= 1
        if self._at_once and not self._is_gathering:
            self._gather(loop)

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while self._waiting:
                together = self._take()
                try:
                    asked, outcomes = await loop.run_in_executor(
                        self._pool, self._answer, [one.asked for one in together]
                    )
                    completed = [_Waiting(a, one.answer) for a, one in zip(asked, together, strict=True)]
                    self._record(loop, completed, outcomes)
                except Exception as error:
                    # Whatever it was, those who wait must hear of it.
                    _refuse(together, error)
        finally:
            self._worker = None

    def _take(self) -> list[_Waiting]:
        together = [self._waiting.popleft()]
        n_rows = len(together[0].asked.rows)
        while self._scorer.is_row_wise and self._waiting:
            n_rows += len(self._waiting[0].asked.rows)
            if n_rows > _MOST_ROWS_TOGETHER:
                break
            together.append(self._waiting.popleft())
        return together

    def _answer(self, requests: list[Asked]) -> tuple[list[Asked], list[_Outcome]]:
        if self._scorer.completes:
            # What is logged is what was scored: monitoring and audits need the values of that moment.
            requests = self._complete(requests)
        values = [values_of(one.rows, self._inputs) if one.values is None else one.values for one in requests]
        return requests, self._score(requests, values)

    def _complete(self, requests: list[Asked]) -> list[Asked]:
        completed = self._scorer.complete_rows([row for one in requests for row in one.rows])
        parts: list[Asked] = []
        for one in requests:
            parts.append(Asked(completed[: len(one.rows)], None, one.arm, one.kind, one.began))
            completed = completed[len(one.rows) :]
        return parts

    def _score(self, requests: Sequence[Asked], values: Sequence[Sequence[Values]]) -> list[_Outcome]:
        flat = values[0] if len(values) == 1 else [row for rows in values for row in rows]
        try:
            answers = self._scorer.score_values(flat)
        except Exception as error:
            # One request's rows may have broken the call: each gets its own, and only the guilty one fails.
            if len(requests) > 1:
                return [
                    outcome
                    for one, rows in zip(requests, values, strict=True)
                    for outcome in self._score([one], [rows])
                ]
            return [self._explain(error)]
        ids = new_ids(len(flat))
        scored: list[_Outcome] = []
        start = 0
        for rows in values:
            stop = start + len(rows)
            scored.append(Answer(ids[start:stop], answers[start:stop], self._scorer))
            start = stop
        return scored

    def _record(
        self,
        loop: asyncio.AbstractEventLoop,
        together: Sequence[_Waiting],
        outcomes: Sequence[_Outcome],
        *,
        then: Callable[[asyncio.AbstractEventLoop], None] | None = None,
    ) -> bool:
        """Hand the answers to the log, and tell whether there was any; *then* is called when it has them."""
        answered: list[tuple[_Waiting, Answer]] = []
        batches: list[LoggedBatch] = []
        now, clock, path = utc_now(), time.perf_counter(), self._scorer.path
        for one, outcome in zip(together, outcomes, strict=True):
            if isinstance(outcome, EverfitError):
                _refuse([one], outcome)
                continue
            asked = one.asked
            micros = int((clock - asked.began) * 1e6) if asked.began else 0
            answered.append((one, outcome))
            batches.append(
                LoggedBatch(
                    outcome.ids,
                    asked.rows,
                    _raw(outcome.values),
                    now,
                    arm=asked.arm,
                    path=path,
                    kind=asked.kind,
                    micros=micros,
                )
            )
        if batches:

            def finish(error: Exception | None) -> None:
                self._finish(answered, error)
                if then is not None:
                    then(loop)

            def done(error: Exception | None) -> None:
                loop.call_soon_threadsafe(finish, error)

            self._commit(batches, done)
        return bool(batches)

    def _finish(self, answered: Sequence[tuple[_Waiting, Answer]], error: Exception | None) -> None:
        if error is None:
            for one, answer in answered:
                if not one.answer.done():
                    one.answer.set_result(answer)
            return
        if not isinstance(error, OSError):
            # What the disk refuses the log itself tells, once and not for each request.
            _log.error("%d answers could not be logged", len(answered), exc_info=error)
        _refuse(
            [one for one, _ in answered],
            PredictionNotLogged(
                "the prediction is not given, since the prediction log could not take it "
                f"({getattr(error, 'strerror', None) or type(error).__name__}); free the disk and send the rows again"
            ),
        )

    def _explain(self, error: Exception) -> EverfitError:
        name = self._scorer.manifest.model
        _log.error("model %r failed to predict", name, exc_info=error)
        if isinstance(error, EverfitError):
            return error
        return PredictionFailed(
            f"model {name!r} could not answer these rows ({type(error).__name__}), although its signature allows "
            "them; the service's log says more"
        )


def _raw(values: npt.NDArray[np.float64]) -> list[Any]:
    found: list[Any] = (values[:, 1] if values.ndim == 2 and values.shape[1] == 2 else values).tolist()
    return found


def _refuse(waiting: Sequence[_Waiting], error: Exception) -> None:
    for one in waiting:
        if not one.answer.done():
            one.answer.set_exception(error)
