"""The model card: what a version is for, what it learnt from, how good it is and for whom, and where it came from.

After Mitchell et al. 2019, *Model Cards for Model Reporting*. All figures come from what was recorded of the version;
the words that only a person can write come from ``card.md`` in the pipeline's folder, as it was when the model was
trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col, select

from base.card_text import WRITTEN_PARTS, read_written
from base.judged import Evaluation
from registry.lineage import Lineage, trace_lineage
from registry.manifest import ModelManifest
from registry.tables import AliasMove, ModelVersion

_MOST_FEATURES = 15


@dataclass(frozen=True)
class CardFacts:
    """All that a card is made of."""

    version: ModelVersion
    manifest: ModelManifest
    lineage: Lineage
    moves: Sequence[AliasMove]
    steps: Mapping[str, Mapping[str, Any]]
    written: Mapping[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> dict[str, Any]:
        """The definition, as it was."""
        found: dict[str, Any] = self.lineage.package.get("spec", {})
        return found

    @property
    def evaluation(self) -> Evaluation | None:
        """What was measured, where the run recorded it."""
        found = self.steps.get("evaluate")
        return None if found is None else Evaluation.model_validate(found)


def gather_facts(session: Session, version: ModelVersion) -> CardFacts:
    """Collect what was recorded of a version."""
    lineage = trace_lineage(session, version)
    moves = session.exec(
        select(AliasMove)
        .where(AliasMove.model == version.model, AliasMove.number == version.number)
        .order_by(col(AliasMove.id))
    )
    return CardFacts(
        version=version,
        manifest=ModelManifest.model_validate(version.manifest),
        lineage=lineage,
        moves=list(moves),
        steps={step.step: step.output for step in lineage.steps},
        written=read_written(lineage.package.get("card") or ""),
    )


def compose_card(facts: CardFacts) -> str:
    """Write the card as Markdown (CommonMark with tables)."""
    version, manifest = facts.version, facts.manifest
    parts = [
        f"# {version.model}, version {version.number}",
        facts.spec.get("description", ""),
        _summary(facts),
        _written(facts, "Purpose"),
        _data(facts),
        _written(facts, "Licence of data"),
        _training(facts),
        _metrics(facts),
        _slices(facts),
        _fairness(facts),
        _importance(facts),
        _written(facts, "Limits"),
        _recorded_limits(facts),
        _written(facts, "Ethics"),
        _verdict(facts),
        _history(facts),
        _lineage(facts),
        _written(facts, "Contact"),
    ]
    others = [name for name in facts.written if name not in WRITTEN_PARTS]
    parts += [f"## {name}\n\n{facts.written[name]}" for name in others]
    assert manifest.model == version.model
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(facts: CardFacts) -> str:
    version, manifest, spec = facts.version, facts.manifest, facts.spec
    rows = {
        "predicts": f"{manifest.target} ({manifest.task})",
        "estimator": manifest.estimator,
        "trained": f"{version.created_at:%Y-%m-%d %H:%M} UTC, asked for by {facts.lineage.trigger}",
        "learnt from": f"{_day(manifest.first)} to {_day(manifest.learnt_until)}",
        "owner": spec.get("owner") or "not named in the definition",
    }
    return _table(["", ""], [[name, value] for name, value in rows.items()])


def _written(facts: CardFacts, name: str) -> str:
    text = facts.written.get(name, f"*Not written yet: {WRITTEN_PARTS[name]} (card.md in the pipeline's folder)*")
    return f"## {name}\n\n{text}"


def _data(facts: CardFacts) -> str:
    manifest, validated = facts.manifest, facts.steps.get("validate_data", {})
    lines = [
        f"- source: {_source(facts.spec)}",
        f"- snapshot: `{manifest.snapshot}`, known up to {_day(manifest.watermark)}",
    ]
    if "n_rows" in validated:
        lines.append(f"- rows: {validated['n_rows']:,} good ones")
    for reason, count in validated.get("reasons", {}).items():
        lines.append(f"- set aside: {count:,} rows, {reason}")
    for reason, count in validated.get("warnings", {}).items():
        lines.append(f"- warned of: {count:,} rows, {reason}")
    contract = facts.lineage.package.get("contract") or {}
    columns = contract.get("columns", {})
    for mark in ("sensitive", "personal"):
        if marked := sorted(name for name, rule in columns.items() if rule.get(mark)):
            lines.append(f"- marked {mark}, and no input of the model: {', '.join(marked)}")
    if left_out := facts.steps.get("prepare", {}).get("left_out", {}):
        lines.append(f"- columns left out: {', '.join(f'{name} ({why})' for name, why in left_out.items())}")
    return "## Data\n\n" + "\n".join(lines)


def _source(spec: Mapping[str, Any]) -> str:
    extract = spec.get("extract", {})
    source = extract.get("source") or extract.get("sources") or extract.get("sql") or "see the definition"
    return f"`{source}`"


def _training(facts: CardFacts) -> str:
    manifest, trained = facts.manifest, facts.steps.get("train", {})
    lines = [
        f"- estimator: `{manifest.estimator}`, parameters {manifest.parameters or 'as they come'}",
        f"- seed: {manifest.seed}",
    ]
    candidates = trained.get("candidates", [])
    if len(candidates) > 1:
        failed = sum(candidate.get("error") is not None for candidate in candidates)
        lines.append(f"- candidates tried: {len(candidates)}" + (f", {failed} of which failed" if failed else ""))
    if (window := trained.get("window")) and window.get("reason"):
        lines.append(f"- training window: {window['reason']}")
    lines.append(f"- features: {', '.join((*manifest.plan.numeric, *manifest.plan.categorical))}")
    return "## Training\n\n" + "\n".join(lines)


def _metrics(facts: CardFacts) -> str:
    evaluation = facts.evaluation
    if evaluation is None:
        rows = [[name, _figure(value)] for name, value in facts.manifest.metrics.items()]
        return "## Metrics\n\n" + _table(["metric", "value"], rows)
    head = ["metric", "value", f"{evaluation.confidence:.0%} interval", "without a model"]
    if evaluation.champion is not None:
        head += [f"champion then (version {evaluation.champion_version})"]
    rows = []
    for name, value in evaluation.metrics.items():
        low, high = evaluation.intervals.get(name, (None, None))
        interval = "" if low is None else f"{_figure(low)} to {_figure(high)}"
        row = [name, _figure(value), interval, _figure(evaluation.baseline.get(name))]
        rows.append(row + ([] if evaluation.champion is None else [_figure(evaluation.champion.get(name))]))
    told = f"On the newest {evaluation.n_rows:,} rows, which no model that is compared had learnt from."
    missing = [f"- {name} could not be measured: {why}" for name, why in evaluation.missing.items()]
    return "\n\n".join(["## Metrics", told, _table(head, rows), *(["\n".join(missing)] if missing else [])])


def _slices(facts: CardFacts) -> str:
    evaluation = facts.evaluation
    if evaluation is None or not evaluation.slices:
        return ""
    loss = facts.version.verdict.get("loss", "loss")
    head = ["slice", "rows", f"{loss} of this model", "of the champion then", "found by"]
    rows = [
        [
            part.name,
            f"{part.n_rows:,}",
            _figure(part.metrics.get("challenger_loss")),
            _figure(part.metrics.get("champion_loss")),
            "search" if part.found else "declaration",
        ]
        for part in evaluation.slices
    ]
    return "## Slices\n\n" + _table(head, rows)


def _fairness(facts: CardFacts) -> str:
    evaluation = facts.evaluation
    if evaluation is None or not evaluation.fairness:
        return ""
    rows = [
        [
            each.column,
            each.metric,
            _figure(each.value),
            "; ".join(f"{group}: {_figure(value)}" for group, value in each.groups.items()),
        ]
        for each in evaluation.fairness
    ]
    return "## Fairness\n\n" + _table(["column", "metric", "largest gap", "groups"], rows)


def _importance(facts: CardFacts) -> str:
    evaluation = facts.evaluation
    if evaluation is None or not evaluation.importance:
        return ""
    ranked = sorted(evaluation.importance.items(), key=lambda item: -item[1][0])
    rows = [[name, f"{_figure(mean)} ± {_figure(spread)}"] for name, (mean, spread) in ranked[:_MOST_FEATURES]]
    told = "By how much the loss rises when a feature is shuffled (permutation importance; Breiman 2001)."
    return f"## Explanation\n\n{told}\n\n" + _table(["feature", "rise of the loss"], rows)


def _recorded_limits(facts: CardFacts) -> str:
    rules = facts.manifest.contract.columns
    bounded = []
    for name, rule in rules.items():
        signed = (("≥", rule.minimum), ("≤", rule.maximum))
        bounds = [f"{sign} {bound:g}" for sign, bound in signed if bound is not None]
        if bounds:
            bounded.append(f"{name} {' and '.join(bounds)}")
    lines = [f"It has seen nothing after {_day(facts.manifest.learnt_until)}."]
    if bounded:
        lines.append(f"Requests are held to its contract: {'; '.join(bounded)}.")
    return " ".join(lines)


def _verdict(facts: CardFacts) -> str:
    verdict = facts.version.verdict
    lines = [f"**{verdict.get('outcome', 'none')}**: {verdict.get('reason', '')}"]
    checks = [
        f"- {check['name']}: {'passed' if check['passed'] else 'failed'}; {check['evidence']}"
        for check in verdict.get("checks", [])
    ]
    return "## Verdict\n\n" + "\n\n".join([*lines, *(["\n".join(checks)] if checks else [])])


def _history(facts: CardFacts) -> str:
    if not facts.moves:
        return "## History\n\nIt was never given an alias."
    rows = [
        [f"{move.moved_at:%Y-%m-%d %H:%M}", move.environment, move.alias, move.kind, move.actor, move.reason]
        for move in facts.moves
    ]
    return "## History\n\n" + _table(["when (UTC)", "environment", "alias", "what", "by", "why"], rows)


def _lineage(facts: CardFacts) -> str:
    manifest, lineage = facts.manifest, facts.lineage
    libraries = ", ".join(f"{name} {number}" for name, number in manifest.libraries.items())
    rows = [
        ["run", lineage.run_id],
        ["definition", f"`{lineage.pipeline_version}`"],
        ["model file", f"`{manifest.model_file.digest}`"],
        *([f"code {name}", f"`{artifact.digest}`"] for name, artifact in manifest.code.items()),
        ["libraries", libraries],
        ["environment", f"`{manifest.environment}`"],
    ]
    return "## Lineage\n\n" + _table(["", ""], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [_line(head), "|" + "---|" * len(head), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in map(str, cells)) + " |"


def _figure(value: object) -> str:
    if not isinstance(value, int | float) or math.isnan(value):
        return "–"
    return f"{value:.4g}"


def _day(moment: object) -> str:
    return "the beginning" if moment is None else f"{moment:%Y-%m-%d}" if hasattr(moment, "strftime") else str(moment)
