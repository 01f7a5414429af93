"""Write a drafted pipeline as a folder of files that people read and change."""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from base.card_text import compose_template
from base.definition import read_pipeline
from base.errors import ArgumentError
from base.gate_spec import ValidateModelSpec
from base.inference.contract_text import write_contract
from base.monitor_spec import MonitorSpec
from base.pipeline import SplitSpec, Target, ValidateDataSpec
from base.times import describe_duration
from base.yaml_text import yaml_comment, yaml_scalar
from console.drafting import Draft, Exclusion

_WHY = {
    "leak": "Known only afterwards, by the look of it",
    "identifier": "Names the row, says nothing about it",
    "time": "The time column again",
    "empty": "Empty",
}


def check_folder(folder: Path, *, force: bool) -> None:
    """Refuse a place that is taken, before any work is done.

    Raises
    ------
    ArgumentError
    """
    if not folder.absolute().parent.is_dir():
        raise ArgumentError(f"there is no folder {str(folder.absolute().parent)!r} to make {folder.name!r} in")
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"{str(folder)!r} is a file; choose another name")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise ArgumentError(
            f"folder {str(folder)!r} is there already; choose another name, or --force to replace it "
            "(the old one is kept beside it)"
        )


def write_draft(draft: Draft, *, force: bool) -> Path | None:
    """Write the folder whole or not at all; return where a folder that it replaced is kept.

    The files are written aside, read back as `everfit train` will read them, and moved into place at once.
    """
    folder = draft.folder.absolute()
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (aside / "pipeline.yaml").write_text(compose_definition(draft), encoding="utf-8")
        (aside / "features.py").write_text(compose_features(draft), encoding="utf-8")
        (aside / "card.md").write_text(compose_template(draft.name), encoding="utf-8")
        inferred = draft.inferred
        write_contract(inferred.contract, aside / "contract.yaml", notes=inferred.notes, advice=inferred.advice)
        read_pipeline(aside / "pipeline.yaml")
        aside.chmod(0o755)
        check_folder(folder, force=force)
        kept = None
        if folder.is_dir() and any(folder.iterdir()):
            kept = folder.with_name(f"{folder.name}.before-{datetime.now(UTC):%Y%m%d-%H%M%S}")
            folder.rename(kept)
        aside.rename(folder)
        return kept
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def compose_definition(draft: Draft) -> str:
    """Write the definition's text: every choice that was made, and in comments those that one may make."""
    target = draft.target_column
    sections = [
        _HEAD.format(
            title=f"Predicts {yaml_comment(target)} ({draft.task}).",
            folder=yaml_comment(str(draft.folder)),
            name=draft.name,
            task=draft.task,
            target=_target(draft.target),
            time=_time(draft.time),
        ),
        _EXTRACT.format(source=yaml_scalar(draft.source), target=yaml_comment(target)),
        _VALIDATE.format(spec=ValidateDataSpec()),
        "prepare:\n" + _exclude(draft.exclusions) + _PREPARE.format(split=SplitSpec()),
        _TRAIN.format(suffix="Classifier" if draft.task == "classification" else "Regressor"),
        _JUDGE.format(spec=ValidateModelSpec(), slices=_slice_hint(draft)),
        _MONITOR.format(window=describe_duration(draft.window), spec=MonitorSpec()),
        _TRIGGERS,
    ]
    return "\n".join(sections)


def compose_features(draft: Draft) -> str:
    """Write the file for the user's feature functions, with one that works where there is a time column."""
    if draft.time is None:
        return _FEATURES_WITHOUT_TIME
    return _FEATURES.format(time=json.dumps(draft.time))


def _target(target: str | Target) -> str:
    if isinstance(target, str):
        return f"target: {yaml_scalar(target)}"
    return f"target:\n  name: {yaml_scalar(target.name)}\n  expression: {yaml_scalar(target.expression)}"


def _time(time: str | None) -> str:
    if time is None:
        return "# time: a column of moments; without it the rows' order stands for time"
    return f"time: {yaml_scalar(time)} # rows are ordered by it: a model is judged on what came after it learnt"


