"""What a batch is predicted from: files whose rows are read part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import DataRefused, Fault
from base.settings import Settings
from base.sources.file_columns import unify_schemas, with_partitions
from base.sources.files import SourceFile, check_unchanged, describe_files, digest_states, find_files
from base.sources.formats import Batches, find_format, open_file

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class BatchInput:
    """The rows of a source, in the order of its files' names.

    ``digest`` names the content of all files; ``n_rows`` counts the rows, None where that takes reading them.
    """

    source: str
    digest: str
    schema: pa.Schema
    n_rows: int | None
    files: tuple[SourceFile, ...]
    opened: tuple[Batches, ...]

    def read_parts(self, part_rows: int, *, first: int = 0) -> Iterator[pa.Table]:
        """Read the parts from number *first* on, each of *part_rows* rows but the last.

        Raises
        ------
        DataRefused
            If a file is broken.
        """
        import pyarrow as pa

        waiting: list[pa.Table] = []
        n_waiting, skipped = 0, first * part_rows
        for batch in self._read():
            if skipped >= batch.num_rows:
                skipped -= batch.num_rows
                continue
            taken = pa.Table.from_batches([batch.slice(skipped)]).select(self.schema.names).cast(self.schema)
            skipped = 0
            waiting.append(taken)
            n_waiting += taken.num_rows
            while n_waiting >= part_rows:
                whole = pa.concat_tables(waiting)
                yield whole.slice(0, part_rows)
                waiting, n_waiting = [whole.slice(part_rows)], n_waiting - part_rows
        if n_waiting:
            yield pa.concat_tables(waiting)

    def check_unchanged(self) -> None:
        """Look whether the files are still what they were.

        Raises
        ------
        SourceChanged
        """
        check_unchanged(self.source, list(self.files))

    def _read(self) -> Iterator[pa.RecordBatch]:
        for opened in self.opened:
            yield from opened.read()


def open_input(source: str, folder: Path, settings: Settings, *, into: Path) -> BatchInput:
    """Find the files of a source and open them.

    Parameters
    ----------
    source : str
        A file, a folder (all files of a known format in and below it), a glob or a URL of Parquet, CSV or JSON lines; a
        relative path starts at *folder*.
    into : Path
        A temporary folder for files that are not on this machine.

    Raises
    ------
    DefinitionError, DataRefused, SourceAway, SourceChanged
        As when a pipeline extracts from it.
    """
    files = find_files(source, folder, settings)
    digest = digest_states(describe_files(files))
    paths = [file.store.fetch(file.address, into) for file in files]
    opened = [with_partitions(open_file(path), file, files) for path, file in zip(paths, files, strict=True)]
    schema = unify_schemas(source, files, [batches.schema for batches in opened]).remove_metadata()
    if not schema.names:
        raise DataRefused(source, [Fault(None, "no columns", "rows with columns")], "give files with rows in them")
    return BatchInput(source, digest, schema, _count(paths), tuple(files), tuple(opened))


def _count(paths: list[Path]) -> int | None:
    import pyarrow.parquet as pq

    if any(find_format(path.name) != ".parquet" for path in paths):
        return None
    return sum(int(pq.read_metadata(path).num_rows) for path in paths)
