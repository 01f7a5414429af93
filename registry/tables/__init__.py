"""The tables of the registry; numbers, aliases and the ledger's order are guarded by constraints."""

from registry.tables.approvals import Approval, ApprovalAnswer
from registry.tables.data import FeatureViewRow, SnapshotRow
from registry.tables.decisions import Decision
from registry.tables.experiments import Experiment
from registry.tables.model_files import ProofRow
from registry.tables.models import Alias, AliasMove, ModelVersion, VersionTag
from registry.tables.monitoring import AlarmMemoryRow, AlarmMute, AlarmRow, WindowRow
from registry.tables.notices import NoticeCursor, NoticeMute, NoticeRow
from registry.tables.pipelines import PipelineRow, PipelineVersion
from registry.tables.rollouts import Rollout, RolloutLook, RolloutReplica
from registry.tables.runs import Run, StepExecution
from registry.tables.tokens import AccessToken
from registry.tables.traffic import TrafficSegment, TrafficWriter
from registry.tables.triggers import Launch, TriggerRow
from registry.tables.webhooks import WebhookDelivery

__all__ = [
    "AccessToken",
    "AlarmMemoryRow",
    "AlarmMute",
    "AlarmRow",
    "Alias",
    "AliasMove",
    "Approval",
    "ApprovalAnswer",
    "Decision",
    "Experiment",
    "FeatureViewRow",
    "Launch",
    "ModelVersion",
    "NoticeCursor",
    "NoticeMute",
    "NoticeRow",
    "PipelineRow",
    "PipelineVersion",
    "ProofRow",
    "Rollout",
    "RolloutLook",
    "RolloutReplica",
    "Run",
    "SnapshotRow",
    "StepExecution",
    "TrafficSegment",
    "TrafficWriter",
    "TriggerRow",
    "VersionTag",
    "WebhookDelivery",
    "WindowRow",
]
