"""Training as of a moment of the past: the steps of a run, on what was known then."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from datetime import datetime

from base.errors import EverfitError
from base.fingerprint import digest_document
from base.judged import Judged
from base.model_files.kept import find_kept_models
from base.pipeline import Pipeline
from base.references import TrainingData, Trigger
from base.settings import Settings
from registry.manifest import ModelManifest
from registry.store import Registry
from tasks.backtest.history import History
from tasks.evaluation import evaluate_model
from tasks.folds import load_timeline
from tasks.kept_fits import find_kept_fits
from tasks.model_validation import make_refits, make_trial, validate_model
from tasks.preparation import find_seen_until, prepare_data
from tasks.refit import choose_deployed, decide_last
from tasks.scored_rows import Champion
from tasks.training import champion_race, champion_recipe, train_candidates


@dataclass(frozen=True)
class Trained:
    """What came of a training: the gate's word, and what serves from then on where it is promoted.

    ``verdict`` is *unchanged* where the rows are those of the last training, *failed* where a step could not be done;
    ``rows`` names the rows that it saw.
    """

    verdict: str
    promoted: bool
    reason: str
    seconds: float
    rows: str
    manifest: ModelManifest | None = None
    data: TrainingData | None = None


class Trainer:
    """Trains as of moments of the past, with a store of its own in the registry's place.

    Parameters
    ----------
    pipeline : Pipeline
        As the policy has it: its ``train.window`` may be another one.
    registry : Registry
        Whose artifact store is the backtest's own.
    known : mapping, optional
        What came of trainings of other policies in this process: an equal one is not done again.
    """

    def __init__(
        self,
        history: History,
        pipeline: Pipeline,
        registry: Registry,
        settings: Settings,
        known: MutableMapping[str, Trained] | None = None,
    ) -> None:
        self._known = known
        self._learning = pipeline.spec.model_dump(mode="json", exclude={"triggers", "monitor"})
        self._history = history
        self._pipeline = pipeline
        self._registry = registry
        self._settings = settings

    def train(
        self, at: datetime, *, trigger: Trigger, champion: Champion | None, revision: int, last_rows: str | None
    ) -> Trained:
        """Prepare, train, evaluate, let the gate decide, and fit on all rows: as a run at that moment does.

        What a run proves in a clean process (that the package loads and answers in time) is taken for granted, and no
        fit is ended for the time it takes.
        """
        started, spared = time.perf_counter(), _spared()
        validated = self._history.known(at, self._registry.artifacts)
        rows = validated.good.digest
        if not validated.n_rows:
            return Trained("failed", False, "no row's target was known by then", 0.0, rows)
        if rows == last_rows:
            return Trained("unchanged", False, "nothing new since the last training", 0.0, rows)
        key = self._name(rows, trigger, champion, revision)
        if self._known is not None and (before := self._known.get(key)) is not None and _is_there(before):
            return before
        try:
            trained = self._train(at, trigger, champion, revision)
        except EverfitError as error:
            # As live, where the run fails and the champion stays.
            trained = Trained("failed", False, str(error), 0.0, rows)
        # A training costs what it takes by itself, whatever another policy has fitted for it.
        seconds = time.perf_counter() - started + _spared() - spared
        trained = replace(trained, seconds=seconds, rows=rows)
        if self._known is not None:
            self._known[key] = trained
        return trained

    def _name(self, rows: str, trigger: Trigger, champion: Champion | None, revision: int) -> str:
        """Name a training by all that it depends on beside the user's code, which is the same for all."""
        told = None if champion is None else [champion.number, champion.manifest.model_dump(mode="json")]
        return digest_document([self._learning, rows, trigger, told, revision])

    def _train(self, at: datetime, trigger: Trigger, champion: Champion | None, revision: int) -> Trained:
        pipeline, artifacts, settings, code = (
            self._pipeline,
            self._registry.artifacts,
            self._settings,
            self._history.code,
        )
        spec, trusted, threads = pipeline.spec, settings.trusted_types, settings.fit_threads
        validated = self._history.known(at, artifacts)
        manifest = None if champion is None else champion.manifest
        data = prepare_data(
            validated,
            pipeline,
            artifacts,
            code=code,
            views=self._history.document.views,
            trusted=trusted,
            seen_until=find_seen_until(manifest, validated),
        )
        candidates = train_candidates(
            data,
            spec.train,
            artifacts,
            task=spec.task,
            threads=threads,
            timeline=load_timeline(data, validated.good, spec, artifacts),
            champion=champion_recipe(spec, manifest),
            past=champion_race(spec, manifest),
        )
        evaluation = evaluate_model(
            candidates, data, validated, pipeline, artifacts, champion=champion, trusted=trusted, is_told=False
        )
        known = candidates, data, validated, evaluation, spec, artifacts
        verdict = validate_model(
            evaluation,
            spec,
            artifacts,
            trigger=trigger,
            champion_revision=revision,
            refits=make_refits(*known, threads=threads),
            trial=make_trial(*known, threads=threads),
        )
        if not verdict.promote:
            return Trained(verdict.outcome, False, verdict.reason, 0.0, "")
        judged = Judged(
            snapshot=self._history.document.snapshot,
            validated=validated,
            data=data,
            candidates=candidates,
            evaluation=evaluation,
            verdict=verdict,
            trigger=trigger,
        )
        # Who never serves need prove but once that such packages answer as they did in training.
        chosen = choose_deployed(
            judged, pipeline, self._registry, code=code, settings=settings, is_proven=champion is not None
        )
        last = decide_last(judged, spec, artifacts, None, trigger, deployed=chosen.deployed)
        if not last.promote:
            return Trained(last.outcome, False, last.reason, 0.0, "")
        return Trained(last.outcome, True, last.reason, 0.0, "", chosen.manifest, data)


def _is_there(trained: Trained) -> bool:
    """Tell whether the models of a training that was done before can still be read."""
    kept, manifest = find_kept_models(), trained.manifest
    if kept is None or manifest is None:
        return True
    return all(kept.has(one.model_file) for one in (manifest, manifest.sibling) if one is not None)


def _spared() -> float:
    kept = find_kept_fits()
    return 0.0 if kept is None else kept.spared
