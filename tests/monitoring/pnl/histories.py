"""A pipeline that was trained, served and labelled in a world that turns round: who was right is wrong after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from base.references import Trigger
from base.settings import Settings
from base.times import utc_now
from registry.models import roll_back
from registry.runs import StepKey, record_step
from registry.store import open_registry
from registry.tables import Run
from serving.log.batches import SHADOW, LoggedBatch
from serving.log.prediction_log import PredictionLog
from serving.scoring.loaded import load_scorer
from tests.monitoring.traffic import serve
from tests.pipelines import Trained, define, make_pipeline, make_trips, train

PRICE = 0.2


class PlayedPipeline:
    """The trips' pipeline in a home of its own, with windows of a week and a declared price."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.settings = Settings(home=folder / "home")
        self._folder = folder / "trips"
        self._definition = define(**({"triggers": {"price": PRICE}} | sections))

    def train(
        self, start: str, *, turned: bool = False, trigger: Trigger = "person", seconds: float = 60, n_rows: int = 400
    ) -> Trained:
        """Train on trips from *start* on; the run is charged with *seconds* of fitting."""
        trips = turn(make_trips(n_rows, start=start)) if turned else make_trips(n_rows, start=start)
        trained = train(make_pipeline(self._folder, trips, self._definition), self.settings, trigger=trigger)
        registry = open_registry(self.settings)
        with registry.database.write() as session:
            run = session.get_one(Run, trained.run_id)
            key = StepKey(code="c", parameters=run.id, inputs={}, environment="e")
            record_step(session, run=run, step="train", key=key, output={}, seconds=seconds)
        registry.database.close()
        return trained

    def serve(self, trained: Trained, start: str, n_rows: int, *, turned: bool = False, labelled: bool = True) -> None:
        """Answer trips by a version, one an hour, and tell what came true."""
        trips = make_trips(n_rows, start=start, seed=7)
        registry = open_registry(self.settings)
        serve(
            self.settings.home,
            registry,
            trained.manifest,
            turn(trips) if turned else trips,
            number=trained.promotion.version,
            labelled=labelled,
        )
        registry.database.close()

    def roll_back(self) -> None:
        """Go back to the champion before."""
        registry = open_registry(self.settings)
        with registry.database.write() as session:
            roll_back(session, "prod", "trips", actor="ana", reason="complaints from Newark")
        registry.database.close()

    def shadow(self, trained: Trained, start: str, n_rows: int, *, of_version: int) -> None:
        """Log what a version answers, unseen, to trips that another one has answered."""
        registry = open_registry(self.settings)
        manifest = trained.manifest
        trips = make_trips(n_rows, start=start, seed=7)
        inputs = trips[list(manifest.plan.inputs)]
        answers = load_scorer(registry.artifacts, manifest).predict_frame(inputs)[:, 1].tolist()
        # As the service wrote them (tests.monitoring.traffic), so that the labels are theirs too.
        ids = [f"{of_version}-{moment.isoformat()}" for moment in trips["at"]]
        rows = [{"at": moment.isoformat()} for moment in trips["at"]]
        log = PredictionLog(self.settings.home, segment_rows=1_000_000)
        log.append(manifest, trained.promotion.version, [LoggedBatch(ids, rows, answers, utc_now(), arm=SHADOW)])
        log.close()
        registry.database.close()


def turn(trips: pd.DataFrame) -> pd.DataFrame:
    """The same trips in a world in which the short ones are late."""
    return trips.assign(late=~trips["late"])
