"""One policy's walk through the history: windows are checked, trainings asked for, ruled on, done and judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from base.artifacts import ArtifactStore
from base.errors import ArgumentError
from base.pipeline import Pipeline
from base.references import TrainingData, Trigger
from base.settings import Settings
from base.sources.arrivals import Arrivals
from monitoring.arbiter import Training, Wish, rule
from monitoring.monitored_version import MonitoredVersion
from monitoring.policies.live import PolicyOutcome
from monitoring.policies.probe import Probe
from monitoring.watches.due import Due, Seen, find_due
from registry.store import Registry
from tasks.backtest.answers import Answers
from tasks.backtest.circumstances import find_circumstances
from tasks.backtest.evidently_signal import DRIFTED_SHARE, ask_evidently
from tasks.backtest.history import History
from tasks.backtest.looking import Looker
from tasks.backtest.moments import Moment, list_moments
from tasks.backtest.policies import Policy
from tasks.backtest.result import ReplayedWindow
from tasks.backtest.trainer import Trained, Trainer
from tasks.backtest.walk_state import Done, Reign, Waiting, WalkState
from tasks.scored_rows import Champion


@dataclass
class Ground:
    """What walks in one process share."""

    history: History
    registry: Registry
    settings: Settings
    answers: Answers
    probes: dict[str, Probe]
    versions: dict[str, MonitoredVersion]
    trained: dict[str, Trained] | None = None

    @property
    def artifacts(self) -> ArtifactStore:
        """The backtest's own store."""
        return self.registry.artifacts


