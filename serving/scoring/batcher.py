"""Score the requests that are waiting in one call: a call costs milliseconds, whatever the number of rows."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from base.errors import EverfitError
from base.times import utc_now
from serving.identifiers import new_ids
from serving.log.prediction_log import LoggedBatch
from serving.scoring.scorer import Prediction, Scorer

_log = logging.getLogger(__name__)

Rows = Sequence[dict[str, Any]]
# Beyond this a call takes so long that those who wait longest are better served by two.
_MOST_ROWS_TOGETHER = 4096


class PredictionFailed(EverfitError):
    """A version cannot answer rows that its signature allows."""


class PredictionNotLogged(EverfitError):
    """The log did not take an answer, so it is not given."""


@dataclass(frozen=True)
class Answer:
    """What one request gets: an identifier and a prediction for each row."""

    ids: list[str]
    predictions: list[Prediction]


@dataclass(frozen=True)
class _Waiting:
    rows: Rows
    answer: asyncio.Future[Answer]


class Batcher:
    """One model version's queue: what is waiting when the scorer becomes free is scored together.

    Nobody waits for company: a request that finds the scorer free is scored at once. The answers are logged
    before anybody gets one.

    Parameters
    ----------
    record : callable
        Takes the batches that were answered and returns when they are in the log, or raises OSError.
    """

    def __init__(self, scorer: Scorer, record: Callable[[Sequence[LoggedBatch]], None], pool: Executor) -> None:
        self._scorer = scorer
        self._record = record
        self._pool = pool
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def predict(self, rows: Rows) -> Answer:
        """Answer one request's rows, which have passed the signature.

        Raises
        ------
        UserCodeError, PredictionFailed, PredictionNotLogged
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(rows, loop.create_future())
        self._waiting.append(waiting)
        if self._worker is None:
            self._worker = loop.create_task(self._work(loop))
        return await waiting.answer

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while self._waiting:
                together = self._take()
                outcomes: Sequence[Answer | Exception]
                try:
                    outcomes = await loop.run_in_executor(self._pool, self._answer, [one.rows for one in together])
                except Exception as error:
                    # Whatever it was, those who wait must hear of it.
                    outcomes = [error] * len(together)
                for one, outcome in zip(together, outcomes, strict=True):
                    if one.answer.done():
                        continue
                    if isinstance(outcome, Exception):
                        one.answer.set_exception(outcome)
                    else:
                        one.answer.set_result(outcome)
        finally:
            self._worker = None

    def _take(self) -> list[_Waiting]:
        together = [self._waiting.popleft()]
        n_rows = len(together[0].rows)
        while self._scorer.is_row_wise and self._waiting:
            n_rows += len(self._waiting[0].rows)
            if n_rows > _MOST_ROWS_TOGETHER:
                break
            together.append(self._waiting.popleft())
        return together

    def _answer(self, requests: list[Rows]) -> list[Answer | EverfitError]:
        # What is logged is what was scored: monitoring and audits need the values of that moment.
        requests = self._complete(requests)
        outcomes = self._score(requests)
        answered = [
            (rows, one) for rows, one in zip(requests, outcomes, strict=True) if not isinstance(one, EverfitError)
        ]
        now = utc_now()
        batches = [LoggedBatch(one.ids, rows, one.raw, now) for rows, one in answered]
        try:
            if batches:
                self._record(batches)
        except Exception as error:
            _log.exception("%d answers could not be logged", len(batches))
            not_logged = PredictionNotLogged(
                "the prediction is not given, since the prediction log could not take it "
                f"({getattr(error, 'strerror', None) or type(error).__name__}); free the disk and send the rows again"
            )
            return [one if isinstance(one, EverfitError) else not_logged for one in outcomes]
        return [one if isinstance(one, EverfitError) else Answer(one.ids, one.predictions) for one in outcomes]

    def _complete(self, requests: list[Rows]) -> list[Rows]:
        completed = self._scorer.complete_rows([row for rows in requests for row in rows])
        parts: list[Rows] = []
        for rows in requests:
            parts.append(completed[: len(rows)])
            completed = completed[len(rows) :]
        return parts

    def _score(self, requests: list[Rows]) -> list[_Scored | EverfitError]:
        try:
            answers = self._scorer.score_rows([row for rows in requests for row in rows])
            predictions = self._scorer.describe(answers)
        except Exception as error:
            # One request's rows may have broken the call: each gets its own, and only the guilty one fails.
            if len(requests) > 1:
                return [outcome for rows in requests for outcome in self._score([rows])]
            return [self._explain(error)]
        classes = self._scorer.manifest.classes
        raw = (answers[:, 1] if classes is not None and len(classes) == 2 else answers).tolist()
        ids = new_ids(len(raw))
        scored: list[_Scored | EverfitError] = []
        start = 0
        for rows in requests:
            part = slice(start, start + len(rows))
            scored.append(_Scored(ids[part], predictions[part], raw[part]))
            start += len(rows)
        return scored

    def _explain(self, error: Exception) -> EverfitError:
        name = self._scorer.manifest.model
        _log.error("model %r failed to predict", name, exc_info=error)
        if isinstance(error, EverfitError):
            return error
        return PredictionFailed(
            f"model {name!r} could not answer these rows ({type(error).__name__}), although its signature allows "
            "them; the service's log says more"
        )


@dataclass(frozen=True)
class _Scored:
    ids: list[str]
    predictions: list[Prediction]
    raw: list[Any]
