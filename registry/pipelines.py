"""Pipelines and their versions: definition, contract and code under one digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from base.artifacts import Artifact
from base.definition import read_pipeline
from base.errors import ArgumentError, nearest
from base.fingerprint import digest_bytes, digest_document, digest_files
from base.pipeline import Pipeline
from registry.store import Registry
from registry.tables import PipelineRow, PipelineVersion


def register_pipeline(registry: Registry, pipeline: Pipeline) -> PipelineVersion:
    """Record a pipeline as it is now; the same definition and code again are the same version."""
    for content in pipeline.code.values():
        registry.artifacts.put_bytes(content, suffix=".py")
    package = _describe_package(pipeline)
    digest = digest_document(package)
    with registry.database.write() as session:
        row = session.get(PipelineRow, pipeline.name)
        if row is None:
            row = PipelineRow(name=pipeline.name, definition=str(pipeline.file))
        row.definition = str(pipeline.file)
        session.add(row)
        session.flush()
        version = session.get(PipelineVersion, digest)
        if version is None:
            version = PipelineVersion(digest=digest, pipeline=pipeline.name, package=package)
            session.add(version)
    return version


def digest_pipeline(pipeline: Pipeline) -> str:
    """Digest a pipeline as :func:`register_pipeline` does, without recording it."""
    return digest_document(_describe_package(pipeline))


def find_pipeline(registry: Registry, name_or_file: str) -> Pipeline:
    """Read a pipeline by the path of its definition, or by the name of one that is registered.

    Raises
    ------
    ArgumentError
        If it is neither.
    DefinitionError
        If the definition is wrong.
    """
    path = Path(name_or_file)
    if path.suffix in (".yaml", ".yml") or (path / "pipeline.yaml").is_file():
        return read_pipeline(path)
    with registry.database.read() as session:
        row = session.get(PipelineRow, name_or_file)
        if row is None:
            known = list_pipelines(session)
            raise ArgumentError(
                f"there is no pipeline {name_or_file!r}, and no file of that name; "
                f"registered are {', '.join(known) or 'none'}{nearest(name_or_file, known)}"
            )
    return read_pipeline(Path(row.definition))


def list_pipelines(session: Session) -> list[str]:
    """List the names of all registered pipelines."""
    return list(session.exec(select(PipelineRow.name).order_by(col(PipelineRow.name))))


def _describe_package(pipeline: Pipeline) -> dict[str, Any]:
    words = {} if pipeline.card is None else {"card": pipeline.card}
    return words | {
        "spec": pipeline.spec.model_dump(mode="json"),
        "contract": None if pipeline.contract is None else pipeline.contract.model_dump(mode="json"),
        "code_digest": digest_files(pipeline.code),
        "code": {
            name: Artifact(digest=digest_bytes(content), size_bytes=len(content), suffix=".py").model_dump()
            for name, content in pipeline.code.items()
        },
    }
