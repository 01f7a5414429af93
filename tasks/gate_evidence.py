"""What the gate decided by: digests of all that it was given, and its own limits, for the ledger to decide again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from base.artifacts import ArtifactStore
from base.fingerprint import digest_document, digest_package
from base.gate.verdicts import GateInputs
from base.pipeline import PipelineSpec
from base.references import Trigger
from registry.ledger import Rule

if TYPE_CHECKING:
    from base.judged import Judged

# It grows when the same inputs may get another verdict.
_VERSION = 1


def gate_rule(spec: PipelineSpec) -> Rule:
    """Name the rule by which a verdict was given, with its limits as they were declared then.

    ``code`` is the digest of the gate's own code: another one tells an auditor that the rule is not to the letter
    that of its day.
    """
    limits = {
        "task": spec.task,
        "slices": spec.evaluate.slices,
        "validate_model": spec.validate_model.model_dump(mode="json"),
        "code": digest_package("base.gate"),
    }
    return Rule("gate", _VERSION, limits)


def gate_inputs(judged: Judged, spec: PipelineSpec, artifacts: ArtifactStore, trigger: Trigger) -> dict[str, Any]:
    """Name everything that a verdict rests on, by digest; what no file held so far is stored.

    Returns
    -------
    dict
        ``snapshot``, ``rows`` (the good ones), ``prepared``, ``model`` and ``evaluation`` as digests; ``gate`` and
        ``losses`` as artifacts, from which alone :class:`base.gate.verdicts.GateInputs` decides again; and the
        values ``trigger``, ``champion_version`` and ``champion_revision``.
    """
    verdict, evaluation = judged.verdict, judged.evaluation
    given = GateInputs(
        evaluation=evaluation,
        spec=spec.validate_model,
        trigger=trigger,
        champion_revision=verdict.champion_revision,
        declared_slices=spec.evaluate.slices,
        refits=verdict.refits,
        servability=verdict.servability,
        trial=verdict.trial,
    )
    return {
        "snapshot": judged.snapshot.digest,
        "rows": judged.validated.good.digest,
        "n_rows": judged.validated.n_rows,
        "quarantined": judged.validated.reasons,
        "prepared": judged.data.artifact.digest,
        "model": judged.candidates.model.digest,
        "evaluation": digest_document(evaluation.model_dump(mode="json")),
        "gate": artifacts.put_bytes(given.model_dump_json().encode(), suffix=".json").model_dump(),
        "losses": evaluation.losses.model_dump(),
        "trigger": trigger,
        "champion_version": verdict.champion_version,
        "champion_revision": verdict.champion_revision,
    }
