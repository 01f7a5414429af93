"""A candidate on its way through a search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from base.candidates import Candidate, Curve
from base.train_spec import EstimatorSpec
from tasks.fit_jobs import FitResult


@dataclass
class Entrant:
    """A candidate on its way through a search; ``results`` are of its last rung, in the order of the folds."""

    estimator: str
    parameters: dict[str, Any]
    origin: Literal["declared", "drawn", "champion"] = "declared"
    results: list[FitResult] = field(default_factory=list)
    share: float = 0.0
    rungs: list[tuple[float, float]] = field(default_factory=list)
    error: str | None = None
    is_spent: bool = False
    n_fits: int = 0
    seconds: float = 0.0

    @property
    def loss(self) -> float | None:
        """The mean loss over the folds of its last rung."""
        losses = [result.loss for result in self.results if result.loss is not None]
        return sum(losses) / len(losses) if losses else None

    @property
    def spec(self) -> EstimatorSpec:
        """What is fitted."""
        return EstimatorSpec(estimator=self.estimator, parameters=self.parameters)

    def spend(self, reason: str) -> None:
        """Say that there was no budget left for it; what it reached before counts."""
        if not self.results and self.error is None:
            self.error, self.is_spent = reason, True

    def candidate(self) -> Candidate:
        """Sum up what became of it."""
        curves = [result.curve for result in self.results if result.curve is not None]
        if len(self.rungs) > 1:
            steps, losses = zip(*self.rungs, strict=True)
            curves.append(Curve(over="shares", steps=steps, losses=losses))
        return Candidate(
            estimator=self.estimator,
            parameters=self.parameters,
            validation_loss=self.loss,
            fit_seconds=self.seconds,
            error=self.error,
            fold_losses=tuple(result.loss for result in self.results if result.loss is not None),
            metrics=self.results[-1].metrics if self.results else {},
            curves=tuple(curves),
            n_fits=self.n_fits,
            n_rows=self.results[-1].n_rows if self.results else None,
            share=self.share or 1.0,
            origin=self.origin,
        )
