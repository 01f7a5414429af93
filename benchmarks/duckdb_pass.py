"""The floor of validation: one streaming pass of DuckDB that counts the rows breaking each rule of the big table.

``python -m benchmarks.duckdb_pass FOLDER`` prints the counts as JSON, and the seconds from the import of DuckDB on.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from base.rows.duck import open_duckdb, quote_text
from benchmarks.big_table import rules


def main() -> None:
    """Count."""
    files = quote_text(Path(sys.argv[1]) / "data" / "*.parquet")
    began = time.perf_counter()
    counts = ", ".join(f"count(*) FILTER (WHERE {broken})" for _, broken in rules())
    with open_duckdb() as connection:
        found = connection.execute(f"SELECT count(*), {counts} FROM read_parquet({files})").fetchone()
    print(json.dumps({"seconds": time.perf_counter() - began, "counts": found}))


if __name__ == "__main__":
    main()