class Walk:
    """Walks one policy through the history; what it remembers is :attr:`state`, and nothing else.

    Parameters
    ----------
    pipeline : Pipeline
        As the policy has it (:meth:`tasks.backtest.policies.Policy.apply`).
    state : WalkState, optional
        Where another walk of the same policy has stopped.
    """

    def __init__(self, policy: Policy, pipeline: Pipeline, ground: Ground, state: WalkState | None = None) -> None:
        self._policy = policy
        self.pipeline = pipeline
        self.ground = ground
        self._trainer = Trainer(ground.history, pipeline, ground.registry, ground.settings, ground.trained)
        self._looker = Looker(
            ground.history,
            ground.answers,
            ground.artifacts,
            trusted=ground.settings.trusted_types,
            probes=ground.probes,
            versions=ground.versions,
        )
        self._moments = list_moments(ground.history, pipeline, looks=policy.looks)
        self._policy_outcome: PolicyOutcome | None = None
        self.state = WalkState() if state is None else state

    @property
    def n_steps(self) -> int:
        """How many steps the whole walk has."""
        return len(self._moments)

    def steps_before(self, window: int) -> int:
        """Count the steps that belong to the windows before one."""
        return sum(moment.window < window for moment in self._moments)

    def begin(self) -> None:
        """Train the first champion on what was known when the first window begins.

        Raises
        ------
        ArgumentError
            If that fails.
        """
        if self.state.reigns:
            return
        at = self.ground.history.spans[0][0]
        trained = self._trainer.train(at, trigger="person", champion=None, revision=0, last_rows=None)
        if not trained.promoted or trained.manifest is None or trained.data is None:
            raise ArgumentError(
                f"no first champion comes of what was known on {at:%Y-%m-%d %H:%M}: {trained.reason}\n"
                "  Let the first window begin later (--from), so that more can be learnt from before it"
            )
        training = Training(run="0", trigger="person", started_at=at, as_of=at, ended_at=at)
        first = Done(
            training=training,
            window=-1,
            verdict=trained.verdict,
            promoted=True,
            reason=trained.reason,
            seconds=trained.seconds,
            number=1,
        )
        self.state = self.state.model_copy(
            update={
                "reigns": (self._make_reign(1, at, trained.manifest.model_dump_json(), trained.data, trained),),
                "last_rows": trained.rows,
                "n_last": self.ground.history.n_known(at),
                "done": (first,),
                "windows": tuple(
                    ReplayedWindow(number=number, start=start, stop=stop, n_rows=0)
                    for number, (start, stop) in enumerate(self.ground.history.spans)
                ),
            }
        )

    def go(self, until: int) -> None:
        """Take the steps up to a number, in the order of time."""
        while self.state.n_steps < min(until, self.n_steps):
            moment = self._moments[self.state.n_steps]
            self._start_waiting(moment.at)
            if moment.kind == "schedule":
                wish = Wish(kind="schedule", reason="the schedule", occurred_at=moment.at)
                self._rule(wish, moment)
            elif moment.kind == "traffic":
                self.state = self._looker.look_at_traffic(self.state, self.pipeline, moment)
            else:
                self._look(moment)
            self.state = self.state.model_copy(update={"n_steps": self.state.n_steps + 1})

    def _look(self, moment: Moment) -> None:
        """See a window whose labels have matured, and ask for what it calls for."""
        self._note(moment, **self._looker.measure(self.state, moment))
        wish = None
        if self._policy.every is not None:
            if (moment.window + 1) % self._policy.every == 0:
                # Asked for by age: where the gate cannot tell, the fresher model is preferred.
                reason = f"{self._policy.every} windows have passed"
                wish = Wish(kind="staleness", reason=reason, occurred_at=moment.at, as_of=moment.at)
        elif self._policy.signal is not None:
            wish = self._ask_evidently(moment)
        elif self._policy.looks:
            wish = self._check(moment)
        if wish is not None:
            self._rule(wish, moment)
        for due in self._watch(moment):
            self._rule(Wish(kind=due.kind, reason=due.reason, occurred_at=moment.at), moment)

    def _watch(self, moment: Moment) -> list[Due]:
        """List the watches of the definition that are due, each once: new data, and a champion that has grown old."""
        spec, state = self.pipeline.spec.triggers, self.state
        if spec.new_data is None and spec.staleness is None:
            return []
        seen = Seen(
            moment.at,
            champion=state.reigns[-1].number,
            trained_at=state.reigns[-1].since,
            snapshot=state.last_rows,
            arrivals=Arrivals(n_rows=self.ground.history.n_known(moment.at) - state.n_last, n_bytes=None),
        )
        found = [due for due in find_due(spec, seen) if due.key not in state.keys]
        self.state = state.model_copy(update={"keys": state.keys | {due.key for due in found}})
        return found

    def _check(self, moment: Moment) -> Wish | None:
        """Check the window as the monitor does, and note what it leaves behind for the next one."""
        self.state, checked = self._looker.look_at_labels(self.state, self.pipeline, moment)
        self._policy_outcome = checked.policy
        alarms = tuple(alarm.kind for alarm in checked.judged.judgement.alarms)
        self._note(moment, outcome=checked.conclusion.outcome, alarms=alarms, reason=checked.conclusion.reason)
        asks = checked.conclusion.asks
        if asks is None:
            return None
        return Wish(kind=asks, reason=checked.conclusion.reason, occurred_at=moment.at, as_of=moment.at)

    def _ask_evidently(self, moment: Moment) -> Wish | None:
        version = self._looker.open(self.state.reigns[-1])
        features = version.build_features(self._looker.store(self.state, moment.at).traffic(*moment.span))
        share = ask_evidently(version, features)
        if share is None or share < DRIFTED_SHARE:
            return None
        reason = f"Evidently calls {share:.0%} of the columns drifted"
        return Wish(kind="drift", reason=reason, occurred_at=moment.at, as_of=moment.at)

    def _rule(self, wish: Wish, moment: Moment) -> None:
        spec = self.pipeline.spec.triggers
        ruling = rule(wish, find_circumstances(self.state, self.ground.history, wish, moment.at, spec), spec)
        self._note(moment, asked=wish.kind, ruling=ruling.outcome, reason=ruling.reason)
        outcome = self._policy_outcome
        if ruling.outcome == "suppress" and outcome is not None and wish.kind in ("performance", "drift"):
            self.state = self.state.model_copy(update={"policy": outcome.put_off().state})
        if ruling.outcome != "start":
            return
        if ruling.not_before is not None:
            waiting = Waiting(
                not_before=ruling.not_before,
                trigger=wish.kind,
                reason=wish.reason,
                window=moment.window,
                as_of=wish.as_of,
            )
            self.state = self.state.model_copy(update={"waiting": waiting})
            return
        self._train(wish.kind, moment.at, wish.as_of, moment)

    def _start_waiting(self, now: datetime) -> None:
        """Start what waited for quiet hours to end, if they have by now."""
        waiting = self.state.waiting
        if waiting is None or waiting.not_before > now:
            return
        self.state = self.state.model_copy(update={"waiting": None})
        span = self.ground.history.spans[waiting.window]
        self._train(
            waiting.trigger,
            waiting.not_before,
            waiting.as_of,
            Moment(waiting.not_before, "labels", waiting.window, span),
        )

    def _train(self, trigger: Trigger, now: datetime, as_of: datetime | None, moment: Moment) -> None:
        state = self.state
        reign = state.reigns[-1]
        seen = now if as_of is None else min(now, as_of)
        trained = self._trainer.train(
            seen,
            trigger=trigger,
            champion=Champion(reign.number, reign.load(self.ground.artifacts)),
            revision=len(state.reigns),
            last_rows=state.last_rows,
        )
        number = None
        reigns = state.reigns
        if trained.promoted and trained.manifest is not None and trained.data is not None:
            number = reign.number + 1
            made = self._make_reign(number, now, trained.manifest.model_dump_json(), trained.data, trained)
            reigns = (*reigns, made)
        done = Done(
            training=Training(run=str(len(state.done)), trigger=trigger, started_at=now, as_of=as_of, ended_at=now),
            window=moment.window,
            verdict=trained.verdict,
            promoted=trained.promoted,
            reason=trained.reason,
            seconds=trained.seconds,
            number=number,
        )
        self.state = state.model_copy(
            update={
                "reigns": reigns,
                "done": (*state.done, done),
                "last_rows": state.last_rows if trained.verdict == "failed" else trained.rows,
                "n_last": state.n_last if trained.verdict == "failed" else self.ground.history.n_known(seen),
                # The launch is over: nobody waits for a successor any more.
                "policy": state.policy.model_copy(update={"waits": None}),
            }
        )
        self._note(
            moment,
            verdict=trained.verdict,
            promoted=trained.promoted,
            reason=trained.reason,
            train_seconds=trained.seconds,
        )

    def _make_reign(self, number: int, since: datetime, manifest: str, data: TrainingData, trained: Trained) -> Reign:
        stored = self.ground.artifacts.put_bytes(manifest.encode(), suffix=".json")
        learnt = None if trained.manifest is None else trained.manifest.learnt_until
        return Reign(number=number, since=since, manifest=stored, data=data, learnt_until=learnt)

    def _note(self, moment: Moment, **found: object) -> None:
        """Write what happened into the window's line; reasons add up in the order in which they were given."""
        windows = list(self.state.windows)
        before = windows[moment.window]
        if "reason" in found and before.reason:
            found["reason"] = f"{before.reason}; {found['reason']}"
        if "train_seconds" in found:
            found["train_seconds"] = before.train_seconds + float(str(found["train_seconds"]))
        windows[moment.window] = before.model_copy(update=found)
        self.state = self.state.model_copy(update={"windows": tuple(windows)})