def _exclude(exclusions: tuple[Exclusion, ...]) -> str:
    if not exclusions:
        return "  exclude: [] # columns that no estimator may see: leaks, identifiers\n"
    width = max(len(yaml_scalar(item.column)) for item in exclusions)
    lines = ["  exclude: # no estimator sees these; take one out of the list if the reason is wrong"]
    for kind, why in _WHY.items():
        listed = [item for item in exclusions if item.kind == kind]
        lines += [f"    # {why}:"] if listed else []
        lines += [f"    - {yaml_scalar(item.column).ljust(width)} # {yaml_comment(item.reason)}" for item in listed]
    return "\n".join(lines) + "\n"


def _slice_hint(draft: Draft) -> str:
    texts = [name for name in draft.features if draft.contract.columns[name].type in ("text", "boolean")]
    return ", ".join(map(yaml_scalar, texts[:2])) or yaml_scalar(draft.features[0])


_HEAD = """\
# {title}
# Written by `everfit init` from a look at the data; yours to change. Then: everfit train {folder}/pipeline.yaml
name: {name}
task: {task}
{target}
{time}
"""

_EXTRACT = """\
# Where the rows come from: a file, folder or glob, seen from this folder, or a function in features.py.
extract:
  source: {source}
  # label_delay: 7 days # how long after its time a row's {target} is known; until then it is not learnt from
"""

_VALIDATE = """\
# What the rows must be. Rows that break the contract are set aside; too many of them stop the training.
validate_data:
  contract: contract.yaml
  min_rows: {spec.min_rows}
  max_quarantined_share: {spec.max_quarantined_share:g}
"""

_PREPARE = """\
  features: [] # functions that add columns, such as [features:add_calendar] of features.py
  split: # by time: the oldest rows are learnt from, the newest judge
    validation: {split.validation:g}
    test: {split.test:g}
"""

_TRAIN = """\
# What is fitted. Without estimators: gradient boosting with its usual parameters.
train:
  seed: 0
  # estimators:
  #   - estimator: sklearn.ensemble.HistGradientBoosting{suffix}
  #     parameters: {{learning_rate: 0.05, max_iter: 300}}
"""

_JUDGE = """\
# When a new model may replace the champion: only with evidence on the same unseen rows.
evaluate:
  slices: [] # columns whose values are judged one by one, such as [{slices}]
validate_model:
  confidence: {spec.confidence:g}
"""

_MONITOR = """\
# When the served model is doubted: for each window, the share of inputs that drifted, and the rise of its loss.
monitor:
  window: {window} # the shortest usual one that holds {spec.min_rows} rows on average, as the data came so far
  min_rows: {spec.min_rows}
  max_drifted_share: {spec.max_drifted_share:g}
  max_loss_increase: {spec.max_loss_increase:g}
"""

_TRIGGERS = """\
# What starts a training, beside drift, a falling metric and you.
# triggers:
#   schedule: "0 5 * * 1" # Mondays at five
#   cooldown: 1 day
"""

_FEATURES = '''\
"""Feature functions: each takes the raw rows and returns them with new columns.

Name one in pipeline.yaml (prepare.features: [features:add_calendar]) and it is applied in training and in
serving alike. A function keeps every row and its order. From then on a request must bring every column
that the functions look at, the time column included.
"""

import pandas as pd


def add_calendar(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what a calendar and a clock say about the moment of each row."""
    moment = rows[{time}].dt
    return rows.assign(row_month=moment.month, row_weekday=moment.dayofweek, row_hour=moment.hour)
'''

_FEATURES_WITHOUT_TIME = '''\
"""Feature functions: each takes the raw rows and returns them with new columns.

Name one in pipeline.yaml (prepare.features: [features:add_ratio]) and it is applied in training and in
serving alike. A function keeps every row and its order.

    import pandas as pd

    def add_ratio(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(price_per_night=rows["price"] / rows["nights"])
"""
'''
