"""`everfit rehearse`: would the versions that serve still answer as they did, with the libraries installed here?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, EverfitError
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from base.settings import Settings
    from console.output import Output
    from registry.store import Registry
    from registry.tables import ModelVersion
    from serving.loading.proof import Proof


@dataclass(frozen=True)
class Rehearsed:
    """What became of one version, and under which names it stands."""

    version: ModelVersion
    aliases: tuple[str, ...]
    trained_with: dict[str, str]
    proof: Proof | None
    problem: str | None

    @property
    def is_champion(self) -> bool:
        """Whether a service would load it."""
        return any(alias.endswith("champion") for alias in self.aliases)

    @property
    def finding(self) -> str:
        """The result in a word: identical, differs or cannot load."""
        if self.problem is None:
            return "identical"
        return "differs" if self.proof is not None and self.proof.max_difference is not None else "cannot load"

    def describe(self) -> str:
        """Say it with its figures."""
        proof = self.proof
        if proof is None or proof.max_difference is None:
            return f"{self.finding}: {self.problem}"
        figures = f"{proof.n_rows:,} stored rows, largest difference {proof.max_difference:.3g}"
        return f"{self.finding} ({figures})" if self.problem is None else f"{self.finding} ({figures}): {self.problem}"

    def as_json(self) -> dict[str, Any]:
        """The finding as a document."""
        return {
            "model": self.version.model,
            "version": self.version.number,
            "aliases": list(self.aliases),
            "trained_with": self.trained_with,
            "finding": self.finding,
            "problem": self.problem,
            "proof": None if self.proof is None else self.proof.model_dump(mode="json"),
        }


def rehearse_command(name: str | None, *, everything: bool, output: Output) -> bool:
    """Load versions one by one in a process of their own and answer the rows that are stored with them.

    Parameters
    ----------
    name : str, optional
        A model or a version; default: every version that an alias names, in all environments.
    everything : bool
        All versions whose files are there.

    Returns
    -------
    bool
        Whether every champion among them would serve.
    """
    settings = read_settings()
    registry = open_registry(settings)
    chosen = _choose(registry, name, everything)
    found: list[Rehearsed] = []
    with output.progress("rehearsing", total=len(chosen)) as advance:
        for version, aliases in chosen:
            found.append(_rehearse(registry, settings, version, aliases))
            advance(f"{version.model}@{version.number}")
    output.table(
        ["version", "aliases", "trained with", "finding"],
        [
            [
                f"{each.version.model}@{each.version.number}",
                ", ".join(each.aliases),
                f"scikit-learn {each.trained_with.get('scikit-learn', '?')}",
                each.describe(),
            ]
            for each in found
        ],
    )
    broken = [f"{each.version.model}@{each.version.number}" for each in found if each.problem and each.is_champion]
    if broken:
        output.warn(
            f"{', '.join(broken)} would not serve here, for the reason above; where that is a library, stay "
            "with the one that it was trained with, or train it again"
        )
    output.result({"versions": [each.as_json() for each in found], "broken_champions": broken})
    return not broken


def _choose(registry: Registry, name: str | None, everything: bool) -> list[tuple[ModelVersion, tuple[str, ...]]]:
    from registry.aliases import list_aliases, resolve_present
    from registry.versions import check_model, find_version, list_versions

    model, _, which = (name or "").partition("@")
    if which and everything:
        raise ArgumentError(f"{name!r} is one version; leave --all out, or give the model's name alone")
    with registry.database.read() as session:
        if model:
            check_model(session, model)
        aliases = list_aliases(session, model or None)
        if everything:
            versions = [version for version in list_versions(session, model or None) if version.deleted_at is None]
        elif name is not None:
            versions = [resolve_present(session, registry.environment, name)]
        else:
            held = sorted({(alias.model, alias.number) for alias in aliases})
            versions = [version for each in held if (version := find_version(session, *each)) is not None]
    return [
        (
            version,
            tuple(
                f"{alias.environment}/{alias.alias}"
                for alias in aliases
                if (alias.model, alias.number) == (version.model, version.number)
            ),
        )
        for version in versions
    ]


def _rehearse(registry: Registry, settings: Settings, version: ModelVersion, aliases: tuple[str, ...]) -> Rehearsed:
    from serving.loading.first_load import prove_with
    from serving.loading.servability import Admission, remember_proof

    trained_with = dict(version.manifest.get("libraries", {}))
    try:
        manifest = Admission(registry, settings).read_manifest(version)
        proof = prove_with(settings, registry.artifacts, manifest, rows="all")
    except EverfitError as error:
        return Rehearsed(version, aliases, trained_with, None, str(error))
    if proof.agrees:
        remember_proof(registry, manifest, proof)
    return Rehearsed(version, aliases, trained_with, proof, proof.error)
