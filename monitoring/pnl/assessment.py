"""What trainings were worth: gain minus price, a class for each, and totals; neither registry nor clock.

Live accounts and the backtest call the same :func:`assess`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist

from monitoring.pnl.accounts import (
    KLASSES,
    AssessedTraining,
    ComparedReign,
    CostedTraining,
    Klass,
    ProfitAndLoss,
    Rollback,
    Totals,
)
from monitoring.pnl.gains import NOTHING, Gain, sum_gain

ENOUGH_WINDOWS = 4
"""A version that serves on is judged by what it has brought so far once so many of its windows have matured."""

_UNDECIDED = {"waiting": "it waits for people's approval", "running": "it is under way"}
_NOT_COUNTED = ("too early to tell", "cannot be told")


def assess(
    trainings: Sequence[CostedTraining], reigns: Sequence[ComparedReign], *, confidence: float = 0.95
) -> ProfitAndLoss:
    """Hold what each training brought against what it cost.

    A training brought what its version lost less than the version before it, on the rows that it served as champion
    until the next promotion or rollback; one that was not promoted brought nothing, and cost its price.

    Parameters
    ----------
    trainings : sequence of CostedTraining
        In any order.
    reigns : sequence of ComparedReign
        Of their versions, and those that began by a rollback. A version that was promoted more than once has several,
        which are added up.
    confidence : float, default=0.95
        Of the gains' intervals.

    Examples
    --------
    >>> from datetime import UTC, datetime, timedelta
    >>> from monitoring.pnl.gains import Block
    >>> may = datetime(2024, 5, 1, tzinfo=UTC)
    >>> drift = CostedTraining("r2", may, "drift", "promoted", price=0.2, version=2)
    >>> monthly = CostedTraining("r3", may + timedelta(days=30), "schedule", "kept", price=0.2)
    >>> blocks = tuple(Block(number, 1.0, 0.1 + 0.01 * (number % 2)) for number in range(8))
    >>> account = assess([drift, monthly], [ComparedReign(2, 1, may, may + timedelta(days=60), blocks=blocks)])
    >>> [(one.klass, round(one.net, 2)) for one in account.trainings]
    [('paid off', 0.64), ('changed nothing', -0.2)]
    >>> account.headline
    '1 of 2 trainings changed nothing; 1 paid off'
    """
    rollbacks = tuple(_describe_rollback(reign, confidence) for reign in reigns if reign.kind == "rollback")
    assessed = tuple(
        _assess_one(
            training,
            [reign for reign in reigns if reign.kind == "promotion" and reign.version == training.version],
            next((each for each in rollbacks if each.left == training.version), None),
            confidence,
        )
        for training in sorted(trainings, key=lambda training: (training.at, training.run))
    )
    triggers = dict.fromkeys(one.trigger for one in assessed)
    return ProfitAndLoss(
        trainings=assessed,
        totals=_total(assessed, confidence),
        by_trigger={
            kind: _total([one for one in assessed if one.trigger == kind], confidence) for kind in sorted(triggers)
        },
        rollbacks=rollbacks,
        prevented=sum(each.prevented.value for each in rollbacks if each.prevented is not None),
    )


def classify(gain: Gain, price: float) -> Klass:
    """Name what a gain with its interval is worth at a price.

    Examples
    --------
    >>> def of(low, value, high):
    ...     return Gain(value=value, low=low, high=high, standard_error=0.1, n_windows=8, n_blocks=8)
    >>> [classify(of(*each), 0.2) for each in [(0.3, 0.4, 0.5), (0.1, 0.4, 0.7), (0.01, 0.1, 0.19)]]
    ['paid off', 'perhaps paid off', 'brought less than it cost']
    >>> classify(of(-0.1, 0.4, 0.9), 0.2), classify(of(-0.3, -0.2, -0.1), 0.2)
    ('changed nothing', 'did harm')
    """
    if gain.low is None or gain.high is None:
        return "cannot be told"
    if gain.high < 0:
        return "did harm"
    if gain.low <= 0:
        return "changed nothing"
    if gain.low > price:
        return "paid off"
    return "perhaps paid off" if gain.value > price else "brought less than it cost"


def _assess_one(
    training: CostedTraining, reigns: Sequence[ComparedReign], rolled_back: Rollback | None, confidence: float
) -> AssessedTraining:
    gain = sum_gain([block for reign in reigns for block in reign.blocks], confidence=confidence)
    pending = [reign for reign in reigns if reign.n_pending or reign.until is None]
    klass: Klass
    if not reigns and training.status in _UNDECIDED:
        gain, klass, why = None, "too early to tell", _UNDECIDED[training.status]
    elif not reigns:
        why = "no version came of it" if training.version is None else "its version never was champion"
        gain, klass = NOTHING, "changed nothing"
    else:
        klass, why = _judge(gain, training.price, reigns, pending)
    is_counted = gain is not None and klass not in _NOT_COUNTED
    waited_for = [reign.matures_at for reign in pending if reign.matures_at is not None]
    return AssessedTraining(
        run=training.run,
        at=training.at,
        trigger=training.trigger,
        reason=training.reason,
        status=training.status,
        version=training.version,
        previous=reigns[0].previous if reigns else None,
        seconds=training.seconds,
        price=training.price,
        gain=gain,
        net=gain.value - training.price if gain is not None and is_counted else None,
        klass=klass,
        why=why,
        is_open=bool(pending),
        matures_at=max(waited_for, default=None),
        n_rows=sum(reign.n_rows for reign in reigns),
        n_compared=sum(reign.n_compared for reign in reigns),
        n_answered=sum(reign.n_answered for reign in reigns),
        n_merged=training.n_merged,
        rolled_back=rolled_back,
    )


def _judge(
    gain: Gain | None, price: float, reigns: Sequence[ComparedReign], pending: Sequence[ComparedReign]
) -> tuple[Klass, str]:
    trouble = next((reign.trouble for reign in reigns if reign.trouble), "")
    if gain is None and trouble:
        return "cannot be told", trouble
    n_pending = sum(reign.n_pending for reign in reigns)
    if gain is None:
        if n_pending:
            return "too early to tell", "none of its windows has matured"
        if pending:
            return "too early to tell", "it has served nothing that is labelled"
        return "cannot be told", "none of the rows that it served is in the log with its label"
    klass = classify(gain, price)
    if klass == "cannot be told":
        why = "too few rows are labelled to tell a spread"
        return ("too early to tell", why) if pending else (klass, why)
    is_clear = klass in ("paid off", "did harm")
    serves_on = any(reign.until is None for reign in reigns)
    if pending and not is_clear and not (serves_on and gain.n_windows >= ENOUGH_WINDOWS):
        if n_pending:
            return "too early to tell", f"{n_pending} of its windows {'has' if n_pending == 1 else 'have'} not matured"
        if serves_on:
            return "too early to tell", f"{gain.n_windows} of its windows matured, {ENOUGH_WINDOWS} are looked for"
    return klass, "so far" if pending else ""


def _describe_rollback(reign: ComparedReign, confidence: float) -> Rollback:
    assert reign.previous is not None
    prevented = sum_gain(reign.blocks, confidence=confidence)
    why = reign.trouble if reign.trouble or prevented is not None else "no rows since are in the log with their labels"
    return Rollback(
        at=reign.since,
        left=reign.previous,
        returned_to=reign.version,
        reason=reign.reason,
        prevented=prevented,
        why=why,
    )


def _total(assessed: Sequence[AssessedTraining], confidence: float) -> Totals:
    counted = [one for one in assessed if one.net is not None and one.gain is not None]
    gained = math.fsum(one.gain.value for one in counted if one.gain is not None)
    spent = math.fsum(one.price for one in counted)
    # The rows of different reigns are different rows, so their errors add up as squares.
    error = math.sqrt(math.fsum((one.gain.standard_error or 0.0) ** 2 for one in counted if one.gain is not None))
    half = NormalDist().inv_cdf((1 + confidence) / 2) * error
    found = Counter(one.klass for one in assessed)
    return Totals(
        n_trainings=len(assessed),
        n_counted=len(counted),
        gained=gained,
        low=gained - half,
        high=gained + half,
        spent=spent,
        net=gained - spent,
        spent_uncounted=math.fsum(one.price for one in assessed if one.net is None),
        seconds=math.fsum(one.seconds for one in assessed),
        classes={klass: found[klass] for klass in KLASSES if found[klass]},
    )
