"""How a step is executed: reused by content, recorded, and resumed where a killed run broke."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from sqlmodel import Session

from base.artifacts import Artifact
from base.definition import read_pipeline
from base.errors import DefinitionError, EverfitError
from base.fingerprint import digest_document, digest_environment, digest_package
from base.pipeline import Pipeline
from base.settings import Settings
from base.user_code import UserCode
from registry.pipelines import digest_pipeline
from registry.runs import StepKey, explain_miss, find_step, record_step, renew_lease
from registry.store import Registry, open_registry
from registry.tables import Run
from tasks.frames import give_back_memory

_Output = TypeVar("_Output", bound=BaseModel)

# All that a step can call. A list of modules for each step would be wrong the day somebody adds an import.
_FLOORS = ("base", "features", "registry", "serving", "monitoring", "tasks")


class RunReference(BaseModel):
    """What a step needs to find its run from any process: the run, its definition, its registry."""

    model_config = ConfigDict(frozen=True)

    id: str
    owner: str
    definition: Path
    pipeline_version: str
    home: Path


@dataclass(frozen=True)
class RunContext:
    """A run with everything its steps work with."""

    run: RunReference
    settings: Settings
    registry: Registry
    pipeline: Pipeline
    code: UserCode


@lru_cache(maxsize=4)
def open_context(run: RunReference) -> RunContext:
    """Open a run's registry and read its definition; once in each process.

    Raises
    ------
    DefinitionError
        If the definition, or a file beside it, was changed after the run began.
    """
    settings = Settings(home=run.home)
    pipeline = read_pipeline(run.definition)
    if digest_pipeline(pipeline) != run.pipeline_version:
        raise DefinitionError(
            f"pipeline {pipeline.name!r} (its definition, contract or code) was changed after run {run.id} began, and "
            "a run has one definition from its first step to its last; run again",
            file=str(run.definition),
        )
    return RunContext(run, settings, open_registry(settings), pipeline, UserCode(pipeline.code))


def execute_step(
    context: RunContext,
    step: str,
    work: Callable[[], _Output],
    *,
    output: type[_Output],
    parameters: Mapping[str, Any],
    inputs: Mapping[str, str],
    log: logging.Logger | logging.LoggerAdapter[logging.Logger],
    also: Callable[[Session], None] | None = None,
) -> _Output:
    """Do a step's work, or take over the result that equal work has given before.

    Work is equal when Everfit's own code, the step's parameters, the digests of its inputs and the installed
    libraries are. The log says which of them moved when there is nothing to reuse.

    Parameters
    ----------
    parameters : mapping
        JSON: what the definition says about the step, with the digest of the user's code where it is run.
    inputs : mapping of name to digest
    also : callable, optional
        Writes what else the executed step knows into the registry, in the transaction that records the step.

    Raises
    ------
    LeaseLost
        If another process has taken the run over.
    """
    key = StepKey(
        code=digest_own_code(),
        parameters=digest_document(dict(parameters)),
        inputs=dict(inputs),
        environment=digest_environment(),
    )
    database = context.registry.database
    with database.write() as session:
        lease = timedelta(seconds=context.settings.lease_seconds)
        renew_lease(session, context.run.id, owner=context.run.owner, lease=lease, step=step)
    with database.read() as session:
        found = find_step(session, context.pipeline.name, step, key)
        why = explain_miss(session, context.pipeline.name, step, key) if found is None else ""
    started = time.perf_counter()

    def record(session: Session, result: dict[str, Any], reused_from: int | None) -> None:
        run = session.get_one(Run, context.run.id)
        seconds = time.perf_counter() - started
        record_step(session, run=run, step=step, key=key, output=result, seconds=seconds, reused_from=reused_from)

    if found is not None:
        with database.write() as session:
            # Retention deletes files in such a transaction: what is there in this one is there to stay.
            if _is_complete(context, found.output):
                record(session, found.output, found.reused_from or found.id)
                log.info("%s: reused from run %s (same code, parameters, inputs and libraries)", step, found.run_id)
                return output.model_validate(found.output)
    log.info("%s: executed (%s)", step, why or "a file of its stored result is gone")
    result = work()
    give_back_memory()
    with database.write() as session:
        if also is not None:
            # Whoever lost the run must leave nothing behind that the one who took it over would build upon.
            renew_lease(session, context.run.id, owner=context.run.owner, lease=lease)
            also(session)
        record(session, result.model_dump(mode="json"), None)
    return result


def digest_own_code() -> str:
    """Digest Everfit's own code, as far as a step can call it."""
    return digest_document([digest_package(floor) for floor in _FLOORS])


def _is_complete(context: RunContext, output: object) -> bool:
    return all(artifact in context.registry.artifacts for artifact in _artifacts(output))


def _artifacts(document: object) -> list[Artifact]:
    if isinstance(document, Mapping):
        if document.keys() == {"digest", "size_bytes", "suffix"}:
            return [Artifact.model_validate(document)]
        return [artifact for value in document.values() for artifact in _artifacts(value)]
    if isinstance(document, list):
        return [artifact for value in document for artifact in _artifacts(value)]
    return []


def is_transient(_task: object, _task_run: object, state: Any) -> bool:
    """Tell Prefect which failures a second try may cure: not those that Everfit raised on purpose."""
    try:
        state.result()
    except EverfitError:
        return False
    except Exception:
        return True
    return False
