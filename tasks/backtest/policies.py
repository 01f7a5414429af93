"""The policies that a backtest compares: the usual ones, the pipeline's own, or those of a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from base.definition import read_model
from base.errors import DefinitionError
from base.pipeline import Pipeline
from base.section import Section, Whole
from base.times import describe_duration
from base.train_spec import TrainingWindow
from base.triggers_spec import TriggersSpec
from tasks.backtest.result import PolicyKind

OWN, EVERY_WINDOW, NEVER, EVIDENTLY = "the pipeline's own", "every window", "never", "drift by Evidently's defaults"
"""Names that the table and the page look for."""

_SHORT = {
    "cost-aware": "train when the loss that a fresh model would have spared has added up to a training's price",
    "cost-aware-static": "train when the loss above that after promotion has added up to a training's price",
    "sequential": "train while the alarm stands that the loss has risen",
    "level": "train when the loss is above its limit",
    "none": "train for nothing that windows show",
}
_MOST_POLICIES = 40
_WEEK = timedelta(days=7)


class Policy(Section):
    """One policy of a backtest.

    A policy is a section ``triggers`` as a definition has it, by which the production code asks and rules; or, for
    comparison, a training after every so many windows, or at each window in which Evidently's preset calls the data
    set drifted. ``window`` is what it trains on, where that is not as the definition says.

    Examples
    --------
    >>> Policy(name="weekly", triggers={"schedule": "0 5 * * 1", "policy": "none"}).triggers.schedule
    '0 5 * * 1'
    """

    name: str = Field(min_length=1, max_length=60, description="By which tables and charts name it.")
    tells: str = Field("", description="The policy in a sentence.")
    triggers: TriggersSpec | None = Field(None, description="A section triggers: what asks, and what holds back.")
    every: Whole | None = Field(None, ge=1, description="Train after every so many windows, and for nothing else.")
    signal: Literal["evidently"] | None = Field(None, description="Train at each window that Evidently calls drifted.")
    window: str | None = Field(None, description="auto, expanding, 50000 rows or 90 days; default: as defined.")
    kind: PolicyKind = Field("shipped", description="Whether it is the pipeline's own, or for comparison only.")

    @field_validator("window")
    @classmethod
    def _is_window(cls, value: str | None) -> str | None:
        if value not in (None, "auto"):
            TrainingWindow.read(value)
        return value

    @model_validator(mode="after")
    def _asks_one_way(self) -> Self:
        ways = [name for name in ("triggers", "every", "signal") if getattr(self, name) is not None]
        if len(ways) != 1:
            found = " and ".join(ways) or "none of them"
            raise ValueError(f"policy {self.name!r} has {found}, expected one of triggers, every and signal")
        return self

    @property
    def looks(self) -> bool:
        """Whether windows have to be checked, as the monitor does, for it to decide."""
        return self.triggers is not None and self.triggers.policy != "none"

    def apply(self, pipeline: Pipeline, *, price: float) -> Pipeline:
        """Return the pipeline as this policy has it; what is not said is as the definition says."""
        triggers = self.triggers or TriggersSpec(policy="none")
        spec = pipeline.spec.model_copy(update={"triggers": triggers.model_copy(update={"price": price})})
        if self.window is not None:
            window = None if self.window == "auto" else TrainingWindow.read(self.window)
            spec = spec.model_copy(update={"train": spec.train.model_copy(update={"window": window})})
        return pipeline.model_copy(update={"spec": spec})

    def section(self, pipeline: Pipeline, *, price: float) -> dict[str, Any]:
        """Say in a definition's own keys what would have a pipeline trained by this policy; empty: nothing does."""
        if self.signal is not None:
            return {}
        triggers = self.triggers
        if self.every is not None:
            triggers = _every(pipeline, self.every)
        assert triggers is not None
        told = triggers.model_dump(mode="json", exclude_unset=True)
        if triggers.policy.startswith("cost-aware"):
            told["price"] = price
        section: dict[str, Any] = {"triggers": told}
        if self.window is not None:
            section["train"] = {"window": self.window}
        return section


