"""Where rows come from: files, folders and URLs, databases, functions; each read into the loop's types."""

from base.rows.tables import all_null_columns, frame_to_table, normalise, table_types
from base.rows.time_columns import parse_time
from base.sources.files import find_files, source_digest, source_files
from base.sources.reading import read_source

__all__ = [
    "all_null_columns",
    "find_files",
    "frame_to_table",
    "normalise",
    "parse_time",
    "read_source",
    "source_digest",
    "source_files",
    "table_types",
]
