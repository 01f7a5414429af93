"""What is measured in a window, in one form: a p-value, an effect, and how large an effect is worth a word."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from monitoring.alarms.alarm import AlarmKind

if TYPE_CHECKING:
    from monitoring.drift.findings import ColumnFinding, DriftReport, Skew

_ROLE_KINDS: dict[str, AlarmKind] = {
    "feature": "drift",
    "prediction": "prediction drift",
    "label": "label drift",
}

# How far the distribution of a column must have moved: a tenth of a standard deviation, or 0.1 of the Jensen-Shannon
# distance; what most people call small.
LEAST_EFFECT = 0.1
_LEAST_SHARE = 0.05
# Nobody's AUC of 0.55 is worth a word; twice the distance from 0.5 is 0 to 1.
_LEAST_AUC = 0.2
# Above this p-value chance explains an effect.
_EXPLAINED = 0.01
# A value that the contract calls impossible is wrong once; a hundredth is no accident any more.
_LEAST_IMPOSSIBLE = 0.01
_LEAST_LACK = 0.5
# The logarithm of a factor: no two units are nearer to each other than a tenth (a yard and a metre are).
_LEAST_RATIO = 0.05
# The longest run of rows without a value grows with any order in which rows come; a tenth of the window is none.
_LEAST_GAP = 0.1
# Kinds of skew that say that rows are not what they were, whatever their distribution.
BROKEN_SKEW = ("missing column", "type", "infinite")


@dataclass(frozen=True)
class WindowFacts:
    """What is known of a window's rows beside their distribution.

    Attributes
    ----------
    start, stop : datetime
        The window, in UTC.
    n_rows : int
        Rows that were answered in it.
    version : int, optional
        The version that is judged: the champion.
    n_refused : int
        Rows that came and were refused, by the service's accounts.
    impossible : dict
        By column, how many rows break the contract.
    missing_labels : str, optional
        In words, that far fewer rows got their label than before.
    examples : dict
        By column, a few ids of log rows that show what is wrong there.
    """

    start: datetime
    stop: datetime
    n_rows: int
    version: int | None = None
    n_refused: int = 0
    impossible: dict[str, int] = field(default_factory=dict)
    missing_labels: str | None = None
    examples: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def length(self) -> timedelta:
        """How long the window lasts."""
        return self.stop - self.start

    @property
    def rows_per_hour(self) -> float:
        """How fast rows came."""
        return self.n_rows / max(self.length / timedelta(hours=1), 1e-9)


@dataclass(frozen=True)
class Measure:
    """One thing measured: ``p_value`` is the chance of so much between equal samples of these sizes.

    ``name`` is under what the quiet history keeps the effect. ``floor`` is the smallest effect that is worth a word.
    """

    name: str
    column: str | None
    aspect: str
    kind: AlarmKind
    p_value: float
    effect: float
    floor: float
    text: str

    @property
    def beyond_chance(self) -> float:
        """What the quiet history keeps: the effect, or 0 where chance explains it.

        Custom is what chance does not explain. Were the noise of quiet windows kept as well, it would be asked for
        twice, and the few first windows would hide all but the largest changes. A run without values is kept as it is:
        its p-value is that of rows in no order at all, which no traffic has.
        """
        return self.effect if self.p_value < _EXPLAINED or self.aspect == "gap" else 0.0


def list_measures(report: DriftReport | None, facts: WindowFacts, *, min_effect: float | None) -> list[Measure]:
    """List all that is measured in a window's traffic.

    Parameters
    ----------
    report : DriftReport, optional
        None where too few rows came to compare anything.
    min_effect : float, optional
        How far the distribution of a column must have moved; default: 0.1.
    """
    floor = LEAST_EFFECT if min_effect is None else min_effect
    measures = list(_count_rows(facts))
    if report is None:
        return measures
    for finding in report.columns:
        if finding.role != "label":
            measures += _measure_column(finding, floor)
    of_label = _label_names(report)
    skew = [each for each in report.skew if _is_broken(each) and each.column not in of_label]
    measures += [_measure_skew(each, "broken data") for each in skew]
    together = report.multivariate
    if together is not None:
        text = f"a classifier tells the window from the reference with AUC {together.auc:.2f}"
        effect = max(0.0, 2 * together.auc - 1)
        measures.append(Measure("together", None, "together", "drift", together.p_value, effect, _LEAST_AUC, text))
    return measures


def list_label_measures(report: DriftReport | None, *, min_effect: float | None) -> list[Measure]:
    """List all that is measured in a window's labels, but for the loss."""
    if report is None:
        return []
    floor, of_label = LEAST_EFFECT if min_effect is None else min_effect, _label_names(report)
    measures = [each for found in report.columns if found.role == "label" for each in _measure_column(found, floor)]
    skew = [each for each in report.skew if _is_broken(each) and each.column in of_label]
    return measures + [_measure_skew(each, "label drift") for each in skew]


