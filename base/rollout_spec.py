"""The definition of a rollout: how a new version is let in, and what takes it out again."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from base.section import NOTHING, Fraction, Section, Whole
from base.times import Duration

RolloutKind = Literal["shadow", "canary", "ab", "bandit"]


def _steps(value: object) -> object:
    # In YAML and JSON a whole percentage is an integer.
    return tuple(float(each) for each in value) if isinstance(value, list | tuple) else value


def _rising(value: tuple[float, ...]) -> tuple[float, ...]:
    if not value or value[-1] != 100 or value[0] <= 0 or any(b <= a for a, b in pairwise(value)):
        raise ValueError("expected rising percentages that end with 100, such as [1, 5, 25, 100]")
    return value


class RolloutSpec(Section):
    """How a challenger is let in where the command does not say otherwise.

    Examples
    --------
    >>> RolloutSpec(steps=[10, 100], bake="2 hours").steps
    (10.0, 100.0)
    """

    steps: Annotated[tuple[float, ...], BeforeValidator(_steps), AfterValidator(_rising)] = Field(
        (1.0, 5.0, 25.0, 100.0), description="Canary: percent of the keys that the challenger answers, step by step."
    )
    bake: Duration = Field(timedelta(hours=1), ge=NOTHING, description="Canary: how long each step lasts at least.")
    min_rows: Whole = Field(
        200, ge=1, description="Labelled (or compared) rows that a step, or a verdict, needs at least."
    )
    evidence: Literal["auto", "labels", "agreement"] = Field(
        "auto", description="What moves a canary on; auto: labels where the pipeline gets any, else agreement."
    )
    false_alarm: Fraction = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="How often an equally good challenger may be rolled back, over the whole rollout.",
    )
    max_disagreement: Fraction = Field(
        0.1, gt=0, lt=1, description="Without labels: share of rows on which the two models may answer otherwise."
    )
    max_shift: Fraction = Field(
        0.05, gt=0, lt=1, description="Without labels: how far the mean prediction may move, of its whole range."
    )
    max_slowdown: Fraction = Field(
        2.0, ge=1, description="How much slower the challenger's requests may be than the champion's slowest twentieth."
    )
    share: Fraction = Field(0.5, gt=0, lt=1, description="A/B: share of the keys that the challenger answers.")
    exploration: Fraction = Field(
        0.05, gt=0, le=0.5, description="Bandit: share of the keys that each version keeps, however it does."
    )
    until: Duration | None = Field(
        None, gt=NOTHING, description="Shadow, A/B, bandit: when the verdict is given at the latest."
    )
    until_rows: Whole | None = Field(
        None, ge=1, description="Shadow, A/B, bandit: after how many labelled rows the verdict is given."
    )
    confidence: Fraction = Field(0.95, gt=0.5, lt=1, description="Of the interval in the verdict.")
    promote_winner: bool = Field(False, description="A/B, bandit: let the alias follow the verdict.")
