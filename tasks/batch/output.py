"""What a batch gives: rows with their predictions, part by part, and then as one file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import orjson

from base.atomic_files import writing
from base.errors import ArgumentError
from registry.manifest import ModelManifest
from serving.scoring.scorer import Scorer
from tasks.batch.job import OutputFormat

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS: dict[str, OutputFormat] = {
    ".parquet": ".parquet",
    ".csv": ".csv",
    ".jsonl": ".jsonl",
    ".ndjson": ".jsonl",
    "": ".parquet",
}
"""The format of an output by the ending of its name; a folder gets Parquet."""

_COPIED_BYTES = 1 << 20


def find_output(output: str, folder: Path) -> tuple[Path, OutputFormat, bool]:
    """Read an output's name: its path, its format, and whether it is a folder of parts.

    Raises
    ------
    ArgumentError
        If it has no known format, or lies in no folder of this machine.
    """
    if "://" in output:
        raise ArgumentError(f"--output {output!r} is a URL, expected a file or folder on this machine")
    path = folder / output
    is_folder = output.endswith("/") or path.suffix == ""
    known = FORMATS.get("" if is_folder else path.suffix.lower())
    if known is None:
        raise ArgumentError(
            f"--output {output!r} has the unknown format {path.suffix!r}, expected .parquet, .csv, .jsonl, or a folder"
        )
    if not path.absolute().parent.is_dir():
        raise ArgumentError(f"--output {output!r}: there is no folder {str(path.absolute().parent)!r}; make it first")
    if path.is_dir() and not is_folder:
        raise ArgumentError(f"--output {output!r} is a folder, expected a file's name; end it with '/' if it is meant")
    return path.absolute(), known, is_folder


class AnswerColumns:
    """The columns that a batch adds: prediction, probabilities, ``prediction_id`` and ``version``.

    Parameters
    ----------
    carried : sequence of str
        The columns of the input that the output has too; an added one of the same name is called ``NAME_of_model``.
    """

    def __init__(self, scorer: Scorer, number: int, *, carried: Sequence[str]) -> None:
        self._scorer = scorer
        self._number = number
        self._taken = set(carried)

    def add_to(self, table: pa.Table, ids: Sequence[str], answers: npt.NDArray[np.float64]) -> pa.Table:
        """Add the columns to carried rows."""
        for name, values in self._columns(ids, answers).items():
            table = table.append_column(f"{name}_of_model" if name in self._taken else name, values)
        return table

    def _columns(self, ids: Sequence[str], answers: npt.NDArray[np.float64]) -> dict[str, pa.Array]:
        import pyarrow as pa

        manifest = self._scorer.manifest
        found: dict[str, pa.Array] = {}
        if manifest.classes is None:
            found["prediction"] = pa.array(answers, pa.float64())
        else:
            found["prediction"] = _array_of_classes(self._scorer.choose(answers), manifest)
            for at, label in enumerate(manifest.classes):
                found[f"probability_{label}"] = pa.array(answers[:, at], pa.float64())
        found["prediction_id"] = pa.array(ids, pa.string())
        found["version"] = pa.array(np.full(len(ids), self._number, dtype=np.int64))
        return found


def _array_of_classes(chosen: Sequence[Any], manifest: ModelManifest) -> pa.Array:
    import pyarrow as pa

    # The same type in each part, whichever classes occur there.
    try:
        kind = pa.array(list(manifest.classes or ())).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([str(name) for name in chosen], pa.string())
    return pa.array(chosen, kind)


def write_part(table: pa.Table, file: Path, *, has_header: bool) -> None:
    """Write a part aside, sync it and give it its name."""
    import pyarrow.csv as arrow_csv
    import pyarrow.parquet as pq

    table = table.replace_schema_metadata(None)
    with writing(file) as stream:
        if file.suffix == ".parquet":
            pq.write_table(table, stream, compression="zstd", row_group_size=max(table.num_rows, 1))
        elif file.suffix == ".csv":
            arrow_csv.write_csv(table, stream, arrow_csv.WriteOptions(include_header=has_header))
        else:
            for record in table.to_pylist():
                stream.write(orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE))


def join_parts(parts: Sequence[Path], target: Path) -> None:
    """Write the rows of all parts into one file, of which nobody ever sees a half."""
    import pyarrow.parquet as pq

    with writing(target) as stream:
        if parts[0].suffix != ".parquet":
            for part in parts:
                with part.open("rb") as source:
                    while data := source.read(_COPIED_BYTES):
                        stream.write(data)
            return
        with pq.ParquetWriter(stream, pq.read_schema(parts[0]), compression="zstd") as writer:
            for part in parts:
                with pq.ParquetFile(part) as opened:
                    for group in range(opened.num_row_groups):
                        writer.write_table(opened.read_row_group(group))


def join_lines(parts: Sequence[Path], target: Path) -> None:
    """Write the lines of those parts that there are into one file; none where there is no line."""
    found = [part for part in parts if part.exists()]
    if found:
        join_parts(found, target)
    else:
        target.unlink(missing_ok=True)


def move_folder(rows: Path, target: Path) -> None:
    """Give the folder of parts its name.

    Raises
    ------
    ArgumentError
        If somebody has put something there meanwhile.
    """
    try:
        os.replace(rows, target)  # noqa: PTH105
    except OSError as error:
        raise ArgumentError(
            f"folder {str(target)!r} cannot be made ({error.strerror}); move what is there, and run the batch again, "
            "which has nothing left to predict"
        ) from error
