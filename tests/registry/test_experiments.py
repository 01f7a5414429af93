"""Experiments: written once for each run, listed best first."""

from __future__ import annotations

from base.artifacts import Artifact
from base.candidates import Candidate, Candidates, RacedWindow, WindowChoice
from base.train_spec import TrainingWindow
from registry.experiments import FailedFits, list_experiments, record_experiments
from registry.store import Registry
from tests.registry.samples import a_pipeline, a_version

_MODEL = Artifact(digest="ab12", size_bytes=1)


def _candidate(loss: float | None, **more: object) -> Candidate:
    return Candidate.model_validate({"estimator": "a.B", "parameters": {"x": loss}, "validation_loss": loss} | more)


def _run(registry: Registry) -> str:
    pipeline = a_pipeline(registry)
    with registry.database.write() as session:
        return a_version(session, pipeline).run_id


def test_a_resumed_run_writes_its_experiments_once_and_the_best_is_first(any_registry: Registry) -> None:
    run = _run(any_registry)
    fitted = Candidates(
        candidates=(
            _candidate(0.1, share=0.3),
            _candidate(None, error="ArithmeticError: no luck"),
            _candidate(0.5),
            _candidate(0.4),
            _candidate(float("inf")),
        ),
        chosen=3,
        model=_MODEL,
        seed=7,
        window=WindowChoice(
            window=TrainingWindow(rows=50),
            reason="won",
            raced=(
                RacedWindow(window=TrainingWindow(), n_rows=100, losses=(0.6,)),
                RacedWindow(window=TrainingWindow(rows=50), n_rows=50, losses=(0.5,)),
            ),
        ),
    )

    for _ in range(2):
        with any_registry.database.write() as session:
            record_experiments(session, run_id=run, pipeline="churn", fitted=fitted)

    with any_registry.database.read() as session:
        found = list_experiments(session, pipeline="churn", run_id=run)
    assert [(each.number, each.kind, each.is_chosen) for each in found] == [
        (4, "candidate", True),
        (3, "candidate", False),
        (5, "candidate", False),
        (1, "candidate", False),
        (2, "candidate", False),
        (7, "window", True),
        (6, "window", False),
    ]
    assert {each.seed for each in found} == {7}
    assert found[0].window == "50 rows"


def test_a_training_of_which_all_failed_is_recorded_too(registry: Registry) -> None:
    run = _run(registry)

    with registry.database.write() as session:
        failed = FailedFits((_candidate(None, error="no luck"),), seed=0)
        record_experiments(session, run_id=run, pipeline="churn", fitted=failed)

    with registry.database.read() as session:
        (found,) = list_experiments(session)
    assert (found.error, found.is_chosen) == ("no luck", False)
