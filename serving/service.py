"""The prediction service itself: rows in, logged answers out; every protocol asks it the same question."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from base.errors import EverfitError, nearest
from base.rows.personal import personal_key
from base.settings import Settings
from features.online_store import OnlineStore
from registry.store import Registry
from serving.answers import Answers, Part
from serving.explanations.desk import ExplanationDesk
from serving.loading.follower import Follower, Served
from serving.loading.servability import Admission
from serving.log.batches import LoggedBatch
from serving.log.prediction_log import PredictionLog
from serving.log.upkeep_rounds import round_apart
from serving.operation.tracing import span
from serving.rollout.controller import Controller
from serving.rollout.looker_process import LookerProcess
from serving.rollout.router import CHAMPION_ARM, Router, Share
from serving.rollout.shadow import ShadowRunner
from serving.scoring.asked import Answer, Asked, PredictionNotLogged
from serving.scoring.batcher import Batcher
from serving.scoring.scorer import Scorer
from serving.web.judged_rows import Reread, Row, read_values
from serving.web.problems import BodyRefused, FaultsFound

if TYPE_CHECKING:
    from serving.labels.intake import LabelIntake
    from serving.log.accounts import Accounts

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

# A call releases Python's lock only in parts; more threads than this make each other slower.
_SCORING_THREADS = 2
# Up to so many rows, reading them takes less time than handing them to a thread.
_MOST_ROWS_AT_ONCE = 64


class Service:
    """What answers: the followed versions, the rollout's router, the queues and the log.

    Parameters
    ----------
    models : collection of str, optional
        Serve these only; default: every model that has a champion, also one that gets its first later.
    """

    def __init__(self, settings: Settings, registry: Registry, models: Collection[str] | None = None) -> None:
        self.settings = settings
        self.registry = registry
        self.log = PredictionLog.from_settings(settings)
        self._labels: LabelIntake | None = None
        self._opening_labels = Lock()
        self.online = OnlineStore.from_settings(settings)
        self.pool = ThreadPoolExecutor(_SCORING_THREADS, thread_name_prefix="everfit-scorer")
        self.follower = Follower(
            registry,
            models=models,
            seconds=settings.follow_seconds,
            trusted=settings.trusted_types,
            make_batcher=self._make_batcher,
            on_retired=self.log.retire,
            online=self.online,
            read_key=partial(personal_key, settings),
            admit=Admission(registry, settings).admit,
            compiled=settings.compiled,
        )
        self.router = Router(self.follower)
        self.explanations = ExplanationDesk(settings, registry)
        self.shadow = ShadowRunner(self.log.append, budget=settings.shadow_budget)
        self.controller = Controller(
            registry,
            settings.home.absolute(),
            self.follower,
            self.router.counters,
            seconds=settings.rollout_seconds,
            count_shadows=self.shadow.count_rows,
            looker=LookerProcess(settings),
        )

    def start(self) -> None:
        """Begin to follow the champions; what dead processes have left of the log is taken care of."""
        self.log.start(partial(round_apart, self.settings))
        self.follower.start()
        self.controller.start()

    def stop(self) -> None:
        """Answer nothing any more, and let the log and its thread end."""
        self.controller.stop()
        self.follower.stop()
        self.shadow.stop()
        self.explanations.stop()
        self.pool.shutdown(wait=True)
        self.log.close()
        if self._labels is not None:
            self._labels.accounts.close()
        self.online.close()

    @property
    def labels(self) -> LabelIntake:
        """What takes labels in; a service that is sent none starts without what it needs."""
        from serving.labels.intake import LabelIntake

        with self._opening_labels:
            if self._labels is None:
                self._labels = LabelIntake.from_settings(self.settings, self.log)
            return self._labels

    @property
    def label_accounts(self) -> Accounts | None:
        """What became of the labels that came; None where none has come yet."""
        return None if self._labels is None else self._labels.accounts

    def find(self, name: str) -> Served:
        """Return the version of a model that serves.

        Raises
        ------
        BodyRefused
            404 for a model that nobody knows, 503 for one whose version cannot be loaded (yet).
        """
        served = self.follower.find(name)
        if served is not None:
            return served
        if refused := self.follower.refused.get(name):
            raise BodyRefused(
                503,
                f"version {refused.number} of model {name!r} cannot be loaded, and none before it: {refused.reason}",
                reason="not_served",
            )
        if not self.follower.has_looked:
            raise BodyRefused(
                503,
                "the service has just started and is loading its models; ask /readyz, then again",
                reason="starting",
            )
        known = sorted(self.follower.served)
        raise BodyRefused(
            404,
            f"there is no model {name!r}; served are {', '.join(known) or 'none'}{nearest(name, known)}",
            reason="not_served",
        )

    async def predict(
        self,
        name: str,
        rows: Sequence[Row],
        *,
        reread: Reread | None = None,
        version: int | None = None,
        request_key: str | None = None,
        kind: str = "online",
        began: float | None = None,
    ) -> Answers:
        """Answer the rows of a request; every answer is in the log before it is given.

        Parameters
        ----------
        reread : callable, optional
            Reads the rows digit by digit, where that was not done at first; None where it makes no difference.
        version : int, optional
            Ask this version, which must be in service; default: the champion, or the arms of a running rollout.
        request_key : str, optional
            Whom or what the request is about, where the rows do not say it.
        began : float, optional
            :func:`time.perf_counter` at the request's arrival.

        Raises
        ------
        BodyRefused
            404 and 503 as :meth:`find`, 422 with every fault.
        UserCodeError, PredictionFailed, PredictionNotLogged
        """
        began = time.perf_counter() if began is None else began
        accounts, n_rows = self.log.accounts, len(rows)
        self.find(name)
        accounts.accept(name, n_rows)
        try:
            shares = self._share_out(name, rows, version, request_key)
            if len(shares) == 1 and (version is not None or shares[0].arm == CHAMPION_ARM):
                return await self._answer_all(shares[0], rows, reread, kind, began)
            return await self._answer_parts(name, shares, rows, reread, kind, began)
        except BodyRefused as error:
            accounts.reject(name, error.reason, n_rows)
            raise

    async def run(self, work: Callable[[], _T], *, n_rows: int) -> _T:
        """Do work that grows with the rows, in a thread where they are many."""
        if n_rows <= _MOST_ROWS_AT_ONCE:
            return work()
        return await self.run_in_thread(work)

    async def run_in_thread(self, work: Callable[[], _T]) -> _T:
        """Do work that waits for a disk or a database."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)

    def _share_out(
        self, name: str, rows: Sequence[Row], version: int | None, request_key: str | None
    ) -> Sequence[Share]:
        if version is None:
            return self.router.split(name, rows, request_key=request_key) or [Share(self.find(name), CHAMPION_ARM)]
        for served, arm in self.in_service(name):
            if served.number == version:
                return [Share(served, arm)]
        numbers = ", ".join(str(served.number) for served, _ in self.in_service(name))
        raise BodyRefused(
            404, f"version {version} of model {name!r} is not in service; in service: {numbers}", reason="not_served"
        )

    def in_service(self, name: str) -> list[tuple[Served, str]]:
        """List the versions of a model that can be asked, the champion first, with their arms."""
        found = [(self.find(name), CHAMPION_ARM)]
        rollout = self.follower.find_rollout(name)
        if rollout is None:
            return found
        return [*found, *((each, rollout.arm_of(number)) for number, each in rollout.challengers.items())]

    async def _answer_all(
        self, share: Share, rows: Sequence[Row], reread: Reread | None, kind: str, began: float
    ) -> Answers:
        scorer, n_rows = share.served.scorer, len(rows)
        with span("validate"):
            if n_rows <= _MOST_ROWS_AT_ONCE:
                values, warnings = read_values(scorer, rows, reread)
            else:
                values, warnings = await self.run_in_thread(partial(read_values, scorer, rows, reread))
        answer = await self._ask(share, Asked(rows, values, share.arm, kind, began))
        return Answers(n_rows, (Part(share.served, answer),), warnings)

    async def _answer_parts(
        self, name: str, shares: Sequence[Share], rows: Sequence[Row], reread: Reread | None, kind: str, began: float
    ) -> Answers:
        champion = self.find(name)
        # The champion's signature holds for whoever asks: its faults are told before anybody scores.
        _, warnings = await self.run(partial(read_values, champion.scorer, rows, reread), n_rows=len(rows))
        parts = await asyncio.gather(*(self._answer_part(champion, share, rows, kind, began) for share in shares))
        return Answers(len(rows), parts, warnings)

    async def _answer_part(self, champion: Served, share: Share, rows: Sequence[Row], kind: str, began: float) -> Part:
        own = rows if share.positions is None else [rows[at] for at in share.positions]
        if share.served is not champion:
            # A challenger that refuses or fails rows that the champion takes is counted; the client need not know.
            try:
                values, _ = read_values(share.served.scorer, own, None)
                answer = await self._ask(share, Asked(own, values, share.arm, kind, began), is_last=False)
                return Part(share.served, answer, share.positions)
            except FaultsFound:
                self.router.observe(
                    champion.manifest.model, share.served.number, n_rows=len(own), micros=0, failed=True
                )
            except PredictionNotLogged:
                raise
            except EverfitError as error:
                _log.warning("the champion answers for version %d, which failed: %s", share.served.number, error)
        values, _ = read_values(champion.scorer, own, None)
        share = Share(champion, CHAMPION_ARM, share.positions)
        return Part(champion, await self._ask(share, Asked(own, values, CHAMPION_ARM, kind, began)), share.positions)

    async def _ask(self, share: Share, asked: Asked, *, is_last: bool = True) -> Answer:
        model, number, n_rows = share.served.manifest.model, share.served.number, len(asked.rows)
        try:
            with span("score and log"):
                answer = await share.served.batcher.predict(asked)
        except Exception as error:
            if is_last or isinstance(error, PredictionNotLogged):
                self.log.accounts.reject(model, _reason(error), n_rows)
            self.router.observe(model, number, n_rows=n_rows, micros=0, failed=True)
            raise
        self.router.observe(model, number, n_rows=n_rows, micros=int((time.perf_counter() - asked.began) * 1e6))
        for shadow in self.router.shadows(model):
            self.shadow.submit(shadow, asked.rows, answer.ids)
        return answer

    def _make_batcher(self, scorer: Scorer, number: int) -> Batcher:
        def commit(batches: Sequence[LoggedBatch], done: Callable[[Exception | None], None]) -> None:
            self.log.commit(scorer.manifest, number, batches, done)

        return Batcher(scorer, commit, self.pool)


def _reason(error: Exception) -> str:
    return "not_logged" if isinstance(error, PredictionNotLogged) else "failed"
