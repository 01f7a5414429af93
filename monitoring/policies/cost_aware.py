"""Retrain when the loss that a fresh model would have spared has added up to the price of a training.

The price is declared in the definition's section ``triggers``::

    triggers:
      price: 0.2        # or auto: from what trainings have cost in computing time

It is in batches of full loss: 0.2 says that a training is worth as much as answering a fifth of one batch as badly as
can be. A batch's loss has the same unit (:mod:`monitoring.policies.loss_units`). Half the price trains about 1.4 times
as often, and a price that is wrong by a factor of 5 costs some per cent, so a guess will do.

With an excess that grows steadily by *a* a batch, the rule waits sqrt(2 · price / a) batches, which is the best period
there is; after a sudden fall it loses at most the price before it trains (Karp 1992, *On-line algorithms versus
off-line algorithms*, the ski rental problem). Page's cumulative sum (1954) adds up in the same way, but against a
level: this one counts in money. See also Žliobaitė, Budka & Stahl 2015 (*Towards cost-sensitive adaptation*),
Mahadevan & Mathioudakis 2024 (*Cost-aware retraining for machine learning*), Regol et al. 2025 (*When to retrain a
machine learning model*).
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from base.errors import ArgumentError

DEFAULT_PRICE = 0.2
"""Where nobody can say; see docs/retraining-policy.md for what it costs to be wrong."""

N_GAPS = 5
"""Champions over whose beginnings the usual gap is averaged (methods ``probe`` and ``static``)."""

SLACK = 0.5
"""Standard errors of the batch's own mean that are left out of each step (method ``paired``): in a sum that cannot fall
below 0, chance alone adds up. Page's reference value: half of the shift that shall not be missed."""

Method = Literal["paired", "probe", "static"]


class LabelledBatch(BaseModel):
    """What the champion lost on one batch whose labels have matured, in units of full loss.

    ``number`` counts up with the batches; ``champion`` is who served this one. ``probe_loss`` is the mean loss, on the
    same rows, of a cheap model trained on everything before them (:mod:`monitoring.policies.probe`), ``twin_loss`` that
    of the probe that was trained on what the champion has learnt from, and ``noise`` the standard error of the mean of
    their difference over the rows; None where there is none.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    number: int
    champion: str
    loss: float
    probe_loss: float | None = None
    twin_loss: float | None = None
    noise: float = Field(0.0, ge=0)


class PolicyState(BaseModel):
    """What the policy remembers, as a small document.

    ``excess`` is the loss added up so far that a training would have spared; ``gaps`` are those of the last champions'
    first batches, the newest last; ``last`` is the newest batch that was counted. While ``waits`` is a champion, its
    successor is on its way, and batches that it still serves are not counted.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    champion: str | None = None
    last: int | None = None
    excess: float = 0.0
    gaps: tuple[float, ...] = ()
    waits: str | None = None


class PolicyDecision(BaseModel):
    """Whether a training is worth its price now, and the figures behind it."""

    model_config = ConfigDict(frozen=True)

    retrain: bool
    excess: float
    added: float
    price: float
    reason: str


def step(
    state: PolicyState, batch: LabelledBatch, *, price: float, method: Method = "paired"
) -> tuple[PolicyState, PolicyDecision]:
    """Take in one labelled batch, and decide.

    Whatever was decided, what is added up begins anew with the next champion, and a batch that was counted before
    changes nothing: the same document may come twice.

    Parameters
    ----------
    price : float
        Of a training, in batches of full loss; infinite: never.
    method : {"paired", "probe", "static"}
        What the champion is held against:

        - ``paired``: twin minus probe, two models of one kind and two ages, so that nothing but age is between them;
          half a standard error is left out;
        - ``probe`` (``acc_probe``): champion minus probe, minus what that gap usually is right after a promotion;
        - ``static`` (``acc_static``): champion minus what champions usually lose right after their promotion. No model
          has to be fitted, and a harder batch is taken for a worse model.

        A batch without the figures that its method needs adds nothing.

    Examples
    --------
    >>> aged = LabelledBatch(number=1, champion="3", loss=0.20, probe_loss=0.15, twin_loss=0.21)
    >>> state, decision = step(PolicyState(), aged, price=0.1)
    >>> decision.retrain, decision.reason
    (False, 'a training would have spared 0.06 batches of full loss, of 0.1 that it costs')
    >>> step(state, aged.model_copy(update={"number": 2}), price=0.1)[1].retrain
    True
    """
    check_price(price)
    if state.last is not None and batch.number <= state.last:
        return state, _decide(state, 0.0, price, retrain=False, reason="this batch was counted before")
    if state.waits is not None and state.waits == batch.champion:
        waiting = state.model_copy(update={"last": batch.number})
        return waiting, _decide(waiting, 0.0, price, retrain=False, reason="a training was asked for already")
    is_new = batch.champion != state.champion
    gaps, excess = state.gaps, 0.0 if is_new else state.excess
    added = 0.0
    gap = _gap(batch, method)
    if gap is not None and method == "paired":
        added = gap - SLACK * batch.noise
    elif gap is not None:
        gaps = (*gaps, gap)[-N_GAPS:] if is_new or not gaps else gaps
        added = gap - sum(gaps) / len(gaps)
    excess = max(0.0, excess + added)
    retrain = excess > 0 and excess >= price
    counted = PolicyState(
        champion=batch.champion,
        last=batch.number,
        excess=0.0 if retrain else excess,
        gaps=gaps,
        waits=batch.champion if retrain else None,
    )
    told = f"a training would have spared {excess:.4g} batches of full loss, of {price:.4g} that it costs"
    return counted, PolicyDecision(retrain=retrain, excess=excess, added=added, price=price, reason=told)


def decline(state: PolicyState) -> PolicyState:
    """Note that the training that was asked for came to nothing: the same champion goes on, and is counted again.

    Examples
    --------
    >>> decline(PolicyState(champion="3", waits="3", excess=0.0)).waits is None
    True
    """
    return state.model_copy(update={"waits": None})


def check_price(price: float) -> None:
    """Refuse a price that is none.

    Raises
    ------
    ArgumentError
        If it is negative or not a number.
    """
    if math.isnan(price) or price < 0:
        raise ArgumentError(f"the price of a training is {price!r}, expected 0 or more batches of full loss")


def _gap(batch: LabelledBatch, method: Method) -> float | None:
    if method == "static":
        return batch.loss
    if batch.probe_loss is None:
        return None
    if method == "probe":
        return batch.loss - batch.probe_loss
    return None if batch.twin_loss is None else batch.twin_loss - batch.probe_loss


def _decide(state: PolicyState, added: float, price: float, *, retrain: bool, reason: str) -> PolicyDecision:
    return PolicyDecision(retrain=retrain, excess=state.excess, added=added, price=price, reason=reason)
