"""From what a person types to what is compared: a contract's file, a pipeline, a snapshot, or a source of data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import ArgumentError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from base.changes.profiles import Profile
    from base.contract import DataContract
    from base.pipeline import Pipeline
    from base.settings import Settings

_DEFINITIONS = (".yaml", ".yml")


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a contract, or the profile of some data."""

    name: str
    contract: DataContract | None = None
    profile: Profile | None = None
    sample: pa.Table | None = None

    @property
    def what(self) -> str:
        """What it is, for people."""
        return "contract" if self.contract is not None else "data"


def read_side(text: str, settings: Settings) -> Side:
    """Read what a person names: a contract's file, a pipeline (its contract), ``PIPELINE@DIGEST``, or data.

    Raises
    ------
    ArgumentError, DefinitionError, DataRefused
        If there is no such thing, or it cannot be read.
    """
    from base.changes.profiled_rows import VIEW, sample_view
    from base.changes.profiles import profile_view
    from base.changes.schema import MOST_ROWS

    if (contract := read_contract(text, settings)) is not None:
        return Side(text, contract=contract)
    with open_data(text, settings) as connection:
        sample = sample_view(connection, most_rows=MOST_ROWS)
        return Side(text, profile=profile_view(connection, VIEW), sample=sample)


def read_contract(text: str, settings: Settings) -> DataContract | None:
    """Read the contract that a person names, by its file or its pipeline; None where data are named.

    Raises
    ------
    ArgumentError
        If a pipeline is named that has no contract.
    """
    from base.contract import DataContract
    from base.definition import read_model

    path = Path(text)
    if path.suffix in _DEFINITIONS and path.is_file() and not _is_definition(path):
        return read_model(path, DataContract)
    pipeline = None if "@" in text and not path.exists() else find_named_pipeline(text, settings)
    if pipeline is None:
        return None
    if pipeline.contract is None:
        raise ArgumentError(
            f"pipeline {pipeline.name!r} has no contract; `everfit contract infer {text}` writes one, "
            "and validate_data.contract names it"
        )
    return pipeline.contract


def find_named_pipeline(text: str, settings: Settings) -> Pipeline | None:
    """Find the pipeline of a definition's file, a folder that holds one, or a registered name; None if it is none."""
    from base.definition import read_pipeline

    path = Path(text)
    if path.suffix in _DEFINITIONS or (path / "pipeline.yaml").is_file():
        return read_pipeline(path)
    if path.exists() or not text.isidentifier():
        return None
    from console.installation import is_registry_new, open_registry

    if is_registry_new(settings):
        return None
    from registry.pipelines import find_pipeline, list_pipelines

    registry = open_registry(settings)
    with registry.database.read() as session:
        known = list_pipelines(session)
    return find_pipeline(registry, text) if text in known else None


@contextmanager
def open_data(text: str, settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a snapshot's rows, or those of a file, folder, glob or URL, as a view for SQL."""
    from base.changes.profiled_rows import open_rows, open_source

    name, _sign, digest = text.rpartition("@")
    if name and not Path(text).exists() and "://" not in text:
        from console.installation import open_registry
        from console.snapshot_names import name_pipeline, resolve_snapshot
        from registry.snapshots import read_snapshot

        registry = open_registry(settings)
        pipeline = name_pipeline(registry, name)
        with registry.database.read() as session:
            snapshot = read_snapshot(resolve_snapshot(session, pipeline, digest))
        with open_rows(registry.artifacts, snapshot.rows) as connection:
            yield connection
        return
    from base.extract_spec import SourceSpec
    from base.section import is_function
    from base.sources.reading import Site
    from base.user_code import UserCode

    if is_function(text):
        raise ArgumentError(f"{text!r} is a function; name the pipeline that uses it, such as bike/pipeline.yaml")
    with open_source(SourceSpec(source=text), Site(Path.cwd(), settings, UserCode({}))) as connection:
        yield connection


@contextmanager
def open_pipeline_data(pipeline: Pipeline, settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Extract a pipeline's rows aside, and open them as a view for SQL; nothing is recorded."""
    from base.artifacts import ArtifactStore
    from base.changes.profiled_rows import open_rows
    from base.user_code import UserCode
    from tasks.extraction import extract_data

    with tempfile.TemporaryDirectory(prefix="everfit-infer-") as folder:
        artifacts = ArtifactStore(folder)
        snapshot = extract_data(pipeline, artifacts, code=UserCode(pipeline.code), as_of=None, settings=settings)
        with open_rows(artifacts, snapshot.rows) as connection:
            yield connection


def _is_definition(file: Path) -> bool:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except (YAMLError, ValueError, OSError):
        return False  # reading it as a contract says what is wrong with it
    return isinstance(document, dict) and "columns" not in document and bool({"name", "extract"} & document.keys())
