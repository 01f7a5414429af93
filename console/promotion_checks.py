"""What is looked at before a person moves an alias: would the version serve, and was it ever judged?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from base.errors import EverfitError

if TYPE_CHECKING:
    from sqlmodel import Session

    from base.settings import Settings
    from console.output import Output
    from registry.manifest import ModelManifest
    from registry.store import Registry
    from registry.tables import ModelVersion


class VersionNotServable(EverfitError):
    """A version that would not serve, so that no alias is moved to it."""

    def __init__(self, version: ModelVersion, environment: str, problem: str) -> None:
        name = f"{version.model}@{version.number}"
        super().__init__(
            f"{name} would not serve, so nothing was moved in {environment}: {problem}\n  `everfit versions "
            f"{version.model}` lists the others; `everfit rehearse {name}` tells whether it serves once that is mended"
        )
        self.version = version.number
        self.problem = problem


def check_loading(
    registry: Registry, settings: Settings, version: ModelVersion, environment: str, output: Output
) -> None:
    """Check a version's signature and its files' digests, and that its first load was gone through; if not, do it.

    Raises
    ------
    VersionNotServable
    """
    from serving.loading.proof import needed_files
    from serving.loading.servability import ensure_proven, is_proven

    try:
        manifest = read_manifest(registry, settings, version)
        for file in needed_files(manifest, "all"):
            registry.artifacts.local_path(file)
        if not is_proven(registry, manifest):
            output.warn(f"{version.model}@{version.number} was never loaded with these libraries; that is done first")
            ensure_proven(registry, manifest, settings)
    except EverfitError as error:
        raise VersionNotServable(version, environment, str(error)) from error


def check_return(
    registry: Registry, settings: Settings, version: ModelVersion, environment: str, output: Output
) -> None:
    """Look whether a version's files are there: what can be told in a blink, since rollbacks hurry.

    Nothing is loaded, and no signature checked: that takes the libraries of a model, and a service does it before it
    swaps. One that was trained with other libraries, and whose first load is not on record here, is warned of.

    Raises
    ------
    VersionNotServable
    """
    from base.artifacts import Artifact, ArtifactMissing
    from base.fingerprint import installed_versions

    name, manifest = f"{version.model}@{version.number}", version.manifest
    files = [manifest[field] for field in ("model_file", "examples", "reference")]
    files += [*manifest["code"].values(), *filter(None, [manifest["plan"].get("states")])]
    try:
        for file in map(Artifact.model_validate, files):
            if file not in registry.artifacts:
                raise ArtifactMissing(file, registry.artifacts.url)
    except EverfitError as error:
        raise VersionNotServable(version, environment, str(error)) from error
    except OSError as error:
        output.warn(f"whether the files of {name} are there could not be seen: {error}")
        return
    libraries = manifest["libraries"]
    if installed_versions(libraries) == libraries or _is_on_record(registry, settings, version):
        return
    output.warn(
        f"{name} was trained with other libraries than those installed here, and never loaded with these; a service "
        "loads it beside the one that serves, and keeps that one if it does not answer as it did in training. "
        f"`everfit rehearse {name}` tells now"
    )


def _is_on_record(registry: Registry, settings: Settings, version: ModelVersion) -> bool:
    from serving.loading.servability import is_proven

    try:
        return is_proven(registry, read_manifest(registry, settings, version))
    except EverfitError:
        return False


def read_manifest(registry: Registry, settings: Settings, version: ModelVersion) -> ModelManifest:
    """Read a version's manifest, checked against its signature.

    Raises
    ------
    EverfitError
        If it is not what was signed, or no manifest at all.
    """
    from pydantic import ValidationError

    from serving.loading.servability import Admission

    try:
        return Admission(registry, settings).read_manifest(version)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors(include_url=False)[:3])
        raise EverfitError(
            f"its manifest is not one ({fields}); restore the registry from a backup, or train it again"
        ) from error


def find_objections(session: Session, version: ModelVersion) -> list[str]:
    """Tell what speaks against a version and is a person's to overrule: the gate's no, no gate at all, people's no."""
    from registry.approvals import APPROVED, WAITING
    from registry.tables import Approval

    told, name = [], f"version {version.number}"
    outcome = version.verdict.get("outcome")
    if outcome is None:
        told.append(f"no gate has judged {name}: whether it is better than what serves was never measured")
    elif not version.verdict.get("promote", True):
        why = str(version.verdict.get("reason", "")).removeprefix(f"{outcome}: ")
        told.append(f"the gate had said {outcome!r} of {name}: {why}")
    approval = session.get(Approval, version.run_id)
    if approval is not None and approval.status == WAITING:
        told.append(
            f"{name} waits for approval by {approval.needed}; it is promoted without, and the approval will find "
            "another champion"
        )
    elif approval is not None and approval.status != APPROVED:
        told.append(f"people were asked about {name}, and their answer was: {approval.status}")
    return told
