"""The jobs of a backtest, as documents that any process can do: a stretch of one policy's walk, accounts, hindsight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from base.artifacts import ArtifactStore
from base.atomic_files import without_syncing, write_atomically
from base.fingerprint import digest_document
from base.model_files.kept import KeptModels, find_kept_models, keeping_models
from base.pipeline import Pipeline
from base.references import Reference
from base.rows.kept import KeptRows, keeping_rows
from base.settings import Settings
from monitoring.pnl import ProfitAndLoss
from registry.store import open_registry
from tasks.backtest.accounts import account, describe_trainings
from tasks.backtest.answers import Answers
from tasks.backtest.history import HistoryDocument
from tasks.backtest.oracle import cut_stretches, stretch_losses
from tasks.backtest.policies import Policy
from tasks.backtest.result import ReplayedTraining
from tasks.backtest.walk import Ground, Walk
from tasks.backtest.walk_state import WalkState
from tasks.kept_fits import KeptFits, keeping_fits

HISTORY = "history.json"
"""Under this name the history lies in a backtest's folder."""


@dataclass(frozen=True)
class Place:
    """Where a backtest keeps what it has done, and for whom it is done.

    Parameters
    ----------
    folder : Path
        All processes that work for one backtest share it.
    pipeline : Pipeline
        As the definition has it.
    """

    folder: Path
    pipeline: Pipeline
    settings: Settings
    shares_fits: bool = True


class Job(Reference):
    """One piece of work.

    ``walk``: take the steps of a policy before those of window ``until``; ``account``: say what its trainings brought;
    ``hindsight``: say what the versions ``first`` to ``last`` of a policy lose on all stretches after their promotion.
    """

    kind: Literal["walk", "account", "hindsight"]
    policy: Policy
    price: float
    until: int = 0
    first: int = 0
    last: int = 0


class JobResult(Reference):
    """What came of a job: how many windows the policy has behind it, or figures; and how many fits that took."""

    n_windows: int = 0
    trainings: tuple[ReplayedTraining, ...] = ()
    account: ProfitAndLoss | None = None
    losses: tuple[tuple[float, ...], ...] = ()
    n_fits: int = 0
    n_reused: int = 0
    fit_seconds: float = 0.0


def do_job(place: Place, job: Job) -> JobResult:
    """Do a job in this process; what a walk has reached is kept in the folder.

    Raises
    ------
    ArgumentError
        If no first champion can be trained.
    """
    with _working(place, job.policy) as (ground, fits):
        before = fits.n_fits, fits.n_reused, fits.seconds
        result = _DO[job.kind](place, ground, job)
        return result.model_copy(
            update={
                "n_fits": fits.n_fits - before[0],
                "n_reused": fits.n_reused - before[1],
                "fit_seconds": fits.seconds - before[2],
            }
        )


def read_state(place: Place, job: Job) -> WalkState | None:
    """Read how far a policy's walk has come; None where it has not begun, or what was written cannot be read."""
    try:
        return WalkState.model_validate_json(_state_file(place, job).read_bytes())
    except (OSError, ValueError):
        return None


def artifacts_of(place: Place) -> ArtifactStore:
    """Open the backtest's own store of rows and models."""
    return ArtifactStore(str(place.folder / "artifacts"))


def _walk(place: Place, ground: Ground, job: Job) -> JobResult:
    walk = Walk(job.policy, job.policy.apply(place.pipeline, price=job.price), ground, read_state(place, job))
    # What a process that dies takes with it is computed again from where the walk was written last.
    with without_syncing():
        walk.begin()
        walk.go(walk.steps_before(job.until))
    state = walk.state.model_copy(update={"n_windows": job.until})
    _write_models(state, ground)
    write_atomically(_state_file(place, job), state.model_dump_json().encode())
    return JobResult(n_windows=job.until)


def _write_models(state: WalkState, ground: Ground) -> None:
    """Write the models that others will ask for: of who has served, and the last one's sibling."""
    kept = find_kept_models()
    if kept is None:
        return
    for reign in state.reigns:
        kept.write(reign.load(ground.artifacts).model_file)
    sibling = state.reigns[-1].load(ground.artifacts).sibling
    if sibling is not None:
        kept.write(sibling.model_file)
    kept.let_go()


def _account(place: Place, ground: Ground, job: Job) -> JobResult:
    state = read_state(place, job)
    if state is None:
        return JobResult()
    told = account(state, ground.history, ground.answers, ground.artifacts, price=job.price)
    return JobResult(account=told, trainings=describe_trainings(state, told))


def _hindsight(place: Place, ground: Ground, job: Job) -> JobResult:
    state = read_state(place, job)
    if state is None:
        return JobResult()
    spans = ground.history.spans
    stretches = cut_stretches(spans, [reign.since for reign in state.reigns])
    rows = [
        tuple(stretch_losses(reign, stretches, spans, ground.history, ground.answers, ground.artifacts))
        for reign in state.reigns[job.first : job.last]
    ]
    return JobResult(losses=tuple(rows))


_DO = {"walk": _walk, "account": _account, "hindsight": _hindsight}


def _state_file(place: Place, job: Job) -> Path:
    told = {"policy": job.policy.model_dump(mode="json"), "price": job.price}
    return place.folder / "walks" / f"{digest_document(told)[:24]}.json"


class _Bench:
    """What one process keeps from job to job."""

    def __init__(self, place: Place) -> None:
        artifacts = artifacts_of(place)
        document = HistoryDocument.model_validate_json((place.folder / HISTORY).read_bytes())
        history = document.open(place.pipeline, artifacts)
        trusted = place.settings.trusted_types
        self.place = place
        self.rows = KeptRows()
        self.models = KeptModels(place.folder / "models", trusted=trusted)
        self.fits = KeptFits(place.folder / "fits", is_sharing=place.shares_fits)
        n_first = history.slice_of(history.spans[0]).start
        self.ground = Ground(
            history=history,
            registry=replace(open_registry(place.settings), artifacts=artifacts),
            settings=place.settings,
            answers=Answers(history, artifacts, n_first=n_first, trusted=trusted, is_whole=place.shares_fits),
            probes={},
            versions={},
            trained={} if place.shares_fits else None,
        )


_benches: dict[tuple[Path, str], _Bench] = {}


@contextmanager
def _working(place: Place, policy: Policy) -> Iterator[tuple[Ground, KeptFits]]:
    from threadpoolctl import threadpool_limits

    key = place.folder, "" if place.shares_fits else policy.name
    bench = _benches.get(key)
    if bench is None:
        # One backtest at a time: rows and models of another are let go.
        for other in [other for other in _benches if other[0] != place.folder]:
            del _benches[other]
        bench = _benches[key] = _Bench(place)
    with ExitStack() as stack:
        stack.enter_context(keeping_fits(bench.fits))
        stack.enter_context(threadpool_limits(place.settings.fit_threads))
        if place.shares_fits:
            stack.enter_context(keeping_models(bench.models))
            stack.enter_context(keeping_rows(bench.rows))
        yield bench.ground, bench.fits
