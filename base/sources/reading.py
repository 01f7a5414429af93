"""Read a source into memory where it is small, and into a file where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from base.extract_spec import SourceSpec
from base.rows.files import PartWriter, find_nan, has_loop_types, join_parts, write_file
from base.rows.tables import normalise
from base.section import is_function
from base.settings import Settings
from base.sources.cuts import Cut, groups_above, keep_above
from base.sources.file_columns import partition_columns, partition_type, unify_schemas, with_partitions
from base.sources.files import LocalFiles, SourceFile, check_unchanged, find_files
from base.sources.formats import find_format, memory_bytes, open_file, plain_names, read_file
from base.sources.function import call_source
from base.sources.retries import ask_patiently
from base.sources.sql import stream_query
from base.user_code import UserCode

if TYPE_CHECKING:
    import pyarrow as pa

Content: TypeAlias = "pa.Table | Path"
"""Normalised rows: a table, or a Parquet file of more than should be in memory."""

MOST_BYTES_IN_MEMORY = 256 << 20
MOST_ROWS_IN_MEMORY = 1_000_000
FEWEST_ROWS_AS_IS = 100_000
"""Smaller files are written anew: many small segments cost more than a few larger ones."""


def _as_it_is(table: pa.Table) -> pa.Table:
    return table


@dataclass(frozen=True)
class Site:
    """Where a definition's sources are read: its folder, the settings, the user's code, and who is protected."""

    folder: Path
    settings: Settings
    code: UserCode
    protect: Callable[[pa.Table], pa.Table] = _as_it_is
    # Whether nothing has to be protected, so that a file may be taken as it is.
    is_open: bool = True

    def shape(self, table: pa.Table) -> pa.Table:
        """Bring rows into the loop's types, and hide what is personal in them."""
        return self.protect(normalise(table))


def name_source(spec: SourceSpec) -> str:
    """Name a source in a message: its path, or its connection with the table."""
    if spec.source:
        return spec.source
    return f"{spec.connection}: {spec.table or 'query'}"


def read_rows(
    spec: SourceSpec, site: Site, into: Path, *, files: Sequence[SourceFile] | None = None, cut: Cut | None = None
) -> Content:
    """Read a source's rows, all of them or those above a cut, normalised and protected.

    Parameters
    ----------
    into : Path
        A temporary folder: what is too large for memory is written there.
    files : sequence of SourceFile, optional
        Read these of its files; without it, all there are.

    Raises
    ------
    SourceAway, SourceFailed, SourceChanged, DataRefused, DefinitionError, UserCodeError
    """
    if spec.connection:
        return _read_query(spec, site, into, cut)
    if is_function(spec.source):
        return keep_above(site.shape(call_source(spec.source, site.code, cut)), cut)
    chosen = list(find_files(spec.source, site.folder, site.settings) if files is None else files)
    fetched = into / "fetched"
    fetched.mkdir(exist_ok=True)
    paths = [file.store.fetch(file.address, fetched) for file in chosen]
    content = _read_files(spec.source, chosen, paths, site, into, cut)
    if not isinstance(content, Path) or content not in paths:
        check_unchanged(spec.source, chosen)
    return content


def read_source(source: str, folder: Path, settings: Settings | None = None) -> pa.Table:
    """Read all files of a source into one table, in the order of their names.

    Parameters
    ----------
    source : str
        A file, a folder (all files of a known format in and below it), a glob or a URL; a relative path starts
        at *folder*.

    Raises
    ------
    DefinitionError
        If there is no such file, or its format is unknown.
    DataRefused
        If a file cannot be read, or the files do not have the same columns.
    SourceAway, SourceChanged
        If where they lie does not answer, or a file changes meanwhile.
    """
    import tempfile

    files = find_files(source, folder, settings or Settings())
    with tempfile.TemporaryDirectory(prefix="everfit-source-") as into:
        table = _read_whole(source, files, [file.store.fetch(file.address, Path(into)) for file in files])
    check_unchanged(source, files)
    return table


