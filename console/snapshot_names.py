"""From what a person types to a pipeline, its snapshots, and what its contract says of their columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, EverfitError, nearest

if TYPE_CHECKING:
    from sqlmodel import Session

    from registry.store import Registry
    from registry.tables import SnapshotRow

LATEST = "latest"
SHOWN_DIGITS = 12
"""How much of a digest is shown; the beginning of one is enough to name it."""


def name_pipeline(registry: Registry, name_or_file: str) -> str:
    """Return the name of a registered pipeline, given by name or by its definition.

    Raises
    ------
    ArgumentError
        If no such pipeline is registered.
    """
    from registry.pipelines import list_pipelines

    path = Path(name_or_file)
    name = name_or_file
    if path.suffix in (".yaml", ".yml") or (path / "pipeline.yaml").is_file():
        from base.definition import read_pipeline

        name = read_pipeline(path).name
    with registry.database.read() as session:
        known = list_pipelines(session)
    if name not in known:
        raise ArgumentError(
            f"there is no pipeline {name!r}; registered are {', '.join(known) or 'none'}{nearest(name, known)}"
        )
    return name


def resolve_snapshot(session: Session, pipeline: str, digest: str) -> SnapshotRow:
    """Find a snapshot by digest, the beginning of one, or ``latest``.

    Raises
    ------
    ArgumentError
        If there is none, or its files were deleted.
    """
    from registry.snapshots import find_snapshot, newest_snapshot

    if digest != LATEST:
        return find_snapshot(session, pipeline, digest)
    row = newest_snapshot(session, pipeline)
    if row is None:
        raise ArgumentError(f"pipeline {pipeline!r} has no snapshot yet; `everfit train {pipeline}` makes the first")
    return row


def personal_columns(registry: Registry, pipeline: str) -> frozenset[str]:
    """Name the columns that any version of a pipeline's contract, or the one in its folder now, calls personal."""
    contracts = list(_contracts(registry, pipeline))
    return frozenset(
        name
        for contract in contracts
        for name, rule in (contract or {}).get("columns", {}).items()
        if rule.get("personal") is not None
    )


def declared_key(registry: Registry, pipeline: str) -> tuple[str, ...]:
    """Return the columns that name a row, as the newest version of a pipeline declares it; empty if it does not."""
    package = newest_package(registry, pipeline)
    incremental = package.get("spec", {}).get("extract", {}).get("incremental") or {}
    unique = (package.get("contract") or {}).get("unique") or [incremental.get("key") or ()]
    return (unique[0],) if isinstance(unique[0], str) else tuple(unique[0])


def newest_package(registry: Registry, pipeline: str) -> dict[str, Any]:
    """Return what the newest version of a pipeline was registered with: its ``spec`` and its ``contract``."""
    from sqlmodel import col, select

    from registry.tables import PipelineVersion

    query = select(PipelineVersion).where(PipelineVersion.pipeline == pipeline)
    with registry.database.read() as session:
        version = session.exec(query.order_by(col(PipelineVersion.created_at).desc())).first()
    return {} if version is None else version.package


def _contracts(registry: Registry, pipeline: str) -> Iterator[dict[str, Any] | None]:
    from sqlmodel import select

    from registry.pipelines import find_pipeline
    from registry.tables import PipelineVersion

    with registry.database.read() as session:
        for version in session.exec(select(PipelineVersion).where(PipelineVersion.pipeline == pipeline)):
            yield version.package.get("contract")
    try:
        contract = find_pipeline(registry, pipeline).contract
    except EverfitError:  # the folder was moved, or is being edited
        return
    yield None if contract is None else contract.model_dump(mode="json")
