"""Claims about scoring together: it saves calls, and nobody suffers from whom it was scored with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from base.errors import UserCodeError
from registry.store import Registry
from serving.log.batches import LoggedBatch
from serving.scoring.asked import Answer, Asked, PredictionNotLogged
from serving.scoring.batcher import Batcher, Commit
from serving.scoring.scorer import Scorer
from tests.serving.models import load_version, make_rows, register_model

ROWS = make_rows(30, seed=5)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as opened:
        yield opened


def _ask(batcher: Batcher, requests: Sequence[list[dict[str, Any]]]) -> list[Answer | BaseException]:
    async def ask() -> list[Answer | BaseException]:
        return await asyncio.gather(*[batcher.predict(Asked(rows)) for rows in requests], return_exceptions=True)

    return asyncio.run(ask())


def _log_into(logged: list[Sequence[LoggedBatch]]) -> Commit:
    def commit(batches: Sequence[LoggedBatch], done: Callable[[OSError | None], None]) -> None:
        logged.append(batches)
        done(None)

    return commit


def _scorer(registry: Registry, function: str = "features:add_hour") -> Scorer:
    return load_version(registry, register_model(registry, function=function))


def test_requests_that_wait_are_scored_in_one_call_and_each_gets_its_own_rows(
    registry: Registry, pool: ThreadPoolExecutor
) -> None:
    logged: list[Sequence[LoggedBatch]] = []
    scorer = _scorer(registry)
    requests = [ROWS[start : start + 3] for start in range(0, 30, 3)]

    answers = _ask(Batcher(scorer, _log_into(logged), pool), requests)

    assert [len(batches) for batches in logged] == [10]
    for rows, answer, batch in zip(requests, answers, logged[0], strict=True):
        assert isinstance(answer, Answer)
        assert answer.predictions == scorer.predict_rows(rows)
        assert (answer.ids, rows) == (batch.ids, batch.rows)


def test_a_request_that_breaks_the_users_code_fails_alone(registry: Registry, pool: ThreadPoolExecutor) -> None:
    logged: list[Sequence[LoggedBatch]] = []
    good = [{"distance": 1.0}]
    bad = [{"distance": 1.0, "is_shared": True}]

    answers = _ask(Batcher(_scorer(registry, "features:refuse_sharing"), _log_into(logged), pool), [good, bad, good])

    assert [type(answer) for answer in answers] == [Answer, UserCodeError, Answer]
    assert [len(batches) for batches in logged] == [2]


def test_rows_of_strangers_never_change_an_answer(registry: Registry, pool: ThreadPoolExecutor) -> None:
    scorer = _scorer(registry, "features:compare")
    requests = [ROWS[start : start + 3] for start in range(0, 30, 3)]

    answers = _ask(Batcher(scorer, _log_into([]), pool), requests)

    assert [answer.predictions for answer in answers if isinstance(answer, Answer)] == [
        scorer.predict_rows(rows) for rows in requests
    ]


def test_an_answer_that_the_log_did_not_take_is_given_to_nobody(registry: Registry, pool: ThreadPoolExecutor) -> None:
    def refuse(_batches: Sequence[LoggedBatch], done: Callable[[OSError | None], None]) -> None:
        done(OSError(28, "No space left on device"))

    answers = _ask(Batcher(_scorer(registry), refuse, pool), [ROWS[:1], ROWS[1:2]])

    assert [type(answer) for answer in answers] == [PredictionNotLogged] * 2
    assert "No space left on device" in str(answers[0])


def test_a_queue_goes_on_after_a_failure(registry: Registry, pool: ThreadPoolExecutor) -> None:
    batcher = Batcher(_scorer(registry, "features:refuse_sharing"), _log_into([]), pool)

    answers = [_ask(batcher, [[{"distance": 1.0, "is_shared": shared}]])[0] for shared in (True, False)]

    assert [type(answer) for answer in answers] == [UserCodeError, Answer]


@pytest.mark.parametrize("n_rows", [1, 2])
def test_a_log_that_fails_in_an_unforeseen_way_leaves_nobody_waiting(
    registry: Registry, pool: ThreadPoolExecutor, n_rows: int
) -> None:
    def fail(_batches: Sequence[LoggedBatch], _done: Callable[[OSError | None], None]) -> None:
        raise RuntimeError("cannot start new thread")

    batcher = Batcher(_scorer(registry), fail, pool)

    for _ in range(2):
        answers = _ask(batcher, [ROWS[:1]] * n_rows)
        assert [str(answer) for answer in answers] == ["cannot start new thread"] * n_rows
