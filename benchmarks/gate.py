"""The gate: how often it calls equal recipes better or worse, and how surely it sees a difference that is there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from base.artifacts import ArtifactStore
from base.gate.paired_comparison import compare_pairs, rows_that_would_tell
from base.judged import Evaluation, Verdict
from base.metrics import LOSS_NAMES
from base.pipeline import PipelineSpec
from benchmarks.figures import Figure
from benchmarks.gate_streams import Floats, Stream, load_streams, say
from tasks.frames import store_frame
from tasks.model_validation import validate_model

N_TRIALS = 200
_BLOCKS = 8
_POWER_TRIALS = 400
_PILOT_ROWS = 3_000
# Neighbours stay together when rows are drawn again.
_DRAWN_TOGETHER = 200
_MOST_ROWS = 2_000_000


@dataclass(frozen=True)
class Trial:
    """Losses of one recipe on one block: the champion's, the challenger's, and those of the challenger's refits."""

    stream: Stream
    champion: Floats
    challenger: Floats
    refits: Floats


def measure(rounds: int) -> list[Figure]:
    """Measure all figures of the gate; its trials are counted, not timed, so *rounds* repeats the others only."""
    streams = load_streams()
    say(f"{N_TRIALS} trials of equal recipes")
    with tempfile.TemporaryDirectory(prefix="everfit-gate-") as folder:
        figures = measure_equal_recipes(streams, ArtifactStore(str(Path(folder))))
    say(f"{_POWER_TRIALS} trials of a challenger that is better")
    figures.append(measure_power(streams))
    for module, function in (("promote_race", "measure_race"), ("evaluation", "measure")):
        if find_spec(f"benchmarks.{module}") is None:
            say(f"benchmarks/{module}.py is not there; its figures are left out")
            continue
        say(module)
        figures += getattr(import_module(f"benchmarks.{module}"), function)(rounds)
    return figures


def measure_equal_recipes(streams: list[Stream], artifacts: ArtifactStore) -> list[Figure]:
    """Judge challengers that are the champion's recipe with another seed, by the gate and by a plain comparison."""
    better, worse, naive = [], [], []
    told: dict[str, list[str]] = {}
    for trial in draw_trials(streams, N_TRIALS):
        outcome = judge(trial, artifacts).outcome
        better.append(outcome == "better")
        worse.append(outcome == "worse")
        naive.append(bool(trial.challenger.mean() < trial.champion.mean()))
        told.setdefault(trial.stream.name, []).append(outcome)
    for name, outcomes in told.items():
        say(f"{name}: {outcomes.count('better')} better, {outcomes.count('worse')} worse of {len(outcomes)}")
    what = f"of {N_TRIALS} trials on {', '.join(sorted({name.split()[0] for name in told}))}"
    return [
        Figure("aa_better_rate", float(np.mean(better)), "share", f"{what}; at most 0.05"),
        Figure("aa_worse_rate", float(np.mean(worse)), "share", f"{what}; at most 0.05"),
        Figure("naive_gate_better_rate", float(np.mean(naive)), "share", f"a plain 'loss is lower' {what}"),
    ]


def measure_power(streams: list[Stream]) -> Figure:
    """Promote a challenger that is better by the declared effect, on as many rows as the gate said would tell.

    The noise is what two fits of one recipe really differ by, row by row, drawn again in stretches of neighbours. A
    first sample tells how many rows are needed; a second one of that many is judged.
    """
    gate = _spec(streams[0]).validate_model
    draw = np.random.default_rng(1)
    promoted, sizes = [], []
    for number in range(_POWER_TRIALS):
        stream = streams[number % len(streams)]
        one, other = draw.choice(len(stream.losses), 2, replace=False)
        noise = stream.losses[one] - stream.losses[other]
        noise = noise - noise.mean()
        effect = gate.effect * float(stream.losses[other].mean())
        pilot = compare_pairs(_draw_rows(noise, _PILOT_ROWS, draw), confidence=gate.confidence)
        needed = rows_that_would_tell(pilot, effect, power=gate.power)
        if needed is None:
            continue
        sizes.append(needed)
        found = compare_pairs(_draw_rows(noise, min(needed, _MOST_ROWS), draw) - effect, confidence=gate.confidence)
        promoted.append(found.high < 0)
    what = f"{len(promoted)} trials, better by {gate.effect:.0%}, median {int(np.median(sizes)):,} rows"
    return Figure("power_at_declared", float(np.mean(promoted)), "share", f"{what}; declared {gate.power:g}")


def draw_trials(streams: list[Stream], n_trials: int) -> Iterator[Trial]:
    """Draw champion, challenger and refits among the seeds, and the block that they are judged on."""
    draw = np.random.default_rng(0)
    n_refits = _spec(streams[0]).validate_model.refits
    for number in range(n_trials):
        stream = streams[number % len(streams)]
        seeds = draw.permutation(len(stream.losses))[: 2 + n_refits]
        rows = np.array_split(np.arange(stream.losses.shape[1]), _BLOCKS)[draw.integers(_BLOCKS)]
        champion, challenger, *refits = (stream.losses[seed][rows] for seed in seeds)
        yield Trial(stream, champion, challenger, np.array(refits))


def judge(trial: Trial, artifacts: ArtifactStore) -> Verdict:
    """Let the gate decide, as the step does."""
    loss = LOSS_NAMES[trial.stream.task]
    losses = pd.DataFrame({"challenger": trial.challenger, "champion": trial.champion})
    stored = store_frame(artifacts, losses)
    evaluation = Evaluation(
        n_rows=len(losses),
        metrics={loss: float(trial.challenger.mean())},
        baseline={loss: 1.0},
        champion={loss: float(trial.champion.mean())},
        champion_version=1,
        slices=(),
        losses=stored,
        report=stored,
    )
    return validate_model(
        evaluation,
        _spec(trial.stream),
        artifacts,
        trigger="person",
        champion_revision=1,
        refits=lambda n_fits: iter([float(losses.mean()) for losses in trial.refits[:n_fits]]),
    )


def _spec(stream: Stream) -> PipelineSpec:
    return PipelineSpec.model_validate(
        {"name": "trial", "task": stream.task, "target": "y", "extract": {"source": "rows.parquet"}}
    )


def _draw_rows(noise: Floats, n_rows: int, draw: np.random.Generator) -> Floats:
    """Draw stretches of neighbours until there are *n_rows* (moving blocks; Künsch 1989)."""
    starts = draw.integers(0, len(noise), -(-n_rows // _DRAWN_TOGETHER))
    positions = (starts[:, None] + np.arange(_DRAWN_TOGETHER)[None, :]).ravel() % len(noise)
    drawn: Floats = noise[positions[:n_rows]]
    return drawn
