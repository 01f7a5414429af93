"""What was found between the reference and a window, column by column: the nouns, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from monitoring.drift.multiplicity import adjust

Kind = Literal["numeric", "categorical", "text", "time"]
Role = Literal["feature", "prediction", "label"]
SkewKind = Literal["missing column", "extra column", "type", "range", "constant", "infinite"]

# The share of false findings among the findings of one report (Benjamini & Hochberg 1995).
FALSE_DISCOVERY_RATE = 0.05
# With many rows every difference is significant; below these it is not worth a word. The first is Evidently's own
# bound for large samples, and a tenth of a standard deviation.
LEAST_EFFECT = 0.1
LEAST_MISSING = 0.1


class ColumnFinding(BaseModel):
    """One column in the window, beside the reference.

    ``p_value`` is that of a two-sample test which takes both sample sizes into account, of the values that are
    there; ``missing_p`` that of the shares without a value; ``new_p`` that of so many rows with values which the
    reference does not have; ``gap_p`` that of so long a run of rows without a value. ``effect`` has no unit and is
    what is left after taking away what chance alone gives on samples of this size: the Wasserstein distance in
    standard deviations of the reference, or the Jensen-Shannon distance (0 to 1). ``shift`` is how far the mean moved,
    in the same standard deviations. ``unit_ratio`` is the factor by which the values look like the reference in
    another unit. A share is of the window's rows that have a value, but for the missing ones, which are of all rows.
    """

    model_config = ConfigDict(frozen=True)

    column: str
    kind: Kind
    role: Role = "feature"
    n_reference: int
    n_current: int
    statistic: float
    p_value: float
    effect: float
    effect_name: str
    direction: Literal["up", "down", ""] = ""
    missing_reference: float = 0.0
    missing_current: float = 0.0
    missing_p: float = 1.0
    new_categories: tuple[str, ...] = ()
    new_share: float = 0.0
    new_p: float = 1.0
    gone_categories: tuple[str, ...] = ()
    gone_share: float = 0.0
    notes: tuple[str, ...] = ()
    unit_ratio: float | None = None
    shift: float = 0.0
    gap_rows: int = 0
    gap_p: float = 1.0

    @property
    def has_drifted(self) -> bool:
        """Whether this column, looked at alone, has moved beyond chance and far enough to be worth a word."""
        return self.p_value < FALSE_DISCOVERY_RATE and self.effect >= LEAST_EFFECT


class Skew(BaseModel):
    """A way in which a window's column is another than the reference's, whatever its distribution.

    ``share`` is the share of the window's rows that it concerns.
    """

    model_config = ConfigDict(frozen=True)

    column: str
    kind: SkewKind
    text: str
    share: float = 1.0


class Teller(BaseModel):
    """A column that tells the window from the reference: how much of the AUC goes when it is shuffled."""

    model_config = ConfigDict(frozen=True)

    column: str
    auc_lost: float


class Multivariate(BaseModel):
    """How well a classifier tells rows of the window from rows of the reference that it has not learnt from.

    ``auc`` is 0.5 where it cannot; ``low`` and ``high`` are its 95 % interval; ``p_value`` is that of no difference.
    """

    model_config = ConfigDict(frozen=True)

    auc: float
    low: float
    high: float
    p_value: float
    columns: tuple[Teller, ...] = ()
    n_reference: int
    n_current: int


class DriftReport(BaseModel):
    """All columns that could be compared, those that could not with the reason, and the rows taken together.

    A column whose values could not be compared for want of any stands in both: its missing share was.

    Examples
    --------
    >>> moved = dict(kind="numeric", n_reference=900, n_current=900, statistic=0.4, effect_name="wasserstein")
    >>> price = ColumnFinding(column="price", p_value=1e-9, effect=0.7, **moved)
    >>> age = ColumnFinding(column="age", p_value=0.4, effect=0.0, **moved)
    >>> report = DriftReport(columns=(price, age), not_measured={}, n_reference=900, n_current=900)
    >>> report.drifted, report.share
    (('price',), 0.5)
    """

    model_config = ConfigDict(frozen=True)

    columns: tuple[ColumnFinding, ...]
    not_measured: dict[str, str]
    n_reference: int
    n_current: int
    multivariate: Multivariate | None = None
    skew: tuple[Skew, ...] = ()

    @property
    def features(self) -> tuple[ColumnFinding, ...]:
        """What the model sees, without its prediction and the label."""
        return tuple(column for column in self.columns if column.role == "feature")

    def find(self, column: str, role: Role = "feature") -> ColumnFinding | None:
        """The finding of one column, if there is one."""
        return next((each for each in self.columns if (each.column, each.role) == (column, role)), None)

    @property
    def adjusted(self) -> dict[str, float]:
        """The features' p-values, corrected for how many of them there are: the smaller of values and missing share.

        By Benjamini & Hochberg (1995), over both tests of all features.
        """
        return {name: min(values, gaps) for name, (values, gaps) in self._corrected().items()}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def drifted(self) -> tuple[str, ...]:
        """The features that drifted, the farthest first: beyond chance (:attr:`adjusted`), and worth a word."""
        moved = []
        for column, (values, gaps) in zip(self.features, self._corrected().values(), strict=True):
            lost = abs(column.missing_current - column.missing_reference)
            has_moved = values < FALSE_DISCOVERY_RATE and column.effect >= LEAST_EFFECT
            has_gaps = gaps < FALSE_DISCOVERY_RATE and lost >= LEAST_MISSING
            if has_moved or has_gaps:
                moved.append((max(column.effect if has_moved else 0.0, lost if has_gaps else 0.0), column.column))
        return tuple(name for _size, name in sorted(moved, key=lambda found: -found[0]))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def share(self) -> float:
        """The share of the compared features that drifted."""
        features = self.features
        return len(self.drifted) / len(features) if features else 0.0

    def _corrected(self) -> dict[str, tuple[float, float]]:
        """The corrected p-values of each feature's values and of its missing share."""
        features = self.features
        found = adjust([p for column in features for p in (column.p_value, column.missing_p)])
        return {column.column: (found[2 * at], found[2 * at + 1]) for at, column in enumerate(features)}


@dataclass(frozen=True)
class DriftPage:
    """A drift report with Evidently's page to look at."""

    report: DriftReport
    html: str | None