def _read_files(
    source: str, files: list[SourceFile], paths: list[Path], site: Site, into: Path, cut: Cut | None
) -> Content:
    if len(files) == 1 and cut is None and find_ready(files, paths, site):
        return paths[0]
    if sum(memory_bytes(path) for path in paths) <= MOST_BYTES_IN_MEMORY:
        return keep_above(site.shape(_read_whole(source, files, paths)), cut)
    prune = None if cut is None else partial(groups_above, cut)
    opened = [
        with_partitions(open_file(path, row_groups=prune), file, files) for path, file in zip(paths, files, strict=True)
    ]
    schema = unify_schemas(source, files, [batches.schema for batches in opened])
    target = into / f"rows-{files[0].name.replace('/', '-')[-40:]}.parquet"

    def shaped() -> Iterator[pa.Table]:
        import pyarrow as pa

        for batches in opened:
            for batch in batches.read():
                table = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
                yield keep_above(site.shape(table), cut)

    write_file(shaped(), site.shape(schema.empty_table()).schema, target)
    return _load_small(target)


def split_files(files: Sequence[SourceFile], site: Site) -> list[list[SourceFile]]:
    """Part files into groups that become a segment each: large ones that can be taken as they are stand alone."""
    import pyarrow.parquet as pq

    groups = [list(files)]
    are_plain = all(isinstance(file.store, LocalFiles) and find_format(file.name) == ".parquet" for file in files)
    if len(files) < 2 or not are_plain or not site.is_open or any(file.partitions for file in files):
        return groups
    try:
        footers = [pq.ParquetFile(file.address) for file in files]
    except (OSError, ValueError):
        return groups  # whoever reads the rows says what is wrong with the file
    schemas = [footer.schema_arrow.remove_metadata() for footer in footers]
    n_rows = sum(footer.metadata.num_rows for footer in footers)
    if n_rows < len(files) * FEWEST_ROWS_AS_IS or any(schema != schemas[0] for schema in schemas):
        return groups
    return [[file] for file in files] if has_loop_types(schemas[0]) else groups


def find_ready(files: Sequence[SourceFile], paths: Sequence[Path], site: Site) -> set[Path]:
    """Find, of files of one schema, those that can be a segment as they are, byte for byte."""
    if not site.is_open:
        return set()
    schemas = {
        path: schema
        for file, path in zip(files, paths, strict=True)
        if not file.partitions and (schema := _plain_schema(path)) is not None
    }
    if not schemas:
        return set()
    return schemas.keys() - find_nan(list(schemas), next(iter(schemas.values())))


def _plain_schema(path: Path) -> pa.Schema | None:
    """Return the columns of a large Parquet file that all have the loop's types; None of any other."""
    import pyarrow.parquet as pq

    if find_format(path.name) != ".parquet":
        return None
    try:
        opened = pq.ParquetFile(path)
    except (OSError, ValueError):
        return None  # whoever reads the rows says what is wrong with the file
    schema = opened.schema_arrow
    if opened.metadata.num_rows < FEWEST_ROWS_AS_IS or not has_loop_types(schema):
        return None
    return schema if plain_names(schema.names) == schema.names else None


def _read_query(spec: SourceSpec, site: Site, into: Path, cut: Cut | None) -> Content:
    name = spec.connection
    folder = into / "parts"

    def ask() -> PartWriter:
        import shutil

        import pyarrow as pa

        # A broken answer is thrown away whole.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        parts = PartWriter(folder)
        try:
            for chunk in stream_query(spec, site.settings, cut):
                known = [
                    column for column in chunk.column_names if not pa.types.is_null(chunk.schema.field(column).type)
                ]
                shaped = normalise(chunk.select(known))
                columns = {
                    column: shaped[column] if column in known else chunk[column] for column in chunk.column_names
                }
                parts.write(keep_above(site.protect(pa.table(columns)), cut))
        finally:
            parts.close()
        return parts

    parts = ask_patiently(name, ask, site.settings)
    target = into / "rows-of-query.parquet"
    join_parts(name_source(spec), parts.parts, target)
    return _load_small(target)


def _load_small(file: Path) -> Content:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    if metadata.num_rows <= MOST_ROWS_IN_MEMORY and memory_bytes(file) <= MOST_BYTES_IN_MEMORY:
        return pq.ParquetFile(file).read()
    return file


def _read_whole(source: str, files: list[SourceFile], paths: list[Path]) -> pa.Table:
    import pyarrow as pa

    tables = []
    for file, path in zip(files, paths, strict=True):
        table = read_file(path, name=file.address)
        for name, values in partition_columns(file, files, table.column_names).items():
            table = table.append_column(name, pa.array([values] * table.num_rows, partition_type(name, files)))
        tables.append(table)
    unify_schemas(source, files, [table.schema for table in tables])
    return pa.concat_tables(tables, promote_options="permissive")
