"""Follow the champions: load what an alias has moved to beside what serves, prove it, then swap."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlmodel import select

from base.errors import EverfitError
from base.rows.personal import has_personal
from base.times import utc_now
from features.online_store import OnlineStore
from registry.manifest import ModelManifest
from registry.models import CHAMPION, find_version
from registry.signed_versions import read_version
from registry.store import Registry
from registry.tables import Alias, ModelVersion
from serving.scoring.batcher import Batcher
from serving.scoring.scorer import Scorer, load_scorer
from serving.scoring.view_lookup import open_lookup

_log = logging.getLogger(__name__)

# What fails to load may load later (a store that was away, memory that was short), but seldom soon.
_FIRST_RETRY_SECONDS = 10.0
_LAST_RETRY_SECONDS = 600.0


@dataclass(frozen=True)
class Served:
    """A version in service; a request that began with it ends with it."""

    version: ModelVersion
    scorer: Scorer
    batcher: Batcher
    loaded_at: datetime

    @property
    def manifest(self) -> ModelManifest:
        """What the version carries."""
        return self.scorer.manifest


@dataclass(frozen=True)
class Refused:
    """A champion that does not serve, and why."""

    number: int
    reason: str
    retry_at: float
    wait_seconds: float


class Follower:
    """The versions in service, kept equal to the champions of one environment.

    A thread asks the registry every *seconds* with one query. A version that cannot be loaded is refused and
    the one before serves on; a registry that does not answer changes nothing either.

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
    ) -> None:
        self._registry = registry
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
        self._trouble: str | None = None
        self._has_looked = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="everfit-follower", daemon=True)

    def start(self) -> None:
        """Begin to follow, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following; what is loaded stays. A thread that waits for a lost database is not waited for."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    @property
    def served(self) -> dict[str, Served]:
        """The versions in service, by model."""
        return dict(self._served)

    @property
    def refused(self) -> dict[str, Refused]:
        """The champions that could not be loaded, by model."""
        return dict(self._refused)

    @property
    def trouble(self) -> str | None:
        """Why the registry cannot be read at present, or None."""
        return self._trouble

    @property
    def has_looked(self) -> bool:
        """Whether every champion of one look at the registry has been loaded or refused."""
        return self._has_looked

    def find(self, model: str) -> Served | None:
        """Return the version of a model that is in service."""
        return self._served.get(model)

    def poll(self) -> None:
        """Look once where the champions stand, and load what has moved."""
        try:
            champions = self._read_champions()
        except Exception as error:
            if self._trouble is None:
                _log.warning("the registry cannot be read, what is loaded serves on: %s", error)
            self._trouble = f"{type(error).__name__}"
            return
        if self._trouble is not None:
            _log.info("the registry can be read again")
            self._trouble = None
        for model, number in champions.items():
            if self._is_due(model, number):
                self._follow_to(model, number)
        self._has_looked = True

    def _read_champions(self) -> dict[str, int]:
        query = select(Alias.model, Alias.number).where(
            Alias.environment == self._registry.environment, Alias.alias == CHAMPION
        )
        with self._registry.database.read() as session:
            found: dict[str, int] = dict(session.exec(query).all())
        return {model: number for model, number in found.items() if self._models is None or model in self._models}

    def _is_due(self, model: str, number: int) -> bool:
        served, refused = self._served.get(model), self._refused.get(model)
        if served is not None and served.version.number == number:
            self._refused.pop(model, None)
            return False
        return refused is None or refused.number != number or time.monotonic() >= refused.retry_at

    def _follow_to(self, model: str, number: int) -> None:
        before = self._served.get(model)
        try:
            served = self._load(model, number)
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
        reason = str(error) if isinstance(error, EverfitError) else f"{type(error).__name__}: {error}"
        last = self._refused.get(model)
        is_known = last is not None and last.number == number
        if last is None or not is_known or last.reason != reason:
            before = self._served.get(model)
            serves_on = "nothing serves" if before is None else f"version {before.version.number} serves on"
            _log.error("model %r: version %d is refused, %s: %s", model, number, serves_on, reason)
        wait = min(last.wait_seconds * 2, _LAST_RETRY_SECONDS) if last and is_known else _FIRST_RETRY_SECONDS
        self._refused[model] = Refused(number, reason, time.monotonic() + wait, wait)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self.poll()
            self._stopping.wait(self._seconds)
