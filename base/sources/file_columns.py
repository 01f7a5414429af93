"""Files of one source as one table: what their folders say, and the types that hold the columns of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from base.errors import DataRefused, Fault
from base.sources.files import SourceFile
from base.sources.formats import Batches

if TYPE_CHECKING:
    import pyarrow as pa


def with_partitions(opened: Batches, file: SourceFile, files: list[SourceFile]) -> Batches:
    """Give each batch the columns that the names of the file's folders tell."""
    import pyarrow as pa

    added = partition_columns(file, files, opened.schema.names)
    if not added:
        return opened
    schema = opened.schema
    for name in added:
        schema = schema.append(pa.field(name, partition_type(name, files)))

    def read() -> Iterator[pa.RecordBatch]:
        for batch in opened.read():
            columns = [pa.array([value] * batch.num_rows, partition_type(name, files)) for name, value in added.items()]
            yield pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=schema)

    return replace(opened, schema=schema, read=read)


def partition_columns(file: SourceFile, files: list[SourceFile], there: list[str]) -> dict[str, str | int | None]:
    """Read the values of the partitions that are no columns of the file itself."""
    import pyarrow as pa

    return {
        name: int(value) if value is not None and partition_type(name, files) == pa.int64() else value
        for name, value in file.partitions.items()
        if name not in there
    }


def partition_type(name: str, files: list[SourceFile]) -> pa.DataType:
    """Choose whole numbers where all folders hold them, else text."""
    import pyarrow as pa

    values = [value for file in files if (value := file.partitions.get(name)) is not None]
    are_whole = all(value.lstrip("-").isdigit() and len(value) < 18 for value in values)
    return pa.int64() if values and are_whole else pa.string()


def unify_schemas(source: str, files: list[SourceFile], schemas: list[pa.Schema]) -> pa.Schema:
    """Find the types that hold the columns of all files.

    Raises
    ------
    DataRefused
        If a file has other columns, or a column has types that do not meet.
    """
    import pyarrow as pa

    expected, first = set(schemas[0].names), files[0].name
    faults = []
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        missing = sorted(expected - set(schema.names))
        foreign = sorted(set(schema.names) - expected)
        faults += [Fault(name, f"no such column in {file.name}", f"it, as in {first}") for name in missing]
        faults += [Fault(name, f"it in {file.name}", f"only the columns of {first}") for name in foreign]
    if faults:
        way_out = "give the files the same columns, or narrow the source with a glob"
        raise DataRefused(f"source {source!r}", faults[:10], way_out)
    try:
        return pa.unify_schemas([schema.remove_metadata() for schema in schemas], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise DataRefused(
            f"source {source!r}", _find_type_faults(files, schemas), "write the column the same way in every file"
        ) from error


def _find_type_faults(files: list[SourceFile], schemas: list[pa.Schema]) -> list[Fault]:
    import pyarrow as pa

    faults = []
    for name in schemas[0].names:
        first = schemas[0].field(name).type
        for file, schema in zip(files[1:], schemas[1:], strict=True):
            other = schema.field(name).type
            try:
                pa.unify_schemas([pa.schema([(name, first)]), pa.schema([(name, other)])], promote_options="permissive")
            except pa.ArrowException:
                faults.append(Fault(name, f"{other} in {file.name}", f"{first}, as in {files[0].name}"))
    return faults[:10] or [Fault(None, "columns of different types", "the same types in every file")]
