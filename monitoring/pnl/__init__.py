"""Retrain P&L: what each training brought, on labels that have matured, against what it cost."""

from monitoring.pnl.accounts import (
    AssessedTraining,
    ComparedReign,
    CostedTraining,
    Klass,
    ProfitAndLoss,
    Rollback,
    Totals,
)
from monitoring.pnl.assessment import assess, classify
from monitoring.pnl.gains import Block, Gain, make_blocks, sum_gain

__all__ = [
    "AssessedTraining",
    "Block",
    "ComparedReign",
    "CostedTraining",
    "Gain",
    "Klass",
    "ProfitAndLoss",
    "Rollback",
    "Totals",
    "assess",
    "classify",
    "make_blocks",
    "sum_gain",
]
