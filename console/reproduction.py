"""`everfit reproduce`: build a version again in a clean process, and say what moved where it is not the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import EverfitError, RunFailed
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from base.settings import Settings
    from console.output import Output
    from registry.store import Registry
    from registry.tables import ModelVersion, PipelineVersion
    from tasks.reproduction import ReproductionRequest, ReproductionResult

_SHOWN = 12


class NotReproduced(EverfitError):
    """A version that came out otherwise, or cannot be built any more."""


def reproduce_command(name: str, *, verify: bool, output: Output) -> None:
    """Build a version again from its stored snapshot and code, and compare it with what is stored.

    Parameters
    ----------
    verify : bool
        Whether another outcome is an error; without it the command only tells.

    Raises
    ------
    VersionNotFound
        If there is no such version.
    NotReproduced
        If it comes out otherwise, or what it was made of is gone.
    """
    from registry.models import resolve_version
    from registry.tables import PipelineVersion

    settings = read_settings()
    registry = open_registry(settings)
    with registry.database.read() as session:
        version = resolve_version(session, registry.environment, name)
        package = session.get_one(PipelineVersion, version.pipeline_version)
        moved = _what_moved(registry, version, package, settings)
        request = _make_request(registry, version, package, settings)
    title = f"{version.model}@{version.number}"
    with output.progress(f"reproduce {title}") as step_done:
        step_done("building it again in a process of its own")
        result = _rebuild(request, settings)
    identical = result.problem is None and all(each.identical for each in result.compared)
    if result.compared:
        output.table(
            ["what", "same", "stored", "built again", ""],
            [
                [
                    each.what,
                    "yes" if each.identical else "NO",
                    each.before[:_SHOWN],
                    each.after[:_SHOWN],
                    each.told,
                ]
                for each in result.compared
            ],
        )
    for line in moved:
        output.say(f"{'moved since' if not identical else 'moved since, to no effect'}: {line}")
    document = {
        "model": version.model,
        "version": version.number,
        "identical": identical,
        "compared": [each.model_dump(mode="json") for each in result.compared],
        "moved": moved,
        "problem": result.problem,
    }
    if identical:
        output.say(f"{title} is reproduced: {len(result.compared)} of {len(result.compared)} things are the same")
        output.result(document)
        return
    message = _explain(title, result, moved)
    if verify:
        raise NotReproduced(message)
    output.say(message)
    output.result(document)


def _explain(title: str, result: ReproductionResult, moved: list[str]) -> str:
    if result.missing:
        return f"{title} cannot be built again, since something that it was made of is gone: {result.problem}"
    if result.problem is not None:
        done = ", ".join(each.what for each in result.compared) or "nothing"
        why = "; ".join(moved) or "nothing that is recorded has moved"
        return f"{title} cannot be built again: {result.problem}\n  Done so far: {done}. What has moved: {why}"
    first = next(each for each in result.compared if not each.identical)
    told = "; ".join(each.told for each in result.compared if each.what == "predictions" and each.told)
    why = "; ".join(moved) or (
        "nothing that is recorded: the same code, libraries, data, seed and threads; an estimator that draws chance "
        "outside its random_state, or another kind of processor"
    )
    return f"{title} is not reproduced: the {first.what} are the first to differ ({told})\n  What has moved: {why}"


def _make_request(
    registry: Registry, version: ModelVersion, package: PipelineVersion, settings: Settings
) -> ReproductionRequest:
    from base.artifacts import Artifact
    from base.candidates import Candidates
    from base.fingerprint import digest_document
    from base.references import Snapshot, TrainingData, ValidatedData
    from base.train_spec import TrainingWindow
    from registry.ledger import list_decisions
    from registry.runs import list_steps
    from tasks.reproduction import ReproductionRequest

    if digest_document(package.package) != package.digest:
        raise NotReproduced(
            f"the package of {version.model}@{version.number} is not what was registered as {package.digest[:_SHOWN]}; "
            "somebody has changed the registry, compare it with a backup"
        )
    with registry.database.read() as session:
        steps = {step.step: step.output for step in list_steps(session, version.run_id)}
        granted = list_decisions(session, run_id=version.run_id, kind="training")
    if missing := [name for name in ("extract", "validate_data", "prepare", "train") if name not in steps]:
        raise NotReproduced(f"run {version.run_id} has no record of its step {missing[0]!r}, so nothing can be built")
    candidates = Candidates.model_validate(steps["train"])
    deployed = Artifact.model_validate(version.manifest["model_file"])
    window = version.manifest.get("window")
    return ReproductionRequest(
        artifacts=settings.artifacts,
        home=settings.home.absolute(),
        spec=package.package["spec"],
        contract=package.package["contract"],
        code=package.package["code"],
        snapshot=Snapshot.model_validate(steps["extract"]),
        validated=ValidatedData.model_validate(steps["validate_data"]),
        data=TrainingData.model_validate(steps["prepare"]),
        recipe=candidates.recipe,
        judged=candidates.model,
        deployed=None if deployed == candidates.model else deployed,
        deployed_window=candidates.recipe.window if window is None else TrainingWindow.model_validate(window),
        fit_threads=granted[0].evidence["inputs"]["fit_threads"] if granted else None,
    )


def _rebuild(request: ReproductionRequest, settings: Settings) -> ReproductionResult:
    from tasks.reproduction import ReproductionResult

    threads = str(request.fit_threads or settings.fit_threads)
    with tempfile.TemporaryDirectory(prefix="everfit-reproduce-") as folder:
        asked, answered, home = Path(folder, "request.json"), Path(folder, "result.json"), Path(folder, "home")
        asked.write_text(request.model_dump_json(), encoding="utf-8")
        environment = os.environ | {
            "EVERFIT_HOME": str(home),
            # The rebuilt files go to the new home, wherever the stored ones lie.
            "EVERFIT_ARTIFACTS_URL": str(home / "artifacts"),
            "EVERFIT_FIT_THREADS": threads,
            "OMP_NUM_THREADS": threads,
            "PREFECT_HOME": str(home / "prefect"),
        }
        command = [sys.executable, "-P", "-m", "tasks.reproduction", str(asked), str(answered)]
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if not answered.exists():
            last = finished.stderr.strip().splitlines()[-1:] or ["no message"]
            raise RunFailed(f"the process that builds the version again ended with {finished.returncode}: {last[0]}")
        return ReproductionResult.model_validate_json(answered.read_text(encoding="utf-8"))


def _what_moved(registry: Registry, version: ModelVersion, package: PipelineVersion, settings: Settings) -> list[str]:
    """Say what a version depended on that is not now what it was then, whether or not it matters."""
    from base.fingerprint import digest_environment
    from registry.ledger import list_decisions
    from tasks.execution import digest_own_code

    moved = []
    if version.manifest["environment"] != digest_environment():
        moved.append(f"libraries: {_compare_libraries(registry, version.manifest)}")
    with registry.database.read() as session:
        granted = list_decisions(session, run_id=version.run_id, kind="training")
    inputs: dict[str, Any] = granted[0].evidence["inputs"] if granted else {}
    if not granted:
        moved.append("the version is older than the record of Everfit's code and of the number of threads")
    elif inputs["code"] != digest_own_code():
        moved.append("Everfit's own code")
    if inputs.get("fit_threads") not in (None, settings.fit_threads):
        moved.append(
            f"EVERFIT_FIT_THREADS is {settings.fit_threads}, was {inputs['fit_threads']} (and is so for the building)"
        )
    if told := _compare_folder(registry, version, package):
        moved.append(told)
    return moved


def _compare_folder(registry: Registry, version: ModelVersion, package: PipelineVersion) -> str | None:
    """Tell whether the pipeline's folder says something else by now; the building uses what is stored."""
    from base.fingerprint import digest_bytes
    from registry.pipelines import digest_pipeline, find_pipeline

    try:
        today = find_pipeline(registry, version.model)
        if digest_pipeline(today) == package.digest:
            return None
    except EverfitError as error:
        return f"the pipeline's folder cannot be read any more ({str(error).splitlines()[0]}); what is stored was used"
    stored = {name: artifact["digest"] for name, artifact in package.package["code"].items()}
    found = {name: digest_bytes(content) for name, content in today.code.items()}
    files = sorted(name for name in {*stored, *found} if stored.get(name) != found.get(name))
    spec = today.spec.model_dump(mode="json")
    files += [f"pipeline.yaml ({key})" for key in spec if spec[key] != package.package["spec"].get(key)]
    return f"in the pipeline's folder: {', '.join(files) or 'the contract or its words'}; what is stored was used"


def _compare_libraries(registry: Registry, manifest: dict[str, Any]) -> str:
    from base.fingerprint import describe_environment
    from registry.installed import read_environment

    before = read_environment(registry.artifacts, manifest["environment"])
    now = dict(name.rpartition("-")[::2] for name in describe_environment())
    if before is None:
        # The list of all libraries is younger than this version; its manifest names the most important ones.
        before = {name.replace("-", "_"): number for name, number in manifest["libraries"].items()}
        now = {name: now.get(name, "missing") for name in before}
    changed = [
        f"{name} {before.get(name, 'missing')} → {now.get(name, 'missing')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    return ", ".join(changed) or "others than the manifest names"
