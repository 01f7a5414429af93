"""`everfit show`: all that a person wants to know of a version, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from console.champion_history import move_as_json
from console.data_snapshots import show_bytes, show_minute
from console.installation import open_registry, read_environment, read_settings
from console.versions import describe_aliases, name_aliases

if TYPE_CHECKING:
    from sqlmodel import Session

    from console.output import Output
    from registry.tables import ModelVersion

_SHOWN_DIGITS = 12


def show_command(version: str, *, environment: str | None, output: Output) -> None:
    """Show what the registry knows of a version, deleted or not.

    Raises
    ------
    ArgumentError
        If the environment is none.
    VersionNotFound
        If there is no such version.
    """
    settings = read_settings()
    place = read_environment(settings, environment)
    registry = open_registry(settings)
    with registry.database.read() as session:
        found = _find(session, place, version)
        document = _describe(session, found)
    if found.deleted_at is None:
        from registry.version_retention import find_artifacts

        missing = {file.digest for file in find_artifacts(found.manifest) if file not in registry.artifacts}
        for file in document["files"]:
            file["is_there"] = file["digest"] not in missing
    _say(document, output)
    output.result(document)


def _find(session: Session, environment: str, name: str) -> ModelVersion:
    from registry.models import find_alias, list_versions, resolve_version

    if "@" not in name and find_alias(session, environment, name) is None:
        # Who names only the model wants its champion; where there is none yet, its newest version says most.
        newest = next((version for version in list_versions(session, name) if version.deleted_at is None), None)
        if newest is not None:
            return newest
    return resolve_version(session, environment, name)


def _describe(session: Session, version: ModelVersion) -> dict[str, Any]:
    from registry.models import ENVIRONMENTS, alias_history, list_aliases
    from registry.runs import list_steps
    from registry.tables import Run
    from registry.tags import find_tags
    from registry.version_protection import find_protected
    from registry.version_retention import name_artifacts

    name = (version.model, version.number)
    run = session.get(Run, version.run_id)
    steps = {step.step: step.output for step in list_steps(session, version.run_id)}
    evaluation, manifest = steps.get("evaluate", {}), version.manifest
    plan = manifest.get("plan", {})
    moves = [
        move
        for place in ENVIRONMENTS
        for move in alias_history(session, place, version.model)
        if version.number in (move.number, move.previous)
    ]
    return {
        "model": version.model,
        "version": version.number,
        "created_at": version.created_at.isoformat(),
        "deleted_at": None if version.deleted_at is None else version.deleted_at.isoformat(),
        "aliases": name_aliases(list_aliases(session, version.model)).get(name, {}),
        "tags": find_tags(session, version.model).get(name, {}),
        "protected": find_protected(session, version.model).get(name),
        "history": [move_as_json(move) for move in sorted(moves, key=lambda move: move.id or 0, reverse=True)],
        "verdict": version.verdict,
        "metrics": version.metrics,
        "intervals": evaluation.get("intervals") or {},
        "champion_metrics": evaluation.get("champion"),
        "baseline_metrics": evaluation.get("baseline"),
        "rows_judged": evaluation.get("n_rows"),
        "data": {key: manifest.get(key) for key in ("snapshot", "first", "learnt_until", "watermark")},
        "task": manifest.get("task"),
        "target": manifest.get("target"),
        "classes": manifest.get("classes"),
        "threshold": manifest.get("threshold"),
        "calibration": manifest.get("calibration"),
        "estimator": manifest.get("estimator"),
        "parameters": manifest.get("parameters", {}),
        "seed": manifest.get("seed"),
        "features": {
            "inputs": plan.get("inputs", {}),
            "functions": plan.get("functions", []),
            "numeric": plan.get("numeric", []),
            "categorical": plan.get("categorical", []),
        },
        "views": [view["view"]["name"] for view in plan.get("views", [])],
        "files": [
            {"name": where, "digest": file.digest, "bytes": file.size_bytes} for where, file in name_artifacts(manifest)
        ],
        "libraries": manifest.get("libraries", {}),
        "run": {
            "id": version.run_id,
            "trigger": None if run is None else run.trigger,
            "reason": "" if run is None else run.parameters.get("reason") or "",
            "started_at": None if run is None else run.started_at.isoformat(),
            "prefect_run": None if run is None else run.prefect_run,
            "pipeline_version": version.pipeline_version,
        },
    }


def _say(document: Mapping[str, Any], output: Output) -> None:
    output.say(f"{document['model']} version {document['version']}")
    verdict, run = document["verdict"], document["run"]
    asked = f", asked for: {run['reason']}" if run["reason"] else ""
    facts = [
        ("alias", describe_aliases(document["aliases"]) or "none"),
        ("tags", ", ".join(f"{key}={value}" if value else key for key, value in document["tags"].items()) or "none"),
        ("created", f"{show_minute(document['created_at'])} UTC by run {run['id']} (trigger {run['trigger']}{asked})"),
        ("definition", run["pipeline_version"][:_SHOWN_DIGITS]),
        ("deletion", _say_of_deletion(document)),
        ("verdict", _tell_verdict(verdict)),
        *_say_of_model(document),
        *_say_of_data(document),
    ]
    for name, text in facts:
        output.say(f"  {name:<11} {text}")
    _tables(document, output)


def _say_of_deletion(document: Mapping[str, Any]) -> str:
    if document["deleted_at"] is not None:
        return f"deleted {show_minute(document['deleted_at'])} UTC; its files are gone unless something else needs them"
    reason = document["protected"]
    return "not protected: `everfit gc` may delete it once it is old" if reason is None else f"protected: {reason}"


def _say_of_model(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    set_to = ", ".join(f"{name}={value!r}" for name, value in document["parameters"].items())
    facts = [("estimator", f"{document['estimator']}({set_to}), seed {document['seed']}")]
    what = f"{document['target']} ({document['task']})"
    if document["classes"] is not None:
        what += f", classes {', '.join(map(str, document['classes']))}, threshold {document['threshold']}"
    facts.append(("predicts", what))
    if document["calibration"] is not None:
        facts.append(("calibration", str(document["calibration"])))
    return facts


def _say_of_data(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    data, features = document["data"], document["features"]
    span = f"{show_minute(data['first']) or '?'} to {show_minute(data['watermark']) or '?'}"
    learnt = f", learnt until {show_minute(data['learnt_until'])}" if data["learnt_until"] else ""
    judged = f", judged on {document['rows_judged']:,} rows" if document["rows_judged"] else ""
    facts = [("data", f"snapshot {str(data['snapshot'])[:_SHOWN_DIGITS]}, {span}{learnt}{judged}")]
    listed = [*features["numeric"], *features["categorical"]]
    facts.append(("features", f"{len(listed)}: {', '.join(map(str, listed))}"))
    if features["functions"]:
        facts.append(("made by", ", ".join(map(str, features["functions"]))))
    if document["views"]:
        facts.append(("views", ", ".join(document["views"])))
    facts.append(("libraries", ", ".join(f"{name} {version}" for name, version in document["libraries"].items())))
    return facts


def _tables(document: Mapping[str, Any], output: Output) -> None:
    others = {name: document[f"{name}_metrics"] for name in ("champion", "baseline") if document[f"{name}_metrics"]}
    if document["metrics"]:
        output.say()
        output.table(
            ["metric", "value", "interval", *others],
            [
                [
                    name,
                    _number(value),
                    _interval(document["intervals"].get(name)),
                    *(_number(found.get(name)) for found in others.values()),
                ]
                for name, value in document["metrics"].items()
            ],
        )
    if checks := document["verdict"].get("checks"):
        output.say()
        rows = [[check["name"], "yes" if check["passed"] else "no", check["evidence"]] for check in checks]
        output.table(["check", "passed", "evidence"], rows)
    if document["history"]:
        output.say()
        output.table(
            ["moved (UTC)", "environment", "champion", "was", "how", "by", "reason"],
            [
                [
                    show_minute(move["moved_at"]),
                    move["environment"],
                    move["version"],
                    "" if move["previous"] is None else move["previous"],
                    move["kind"],
                    move["actor"],
                    move["reason"],
                ]
                for move in document["history"]
            ],
        )
    output.say()
    output.table(
        ["file", "size", "SHA-256", ""],
        [
            [
                file["name"],
                show_bytes(file["bytes"]),
                file["digest"],
                "" if file.get("is_there", True) else "missing or changed",
            ]
            for file in document["files"]
        ],
    )


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _interval(ends: Sequence[float] | None) -> str:
    return "" if not ends else f"{_number(ends[0])} to {_number(ends[-1])}"


def _tell_verdict(verdict: Mapping[str, Any]) -> str:
    outcome, reason = str(verdict.get("outcome", "none")), str(verdict.get("reason", ""))
    # Most reasons begin with the outcome already.
    return reason if reason.startswith(outcome) else f"{outcome}: {reason}".rstrip(": ")
