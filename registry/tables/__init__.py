"""The tables of the registry; numbers, aliases and the ledger's order are guarded by constraints."""

from registry.tables.data import FeatureViewRow, SnapshotRow
from registry.tables.decisions import Decision
from registry.tables.models import Alias, AliasMove, ModelVersion
from registry.tables.monitoring import WindowRow
from registry.tables.pipelines import PipelineRow, PipelineVersion
from registry.tables.runs import Run, StepExecution

__all__ = [
    "Alias",
    "AliasMove",
    "Decision",
    "FeatureViewRow",
    "ModelVersion",
    "PipelineRow",
    "PipelineVersion",
    "Run",
    "SnapshotRow",
    "StepExecution",
    "WindowRow",
]
