"""`everfit report`: the page of a version's evaluation, or Evidently's page of the same answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    import pandas as pd

    from base.judged import Evaluation
    from console.output import Output
    from registry.manifest import ModelManifest
    from registry.store import Registry
    from registry.tables import ModelVersion

_MOST_ROWS = 20_000


def report_command(model: str, *, output_file: str, evidently: bool, output: Output) -> None:
    """Write the page of a version (``bike`` is the champion, ``bike@7`` version 7) to a file.

    Raises
    ------
    ArgumentError
        If the file cannot be written, or the version has no such page.
    """
    target = Path(output_file)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"--output is {output_file!r}, expected a file that ends in .html")
    if not target.parent.is_dir():
        raise ArgumentError(f"--output: there is no folder {str(target.parent)!r}")
    from base.atomic_files import write_atomically
    from base.pages import name_page
    from registry.manifest import ModelManifest
    from registry.models import resolve_version

    registry = open_registry(read_settings())
    with registry.database.read() as session:
        version = resolve_version(session, registry.environment, model)
    manifest = ModelManifest.model_validate(version.manifest)
    name = f"{version.model}@{version.number}"
    if evidently:
        with output.progress("Evidently") as advance:
            rows = _judged_rows(registry, version, manifest)
            advance(f"{len(rows):,} rows")
            page = _draw_evidently(rows, manifest)
    elif manifest.report is None:
        raise ArgumentError(f"version {name} has no page; it was made by an earlier Everfit")
    else:
        page = registry.artifacts.read_bytes(manifest.report).decode()
    # The page was drawn before the version had a number.
    content = name_page(page, f"{version.model}, version {version.number}").encode()
    write_atomically(target, content)
    output.say(f"the page of {name} is {target}")
    output.result(
        {
            "model": version.model,
            "version": version.number,
            "kind": "evidently" if evidently else "evaluation",
            "output": str(target),
            "size_bytes": len(content),
        }
    )


def _judged_rows(registry: Registry, version: ModelVersion, manifest: ModelManifest) -> pd.DataFrame:
    """Read target and answers of the rows that judged a version, at most 20,000 of them, evenly spread."""
    import numpy as np
    import pyarrow.parquet as pq

    evaluation = _find_evaluation(registry, version)
    names = ["target", "challenger_answer", "challenger_score"]
    file = registry.artifacts.local_path(evaluation.losses)
    known = [name for name in names if name in pq.read_schema(file).names]
    if "target" not in known:
        raise ArgumentError(
            f"the evaluation of {version.model}@{version.number} holds no answers; it was made by an earlier Everfit. "
            f"Run the pipeline again, and ask for the page of the new version"
        )
    rows: pd.DataFrame = pq.read_table(file, columns=known).to_pandas()
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(_MOST_ROWS, len(rows))).astype(int))
    rows = rows.iloc[chosen].reset_index(drop=True)
    if manifest.classes is None:
        return rows
    # A class that the model was never shown has no name among its answers.
    rows = rows[rows["target"] >= 0].reset_index(drop=True)
    classes = [str(value) for value in manifest.classes]
    for name in ("target", "challenger_answer"):
        rows[name] = [classes[int(code)] for code in rows[name]]
    return rows


def _find_evaluation(registry: Registry, version: ModelVersion) -> Evaluation:
    from sqlmodel import col, select

    from base.judged import Evaluation
    from registry.tables import StepExecution

    with registry.database.read() as session:
        found = session.exec(
            select(StepExecution)
            .where(StepExecution.run_id == version.run_id, StepExecution.step == "evaluate")
            .order_by(col(StepExecution.id).desc())
        ).first()
    if found is None:
        raise ArgumentError(
            f"the run {version.run_id} of version {version.model}@{version.number} has no recorded evaluation"
        )
    return Evaluation.model_validate(found.output)


def _draw_evidently(rows: pd.DataFrame, manifest: ModelManifest) -> str:
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import (
        BinaryClassification,
        DataDefinition,
        Dataset,
        MulticlassClassification,
        Regression,
        Report,
    )
    from evidently.presets import ClassificationPreset, RegressionPreset

    preset: Any
    if manifest.classes is None:
        definition = DataDefinition(regression=[Regression(target="target", prediction="challenger_answer")])
        preset = RegressionPreset()
    elif len(manifest.classes) == 2:
        kind: Any = BinaryClassification(
            target="target",
            prediction_labels="challenger_answer",
            prediction_probas="challenger_score",
            pos_label=str(manifest.classes[1]),
        )
        definition = DataDefinition(classification=[kind])
        preset = ClassificationPreset(probas_threshold=manifest.threshold)
    else:
        kind = MulticlassClassification(target="target", prediction_labels="challenger_answer")
        definition = DataDefinition(classification=[kind])
        preset = ClassificationPreset()
    snapshot = Report([preset]).run(Dataset.from_pandas(rows, data_definition=definition), None)
    return str(snapshot.get_html_str(as_iframe=False))
