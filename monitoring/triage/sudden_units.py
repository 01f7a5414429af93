"""A unit changes at once: what has moved there window by window is the season, or the world."""

from __future__ import annotations

from monitoring.alarms.quiet_history import QuietHistory
from monitoring.drift.findings import ColumnFinding, DriftReport

# Of how far a column has moved: where it was that far before, in a window with nothing the matter, it has moved there.
_ON_THE_WAY = 0.5


def keep_sudden_units(
    report: DriftReport | None, known: QuietHistory, version: int | None = None
) -> DriftReport | None:
    """Take a column for one in another unit only where it was near the reference in the last quiet window.

    Winter's degrees are summer's times something, and one of a dozen conversions lies near to any factor. But miles
    become kilometres from one row to the next, while the season comes over months: its columns have been on their way
    in windows that called for nothing. A unit that has changed makes no quiet window, so that it is not forgotten.

    Parameters
    ----------
    known : QuietHistory
        The quiet windows before this one.
    version : int, optional
        Whose reference the window is held against; without a quiet window of the same, the report stays as it is.
    """
    alike = [window for window in known.windows if window.version == version]
    if report is None or not alike:
        return report
    before = alike[-1].values

    def keep(finding: ColumnFinding) -> ColumnFinding:
        was = before.get(f"values:{finding.column}", 0.0)
        is_gradual = finding.role == "feature" and was >= _ON_THE_WAY * finding.effect
        return finding.model_copy(update={"unit_ratio": None}) if is_gradual else finding

    if all(finding.unit_ratio is None for finding in report.columns):
        return report
    return report.model_copy(update={"columns": tuple(keep(finding) for finding in report.columns)})
