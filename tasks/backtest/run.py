"""A backtest whole: the history is read once, policies walk it side by side, and the result says which one to take."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from base.atomic_files import write_atomically
from base.fingerprint import digest_document
from base.metrics import LOSS_NAMES
from base.pipeline import Pipeline
from base.settings import Settings
from monitoring.policies.prices import estimate_price
from registry.pipelines import digest_pipeline
from registry.store import open_registry
from tasks.backtest.comparison import compare_policies
from tasks.backtest.course import Course, Progress
from tasks.backtest.history import HistoryDocument, read_history
from tasks.backtest.jobs import HISTORY, Job, Place, artifacts_of, read_state
from tasks.backtest.oracle import Schedule
from tasks.backtest.policies import NEVER, Policy, choose_policies
from tasks.backtest.recommendation import recommend
from tasks.backtest.request import BacktestProgress, BacktestRequest
from tasks.backtest.result import BacktestResult
from tasks.backtest.workers import Workers, local_workers
from tasks.execution import digest_own_code

_PRICE = "price.json"
_UNITS = {
    "classification": "every row answered wrong",
    "regression": "as far off as the median of what was known first",
}
_NOTES = (
    "the history's good rows are served: what a live service would have refused is not among them",
    "a training takes no time, and nothing is asked of its package's speed, size and memory",
    "watches of the definition (new_data, staleness) look once a window, when its labels have matured",
)


def run_backtest(
    pipeline: Pipeline,
    settings: Settings,
    request: BacktestRequest,
    *,
    progress: Progress = lambda _: None,
    workers: Callable[[Settings], AbstractContextManager[Workers]] = local_workers,
) -> BacktestResult:
    """Walk a pipeline's history through policies, and compare what they lost and cost.

    What was done is kept under the home folder: the same backtest again goes on where this one was killed.

    Raises
    ------
    ArgumentError
        If nothing says when rows happened, the history is too short, or no first champion can be trained.
    DataRefused, DefinitionError, UserCodeError
        As extraction and validation raise them.
    """
    started = time.monotonic()
    policies = choose_policies(pipeline, request.policies)
    registry = open_registry(settings)
    place = _open_place(pipeline, settings, request)
    progress(BacktestProgress(0, 1, "reading the history"))
    file = place.folder / HISTORY
    if not file.is_file():
        artifacts = artifacts_of(place)
        read = read_history(pipeline, registry, settings, artifacts, start=request.start, stop=request.stop)
        write_atomically(file, read.model_dump_json().encode())
    document = HistoryDocument.model_validate_json(file.read_bytes())
    deadline = None if request.budget is None else started + request.budget
    with workers(settings) as hands:
        price, told = _settle_price(pipeline, request, place, document, hands)
        course = Course(place, document, price, hands, progress, deadline, started)
        is_walked = course.walk(policies)
        is_complete = is_walked and course.account(policies)
        oracle = course.look_back(policies) if is_complete else None
    return _conclude(course, policies, oracle, price_tells=told, is_complete=is_complete)


def _open_place(pipeline: Pipeline, settings: Settings, request: BacktestRequest) -> Place:
    """Find the folder of this backtest; those of other definitions, code or stretches of the pipeline are let go."""
    told = {
        "pipeline": digest_pipeline(pipeline),
        "code": digest_own_code(),
        "start": None if request.start is None else request.start.isoformat(),
        "stop": None if request.stop is None else request.stop.isoformat(),
        "shares_fits": request.shares_fits,
    }
    folder = settings.home.absolute() / "backtests" / pipeline.name / "work" / digest_document(told)[:16]
    if folder.parent.is_dir():
        for other in folder.parent.iterdir():
            if other != folder or request.again:
                shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return Place(folder, pipeline, settings, request.shares_fits)


def _settle_price(
    pipeline: Pipeline, request: BacktestRequest, place: Place, document: HistoryDocument, workers: Workers
) -> tuple[float, str]:
    """Say what a training costs, and who says so."""
    declared = pipeline.spec.triggers.price
    if request.price is not None:
        return request.price, "as asked"
    if declared != "auto":
        return float(declared), "as the definition says"
    file = place.folder / _PRICE
    if not file.is_file():
        never = next(policy for policy in choose_policies(pipeline) if policy.name == NEVER)
        first = Job(kind="walk", policy=never, price=0.0, until=0)
        workers.submit(place, first).result()
        state = read_state(place, first)
        seconds = [] if state is None else [state.done[0].seconds]
        lengths = [(stop - start).total_seconds() for start, stop in document.spans]
        price = estimate_price(seconds, seconds_of_batch=sum(lengths) / len(lengths))
        write_atomically(file, json.dumps(price).encode())
    return float(json.loads(file.read_bytes())), "from what the first training took to compute"


def _conclude(
    course: Course,
    policies: Sequence[Policy],
    oracle: Schedule | None,
    *,
    price_tells: str,
    is_complete: bool,
) -> BacktestResult:
    document, pipeline = course.document, course.place.pipeline
    results = compare_policies([course.walked(policy) for policy in policies], price=course.price, oracle=oracle)
    advice = recommend(results, price=course.price)
    spans, delay = document.spans, pipeline.spec.extract.label_delay
    notes = [*document.notes, *_NOTES]
    if not is_complete:
        notes.insert(0, f"the budget ended when all policies had walked {results[0].n_windows} of {len(spans)} windows")
    return BacktestResult(
        pipeline=pipeline.name,
        definition=str(pipeline.file),
        start=spans[0][0],
        stop=spans[-1][1],
        window=pipeline.spec.model_dump(mode="json")["monitor"]["window"],
        label_delay=delay,
        task=pipeline.spec.task,
        unit=_UNITS[pipeline.spec.task],
        metric_name=LOSS_NAMES[pipeline.spec.task],
        price=course.price,
        price_tells=price_tells,
        n_rows=document.validated.n_rows,
        n_windows=len(spans),
        n_judged=results[0].n_windows,
        policies=tuple(results),
        oracle_cost=None if oracle is None else oracle.cost,
        oracle_trainings=() if oracle is None else oracle.chosen,
        recommended=advice.name,
        why=advice.why,
        yaml=advice.yaml,
        notes=tuple(notes),
        n_fits=course.n_fits,
        n_fits_reused=course.n_reused,
        seconds=time.monotonic() - course.started,
        fit_seconds=course.fit_seconds,
        is_complete=is_complete,
    )
