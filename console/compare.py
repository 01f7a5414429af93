"""`everfit compare`: model versions side by side, and how many rows they answer differently."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output
    from registry.tables import ModelVersion

_FEWEST = 2


def compare_command(names: list[str], *, n_rows: int, output: Output) -> None:
    """Set versions side by side; the newest of them gives the rows on which their answers are compared.

    Raises
    ------
    ArgumentError
        If fewer than two versions are named, one twice, or one that there is not.
    """
    if len(names) < _FEWEST or len(set(names)) < len(names):
        raise ArgumentError(f"{' '.join(names) or 'nothing'} cannot be compared; name two versions or more, each once")
    from registry.models import resolve_version

    settings = read_settings()
    registry = open_registry(settings)
    with registry.database.read() as session:
        versions = [resolve_version(session, registry.environment, name) for name in names]
        documents = [_describe(session, version) for version in versions]
        newest = max(versions, key=lambda version: (version.created_at, version.number))
        prepared = _find_rows(session, newest)
    from tasks.churn import measure_churn

    churn = [
        {"version": _name(version), "against": _name(newest)}
        | measure_churn(version, newest, prepared, registry, settings, n_rows=n_rows)
        for version in versions
        if version is not newest
    ]
    columns = ["", *(_name(version) for version in versions)]
    for title, section in (
        ("Parameters", "parameters"),
        ("Data", "data"),
        ("Metrics on each version's own test rows", "metrics"),
        ("Slices (mean loss)", "slices"),
    ):
        rows = _side_by_side([document[section] for document in documents])
        if rows:
            output.say()
            output.table(columns, rows, title=title)
    _say_features(documents, columns[1:], output)
    _say_churn(churn, output)
    output.result({"versions": documents, "churn": churn})


def _describe(session: Any, version: ModelVersion) -> dict[str, Any]:
    steps = _outputs(session, version)
    manifest, data, evaluation = version.manifest, steps.get("prepare", {}), steps.get("evaluate", {})
    plan = manifest.get("plan", {})
    train, validation, test = (data.get(part) or {} for part in ("train", "validation", "test"))
    window = (steps.get("train", {}).get("window") or {}) | {"text": _window(manifest.get("window"))}
    intervals = evaluation.get("intervals") or {}
    return {
        "version": _name(version),
        "created_at": version.created_at.isoformat(),
        "run": version.run_id,
        "parameters": {
            "estimator": manifest.get("estimator"),
            **(manifest.get("parameters") or {}),
            "seed": manifest.get("seed"),
            "threshold": manifest.get("threshold"),
        },
        "data": {
            "snapshot": str(manifest.get("snapshot", ""))[:12],
            "window": window["text"],
            "why this window": window.get("reason", ""),
            "rows learnt from": window.get("n_rows") or validation.get("stop"),
            "rows judged": evaluation.get("n_rows") or (test.get("stop", 0) - test.get("start", 0)),
            "rows of the train part": train.get("stop"),
            "first": manifest.get("first"),
            "learnt until": manifest.get("learnt_until"),
            "newest": manifest.get("watermark"),
        },
        "metrics": {name: _measured(value, intervals.get(name)) for name, value in version.metrics.items()},
        "slices": {
            f"{one['column']} = {one['value']}" if not one.get("found") else one["value"]: {
                "value": one.get("metrics", {}).get("challenger_loss"),
                "rows": one.get("n_rows"),
            }
            for one in evaluation.get("slices") or ()
        },
        "features": [*plan.get("numeric", ()), *plan.get("categorical", ())],
        "verdict": {name: version.verdict.get(name) for name in ("outcome", "promote", "reason")},
    }


def _outputs(session: Any, version: ModelVersion) -> dict[str, dict[str, Any]]:
    """Give what each step of a version's run gave last."""
    from registry.runs import list_steps

    return {step.step: step.output for step in list_steps(session, version.run_id)}


def _find_rows(session: Any, version: ModelVersion) -> dict[str, Any] | None:
    steps = _outputs(session, version)
    if "prepare" not in steps or "validate_data" not in steps:
        return None
    return {"data": steps["prepare"], "validated": steps["validate_data"]}


def _name(version: ModelVersion) -> str:
    return f"{version.model}@{version.number}"


def _window(document: Any) -> str:
    from base.train_spec import TrainingWindow

    return "expanding" if document is None else str(TrainingWindow.model_validate(document))


def _measured(value: Any, interval: Any) -> dict[str, Any]:
    return {"value": value, **({} if not interval else {"low": interval[0], "high": interval[1]})}


def _side_by_side(sections: list[dict[str, Any]]) -> list[list[str]]:
    names = dict.fromkeys(name for section in sections for name in section)
    return [[name, *(_cell(section.get(name, "")) for section in sections)] for name in names]


def _cell(value: Any) -> str:
    if isinstance(value, dict) and "value" in value:
        text = _cell(value["value"])
        if value.get("low") is not None:
            text += f" [{_cell(value['low'])}, {_cell(value['high'])}]"
        return f"{text} ({value['rows']:,} rows)" if value.get("rows") is not None else text
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, str) else json.dumps(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _say_features(documents: list[dict[str, Any]], names: list[str], output: Output) -> None:
    output.say()
    shared = set.intersection(*(set(document["features"]) for document in documents))
    output.say(f"Features: {len(shared)} in all of them")
    for name, document in zip(names, documents, strict=True):
        own = [feature for feature in document["features"] if feature not in shared]
        if own:
            output.say(f"  {name} has also {', '.join(own)}")


def _say_churn(churn: list[dict[str, Any]], output: Output) -> None:
    output.say()
    for each in churn:
        if each.get("problem"):
            output.say(f"Predictions: {each['version']} cannot be compared with {each['against']}: {each['problem']}")
        else:
            output.say(
                f"Predictions: {each['version']} and {each['against']} differ on {each['churn']:.2%} of the newest "
                f"{each['n_rows']:,} test rows ({each['meaning']}); mean difference {each['mean_difference']:.4g}"
            )