def _label_names(report: DriftReport) -> set[str]:
    return {finding.column for finding in report.columns if finding.role == "label"}


def _is_broken(skew: Skew) -> bool:
    return skew.kind in BROKEN_SKEW


def _measure_skew(skew: Skew, kind: AlarmKind) -> Measure:
    name = f"{skew.kind}:{skew.column}"
    return Measure(name, skew.column, skew.kind, kind, 0.0, skew.share, _LEAST_IMPOSSIBLE, skew.text)


def _measure_column(finding: ColumnFinding, floor: float) -> Iterator[Measure]:
    column, kind = finding.column, _ROLE_KINDS[finding.role]
    prefix = "" if finding.role == "feature" else f"{finding.role}:"
    moved = f"{finding.effect_name} {finding.effect:.2f}"
    towards = f" {finding.direction}" if finding.direction else ""
    text = f"{prefix}{column} moved{towards}: {moved}, {finding.n_current:,} rows"
    if finding.unit_ratio is not None:
        text += f"; its values look like the reference times {finding.unit_ratio:.3g}"
    yield Measure(f"{prefix}values:{column}", column, "values", kind, finding.p_value, finding.effect, floor, text)
    if finding.unit_ratio is not None and finding.role == "feature":
        change = abs(math.log(abs(finding.unit_ratio))) if finding.unit_ratio else 1.0
        yield Measure(f"unit:{column}", column, "unit", "broken data", finding.p_value, change, _LEAST_RATIO, text)
    lost = finding.missing_current - finding.missing_reference
    text = f"{prefix}{column} has no value in {finding.missing_current:.1%} of the rows, before in "
    text += f"{finding.missing_reference:.1%}"
    # More values than before are a change, and nothing broken.
    blame: AlarmKind = "broken data" if lost > 0 and finding.role == "feature" else kind
    yield Measure(f"{prefix}missing:{column}", column, "missing", blame, finding.missing_p, abs(lost), 0.05, text)
    if finding.gap_rows:
        share = finding.gap_rows / max(finding.n_current, 1)
        text = f"{prefix}{column} has no value in {finding.gap_rows:,} rows on end"
        burst: AlarmKind = "broken data" if finding.role == "feature" else kind
        yield Measure(f"{prefix}gap:{column}", column, "gap", burst, finding.gap_p, share, _LEAST_GAP, text)
    if finding.new_share > 0:
        names = ", ".join(map(repr, finding.new_categories[:3]))
        text = f"{prefix}{column} has values that the reference has not in {finding.new_share:.1%} of the rows: {names}"
        yield Measure(
            f"{prefix}new:{column}", column, "new", kind, finding.new_p, finding.new_share, _LEAST_SHARE, text
        )


def _count_rows(facts: WindowFacts) -> Iterator[Measure]:
    asked = facts.n_rows + facts.n_refused
    share = facts.n_refused / asked if asked else 0.0
    text = f"{facts.n_refused:,} of {asked:,} rows were refused"
    yield Measure("refused", None, "refused", "broken data", 0.0, share, _LEAST_SHARE, text)
    for column, n_rows in facts.impossible.items():
        share = n_rows / facts.n_rows if facts.n_rows else 0.0
        text = f"{column} breaks the contract in {n_rows:,} of {facts.n_rows:,} rows"
        yield Measure(f"impossible:{column}", column, "impossible", "broken data", 0.0, share, _LEAST_IMPOSSIBLE, text)


def measure_lack(facts: WindowFacts, usual_rate: float) -> Measure:
    """Measure how many of the usual rows did not come; *usual_rate* in rows an hour."""
    lack = max(0.0, 1 - facts.rows_per_hour / usual_rate) if usual_rate > 0 else 0.0
    text = f"{facts.n_rows:,} rows came, {facts.rows_per_hour:,.3g} an hour, usual are {usual_rate:,.3g}"
    return Measure("rows", None, "rows", "broken data", 0.0, lack, _LEAST_LACK, text)