class PolicyFile(Section):
    """A file of policies: ``policies:`` with one entry each."""

    policies: tuple[Policy, ...] = Field(min_length=1, max_length=_MOST_POLICIES)
    windows: tuple[str, ...] = Field((), description="Compare each policy with each of these training windows.")


def choose_policies(pipeline: Pipeline, file: Path | None = None) -> tuple[Policy, ...]:
    """List what is compared: the usual policies and the pipeline's own, or those of a file and the anchors.

    *Never* and *every window* are always among them: what the others gain and cost is told against these.

    Raises
    ------
    DefinitionError
        If the file is none, or two policies have one name.
    """
    triggers = pipeline.spec.triggers
    tells = f"What the definition says today ({_SHORT[triggers.policy]})."
    own = Policy(name=OWN, tells=tells, triggers=triggers, kind="own")
    if file is None:
        chosen = [policy for policy in _usual(pipeline) if not _is_same(policy, own)] + [own]
    else:
        read = read_model(file, PolicyFile)
        chosen = [*_with_windows(read), own]
        names = [policy.name for policy in chosen]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DefinitionError(f"two policies are named {twice[0]!r}", file=str(file), key="policies")
    missing = [anchor for anchor in _anchors() if anchor.name not in {policy.name for policy in chosen}]
    return (*missing, *chosen)


def _anchors() -> Iterator[Policy]:
    yield Policy(name=NEVER, tells="The first model serves to the end.", triggers=TriggersSpec(policy="none"))
    yield Policy(name=EVERY_WINDOW, tells="Train after each window: the costly upper anchor.", every=1)


def _usual(pipeline: Pipeline) -> Iterator[Policy]:
    limit = pipeline.spec.monitor.max_loss_increase
    yield from _anchors()
    yield Policy(name="every 5 windows", tells="Train after every fifth window.", every=5)
    cron, when = _calendar(pipeline)
    yield Policy(
        name=f"schedule, {when}", tells=f"Train by the calendar ({cron}).", triggers=_only(schedule=cron, policy="none")
    )
    yield Policy(
        name=EVIDENTLY,
        tells="Train when Evidently's preset calls half of the columns drifted.",
        signal="evidently",
        kind="comparison",
    )
    yield Policy(
        name=f"loss up by {limit:.0%}",
        tells=f"Train when a window's loss is {limit:.0%} above that at promotion.",
        triggers=_only(policy="level"),
    )
    yield Policy(
        name="sequential test",
        tells="Train when a test by betting is sure that the loss has risen.",
        triggers=_only(policy="sequential"),
    )
    yield Policy(
        name="cost-aware",
        tells="Train when the loss that a fresh model would have spared has added up to a training's price.",
        triggers=_only(policy="cost-aware"),
    )


def _calendar(pipeline: Pipeline) -> tuple[str, str]:
    """Choose a usual schedule that is rarer than the windows are."""
    window = pipeline.spec.monitor.window
    if isinstance(window, timedelta) and window < _WEEK:
        return "0 5 * * 1", "weekly"
    return "0 5 1 * *", "monthly"


def _is_same(policy: Policy, own: Policy) -> bool:
    """Tell whether the pipeline's own is a usual policy, whatever it says of a price."""
    if policy.triggers is None or own.triggers is None:
        return False
    return policy.triggers == own.triggers.model_copy(update={"price": policy.triggers.price})


def _only(**keys: Any) -> TriggersSpec:
    return TriggersSpec(**keys)


def _every(pipeline: Pipeline, number: int) -> TriggersSpec:
    window = pipeline.spec.monitor.window
    if isinstance(window, timedelta):
        return _only(staleness=describe_duration(number * window), policy="none")
    return _only(new_data=f"{number * window.n_rows} rows", policy="none")


def _with_windows(read: PolicyFile) -> Iterator[Policy]:
    for policy in read.policies:
        if policy.window is not None or not read.windows:
            yield policy
            continue
        for window in read.windows:
            yield policy.model_copy(update={"name": f"{policy.name}, {window}", "window": window})
