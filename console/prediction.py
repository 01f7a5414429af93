"""`everfit predict`: predictions of a registered version, computed here, without a service."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, DataRefused, Fault
from console.explained_rows import explain_rows
from console.installation import open_registry, read_settings
from tasks.batch.rows import rows_from_table
from tasks.batch.version import open_version

if TYPE_CHECKING:
    import pyarrow as pa

    from base.contract import DataContract
    from base.settings import Settings
    from console.output import Output
    from registry.store import Registry
    from serving.scoring.scorer import Prediction, Scorer
    from tasks.batch.version import LoadedVersion

_BATCH_ROWS = 20_000
_MOST_FAULTS = 10
_MOST_SHOWN = 20
_FORMATS = (".csv", ".jsonl", ".ndjson", ".parquet")


def predict_command(
    model: str,
    *,
    input_file: str | None,
    rows: str | None,
    output_file: str | None,
    is_explained: bool = False,
    output: Output,
) -> None:
    """Predict the rows of a file, or of a JSON document, with a version such as ``bike``, ``bike@7``.

    Raises
    ------
    ArgumentError
        If there is no such version, both or neither of file and rows are given, or the rows are no JSON.
    DataRefused
        If a row breaks the model's signature; then nothing is predicted or written.
    """
    if (input_file is None) == (rows is None):
        raise ArgumentError("give the rows either as --input FILE or as --rows JSON")
    if is_explained and output_file is not None:
        raise ArgumentError("--explain is shown, or given by --json; it has no place in --output")
    target = None if output_file is None else _check_output(output_file)
    settings = read_settings()
    registry = open_registry(settings)
    with open_version(registry, settings, model) as version:
        _predict(version, registry, settings, model, input_file, rows, target, is_explained, output)


def _predict(
    version: LoadedVersion,
    registry: Registry,
    settings: Settings,
    model: str,
    input_file: str | None,
    rows: str | None,
    target: Path | None,
    is_explained: bool,
    output: Output,
) -> None:
    name, number, scorer = version.model, version.number, version.scorer
    given = None
    if rows is not None:
        records = _parse_rows(rows)
    else:
        given = _read_table(str(input_file))
        records = _read_rows(given, scorer.manifest.contract, output)
    _check_rows(scorer, records, model)
    predictions: list[Prediction] = []
    with output.progress("predicting") as advance:
        for batch in _batches(records):
            predictions += scorer.predict_rows(batch)
            advance(f"{len(predictions):,} of {len(records):,} rows")
    if target is not None:
        _write(target, _as_table(records) if given is None else given, predictions)
        output.say(f"{len(predictions):,} rows with predictions of {name}@{number} are in {target}")
    else:
        _show(predictions, f"{name}@{number}", output)
    answers = [prediction.as_json() for prediction in predictions] if target is None else None
    if answers is not None and is_explained:
        explained = explain_rows(version, registry, settings, records, output=output)
        answers = [answer | {"explanation": found} for answer, found in zip(answers, explained, strict=True)]
    document = {"model": name, "version": number, "n_rows": len(predictions)}
    document["output"] = None if target is None else str(target)
    output.result(document if answers is None else document | {"predictions": answers})


def _parse_rows(text: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ArgumentError(f"--rows is no JSON ({error}); give an object, or a list of them") from error
    records = document if isinstance(document, list) else [document]
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise ArgumentError(f'--rows: row {index} is {record!r}, expected an object such as {{"age": 31}}')
    if not records:
        raise ArgumentError("--rows holds no row")
    return records


def _read_table(source: str) -> pa.Table:
    from base.sources import normalise, read_source

    table = normalise(read_source(source, Path.cwd()))
    if table.num_rows == 0:
        raise DataRefused(f"{source}", [Fault(None, "no rows", "at least one row")], "give a file with rows in it")
    return table


def _read_rows(table: pa.Table, contract: DataContract, output: Output) -> list[dict[str, Any]]:
    unknown = [name for name in table.column_names if name not in contract.columns]
    if unknown:
        output.say(f"Not inputs of the model, so not looked at: {', '.join(unknown)}")
    return rows_from_table(table, contract.columns)


def _check_rows(scorer: Scorer, records: Sequence[dict[str, Any]], model: str) -> None:
    faults: list[Fault] = []
    for start, batch in zip(range(0, len(records), _BATCH_ROWS), _batches(records), strict=False):
        for fault in scorer.find_faults(batch):
            row = None if fault.row is None else fault.row + start
            faults.append(Fault(fault.column, fault.found, fault.expected, row=row))
        if len(faults) >= _MOST_FAULTS:
            break
    if faults:
        # A misspelt column is a missing one as well; the misspelling says more.
        faults.sort(key=lambda fault: (fault.row or 0, fault.found != "an unknown column"))
        columns = ", ".join(f"{name} ({rule.type})" for name, rule in scorer.manifest.contract.columns.items())
        more = "There are more faults than these. " if len(faults) > _MOST_FAULTS else ""
        raise DataRefused(f"the input of {model}", faults[:_MOST_FAULTS], f"{more}The model's inputs are {columns}.")


def _batches(records: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(records), _BATCH_ROWS):
        yield records[start : start + _BATCH_ROWS]


def _show(predictions: Sequence[Prediction], name: str, output: Output) -> None:
    classes = list(predictions[0].probabilities or {})
    shown = predictions if not _is_terminal() else predictions[:_MOST_SHOWN]
    output.table(
        ["row", f"prediction of {name}", *(f"P({label})" for label in classes)],
        [
            [row, _describe(item.prediction), *(f"{value:.4f}" for value in (item.probabilities or {}).values())]
            for row, item in enumerate(shown)
        ],
    )
    if len(shown) < len(predictions):
        output.say(f"… and {len(predictions) - len(shown):,} more; --output FILE keeps all")


def _describe(prediction: object) -> str:
    return f"{prediction:.6g}" if isinstance(prediction, float) else str(prediction)


def _is_terminal() -> bool:
    import sys

    return sys.stdout.isatty()


def _check_output(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() not in _FORMATS:
        raise ArgumentError(f"--output {name!r} has the unknown format {path.suffix!r}, expected {', '.join(_FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise ArgumentError(f"--output {name!r}: there is no folder {str(path.absolute().parent)!r}; make it first")
    return path


def _write(file: Path, rows: pa.Table, predictions: Sequence[Prediction]) -> None:
    """Write the rows as they were given, all their columns in their order, with the predictions after them."""
    from base.atomic_files import write_atomically

    for name, values in _answer_columns(predictions, taken=rows.column_names).items():
        rows = rows.append_column(name, values)
    write_atomically(file.absolute(), _encode(rows, file.suffix.lower()))


def _as_table(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    names = list(dict.fromkeys(name for record in records for name in record))
    return pa.table({name: pa.array([record.get(name) for record in records]) for name in names})


def _answer_columns(predictions: Sequence[Prediction], *, taken: Sequence[str]) -> dict[str, pa.Array]:
    import pyarrow as pa

    answers = {"prediction": pa.array([item.prediction for item in predictions])}
    for label in predictions[0].probabilities or {}:
        values = [item.probabilities[label] for item in predictions if item.probabilities is not None]
        answers[f"probability_{label}"] = pa.array(values)
    # An input may be called prediction too; both are kept.
    return {f"{name}_of_model" if name in taken else name: values for name, values in answers.items()}


def _encode(table: pa.Table, suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, buffer)
    elif suffix == ".csv":
        import pyarrow.csv as arrow_csv

        arrow_csv.write_csv(table, buffer)
    else:
        for record in table.to_pylist():
            buffer.write(json.dumps(record, default=str, ensure_ascii=False).encode() + b"\n")
    return buffer.getvalue()
