"""Follow the champions: load what an alias has moved to beside what serves, prove it, then swap."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from functools import partial

from sqlmodel import select

from base.background import Background
from base.errors import EverfitError
from base.rows.personal import has_personal
from base.times import utc_now
from features.online_store import OnlineStore
from registry.manifest import ModelManifest
from registry.models import CHAMPION, find_version
from registry.rollouts import list_running
from registry.signed_versions import read_version
from registry.store import Registry
from registry.tables import Alias, ModelVersion, Rollout
from serving.loading.served import Refused, Served
from serving.rollout.running import RunningRollout
from serving.scoring.batcher import Batcher
from serving.scoring.loaded import load_scorer
from serving.scoring.scorer import Scorer
from serving.scoring.view_lookup import open_lookup

__all__ = ["Follower", "Refused", "Served"]

_log = logging.getLogger(__name__)

# Two small queries: a database that has not answered them by then is away, whatever its connections say.
_PATIENCE_SECONDS = 3.0


class Follower:
    """The versions in service, kept equal to the champions of one environment and their rollouts.

    A thread asks the registry every *seconds* with two queries. A version that cannot be loaded is refused and
    the one before serves on (of a challenger's keys: the champion); a registry that does not answer changes nothing
    either.

    Parameters
    ----------
    models : collection of str, optional
        Follow these only; default: every model that has a champion.
    make_batcher : callable
        Gives the queue of a version that begins to serve.
    on_retired : callable
        Is told each version that serves no more.
    online : OnlineStore, optional
        Where the newest values of feature views are looked up.
    read_key : callable, optional
        Gives the key under which personal values are hashed.
    admit : callable, optional
        Reads the manifest of a version that may be loaded here, and raises for one that may not; default: all may.
    compiled : bool, default=False
        Answer by a version's compiled form, where it has one.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        models: Collection[str] | None,
        seconds: float,
        trusted: Collection[str],
        make_batcher: Callable[[Scorer, int], Batcher],
        on_retired: Callable[[str, int], None],
        online: OnlineStore | None = None,
        read_key: Callable[[], bytes] | None = None,
        admit: Callable[[ModelVersion], ModelManifest] | None = None,
        compiled: bool = False,
    ) -> None:
        self._registry = registry
        self._compiled = compiled
        self._models = None if models is None else frozenset(models)
        self._seconds = seconds
        self._trusted = tuple(trusted)
        self._make_batcher = make_batcher
        self._on_retired = on_retired
        self._online = online
        self._read_key = read_key
        self._admit = admit or partial(read_version, keys=None)
        self._served: dict[str, Served] = {}
        self._refused: dict[str, Refused] = {}
        self._rollouts: dict[str, RunningRollout] = {}
        self._refused_challengers: dict[tuple[str, int], Refused] = {}
        self._trouble: str | None = None
        self._asked_at: float | None = None
        self._has_looked = False
        self._background = Background(self._follow, name="everfit-follower")

    def start(self) -> None:
        """Begin to follow, in a thread of its own."""
        self._background.start()

    def stop(self) -> None:
        """Stop following; what is loaded stays. A thread that waits for a lost database is not waited for."""
        self._background.stop()

    @property
    def served(self) -> dict[str, Served]:
        """The versions in service, by model."""
        return dict(self._served)

    @property
    def refused(self) -> dict[str, Refused]:
        """The champions that could not be loaded, by model."""
        return dict(self._refused)

    @property
    def rollouts(self) -> dict[str, RunningRollout]:
        """The rollouts that are followed, by model."""
        return dict(self._rollouts)

    @property
    def trouble(self) -> str | None:
        """Why the registry cannot be read at present, or None."""
        asked_at = self._asked_at
        if self._trouble is None and asked_at is not None and time.monotonic() - asked_at > _PATIENCE_SECONDS:
            return "it does not answer"
        return self._trouble

    @property
    def has_looked(self) -> bool:
        """Whether every champion of one look at the registry has been loaded or refused."""
        return self._has_looked

    def find(self, model: str) -> Served | None:
        """Return the version of a model that is in service."""
        return self._served.get(model)

    def find_rollout(self, model: str) -> RunningRollout | None:
        """Return the rollout of a model beside the version in service, unless it is against another one."""
        rollout, served = self._rollouts.get(model), self._served.get(model)
        if rollout is None or served is None or rollout.state.champion != served.number:
            return None
        return rollout

    def poll(self) -> None:
        """Look once where champions and rollouts stand, and load what has moved."""
        self._asked_at = time.monotonic()
        try:
            champions, rollouts = self._read_registry()
        except Exception as error:
            if self._trouble is None:
                _log.warning("the registry cannot be read, what is loaded serves on: %s", error)
            self._trouble = f"{type(error).__name__}"
            return
        finally:
            self._asked_at = None
        if self._trouble is not None:
            _log.info("the registry can be read again")
            self._trouble = None
        if not self._has_looked:
            # Before the first answer: a restart must not give anybody another arm for a moment.
            for rollout in rollouts.values():
                self._follow_rollout(rollout)
        for model, number in champions.items():
            if self._is_due(model, number):
                self._follow_to(model, number)
        for model in [*self._rollouts]:
            if model not in rollouts:
                self._leave_rollout(model)
        for rollout in rollouts.values():
            self._follow_rollout(rollout)
        self._has_looked = True

    def _read_registry(self) -> tuple[dict[str, int], dict[str, Rollout]]:
        query = select(Alias.model, Alias.number).where(
            Alias.environment == self._registry.environment, Alias.alias == CHAMPION
        )
        with self._registry.database.read() as session:
            found: dict[str, int] = dict(session.exec(query).all())
            running = list_running(session, self._registry.environment)
        champions = {model: number for model, number in found.items() if self._models is None or model in self._models}
        return champions, {each.model: each for each in running if each.model in champions}

    def _is_due(self, model: str, number: int) -> bool:
        served, refused = self._served.get(model), self._refused.get(model)
        if served is not None and served.number == number:
            self._refused.pop(model, None)
            return False
        return refused is None or refused.number != number or refused.is_due

    def _follow_to(self, model: str, number: int) -> None:
        before = self._served.get(model)
        try:
            served = self._find_challenger(model, number) or self._load(model, number)
        except Exception as error:
            self._refuse(model, number, error)
            return
        self._served[model] = served
        self._refused.pop(model, None)
        _log.info(
            "model %r: version %d serves%s",
            model,
            number,
            "" if before is None else f", version {before.version.number} is retired",
        )
        if before is not None:
            self._on_retired(model, before.version.number)

    def _load(self, model: str, number: int) -> Served:
        with self._registry.database.read() as session:
            version = find_version(session, model, number)
        if version is None:
            raise EverfitError(f"model {model!r} has no version {number}, although its champion is said to be that")
        manifest = self._admit(version)
        scorer = load_scorer(
            self._registry.artifacts,
            manifest,
            trusted=self._trusted,
            compiled=self._compiled,
            personal_key=self._read_key() if self._read_key and has_personal(manifest.contract) else None,
        )
        scorer.lookup = open_lookup(
            manifest.plan.views, time_column=manifest.time, online=self._online, registry=self._registry
        )
        if not scorer.is_row_wise:
            _log.warning(
                "model %r version %d answers a row differently when other rows come with it, so its requests are "
                "scored one by one; mend its feature functions to look at each row alone",
                model,
                number,
            )
        return Served(version, scorer, self._make_batcher(scorer, number), utc_now())

    def _refuse(self, model: str, number: int, error: Exception) -> None:
        last = self._refused.get(model)
        refused = Refused.after(error, number, last)
        if last is None or (last.number, last.reason) != (number, refused.reason):
            before = self._served.get(model)
            serves_on = "nothing serves" if before is None else f"version {before.version.number} serves on"
            _log.error("model %r: version %d is refused, %s: %s", model, number, serves_on, refused.reason)
        self._refused[model] = refused

    def _find_challenger(self, model: str, number: int) -> Served | None:
        rollout = self._rollouts.get(model)
        return None if rollout is None else rollout.challengers.get(number)

    def _follow_rollout(self, state: Rollout) -> None:
        before = self._rollouts.get(state.model)
        if before is not None and before.state.id != state.id:
            self._leave_rollout(state.model, keep=state.challengers)
        challengers, refused = dict[int, Served](), dict[int, str]()
        for number in state.challengers:
            served = (before.challengers.get(number) if before else None) or self._load_challenger(state, number)
            if served is not None:
                challengers[number] = served
            elif (why := self._refused_challengers.get((state.model, number))) is not None:
                refused[number] = why.reason
        self._rollouts[state.model] = RunningRollout.of(state, challengers, refused)
        if before is None or before.state.revision != state.revision:
            shares = ", ".join(f"version {number}: {share:.1%}" for number, share in state.shares.items())
            _log.info("model %r: %s %s at %s", state.model, state.kind, state.id, shares)

    def _load_challenger(self, state: Rollout, number: int) -> Served | None:
        key = (state.model, number)
        last = self._refused_challengers.get(key)
        if last is not None and not last.is_due:
            return None
        try:
            served = self._load(state.model, number)
        except Exception as error:
            refused = self._refused_challengers[key] = Refused.after(error, number, last)
            if last is None or last.reason != refused.reason:
                told = "model %r: version %d is refused, the champion answers its share: %s"
                _log.error(told, state.model, number, refused.reason)
            return None
        self._refused_challengers.pop(key, None)
        return served

    def _leave_rollout(self, model: str, *, keep: Collection[int] = ()) -> None:
        left = self._rollouts.pop(model)
        served = self._served.get(model)
        for number in left.state.challengers:
            self._refused_challengers.pop((model, number), None)
            if number in left.challengers and number not in keep and (served is None or served.number != number):
                self._on_retired(model, number)
        _log.info("model %r: %s %s is over", model, left.state.kind, left.state.id)

    def _follow(self) -> None:
        while not self._background.is_stopping:
            self.poll()
            self._background.sleep(self._seconds)
