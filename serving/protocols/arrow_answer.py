"""Answers as an Arrow IPC stream, written batch by batch."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import orjson

from registry.manifest import ModelManifest
from serving.answers import Answers
from serving.protocols.answer_columns import AnswerColumns, PredictionType, columns_of, prediction_type
from serving.scoring.asked import PredictionFailed
from serving.web.problems import describe_faults

if TYPE_CHECKING:
    import pyarrow as pa

WARNINGS, PROBLEM = "everfit.warnings", "everfit.problem"
"""Keys of a batch's metadata: where rows break rules that only warn, and why a stream ends before its time."""


class AnswerStream:
    """Writes the answers of a model: ``id``, ``prediction``, ``probabilities`` by class, ``version``."""

    def __init__(self, manifest: ModelManifest) -> None:
        import pyarrow as pa

        self._model = manifest.model
        self._kind: PredictionType = prediction_type(manifest)
        self._classes = None if manifest.classes is None else list(dict.fromkeys(map(str, manifest.classes)))
        self._schema = _schema(self._kind, self._classes)
        self._sink = io.BytesIO()
        self._writer = pa.ipc.new_stream(pa.PythonFile(self._sink, mode="w"), self._schema)

    def write(self, answers: Answers) -> bytes:
        """Write the answers of some rows.

        Raises
        ------
        PredictionFailed
            When another version has begun to serve that knows other classes.
        """
        columns = columns_of(answers)
        found = None if columns.classes is None else list(dict.fromkeys(columns.classes))
        if columns.kind != self._kind or found != self._classes:
            raise PredictionFailed(
                f"model {self._model!r} has got other classes while it answered; send the rows again"
            )
        metadata = None
        if answers.warnings:
            metadata = {WARNINGS: orjson.dumps(describe_faults(answers.warnings))}
        self._writer.write_batch(self._batch(columns), custom_metadata=metadata)
        return self._take()

    def write_problem(self, document: dict[str, Any]) -> bytes:
        """Write an empty batch that says why no more follows."""
        import pyarrow as pa

        empty = pa.RecordBatch.from_pylist([], schema=self._schema)
        self._writer.write_batch(empty, custom_metadata={PROBLEM: orjson.dumps(document)})
        return self._take()

    def finish(self) -> bytes:
        """Write the end of the stream, by which a client knows that it has all."""
        self._writer.close()
        return self._take()

    def _batch(self, columns: AnswerColumns) -> pa.RecordBatch:
        import pyarrow as pa

        arrays: list[Any] = [pa.array(columns.ids, pa.string()), pa.array(columns.predictions, _type(self._kind))]
        if columns.probabilities is not None:
            parts = [pa.array(part, pa.float64()) for part in columns.probabilities.T.copy()]
            fields = self._schema.field("probabilities").type
            arrays.append(pa.StructArray.from_arrays(parts, fields=list(fields)))
        arrays.append(pa.array(columns.versions, pa.int64()))
        return pa.record_batch(arrays, schema=self._schema)

    def _take(self) -> bytes:
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return data


def _schema(kind: PredictionType, classes: list[str] | None) -> pa.Schema:
    import pyarrow as pa

    fields = [pa.field("id", pa.string()), pa.field("prediction", _type(kind))]
    if classes is not None:
        fields.append(pa.field("probabilities", pa.struct([pa.field(name, pa.float64()) for name in classes])))
    return pa.schema([*fields, pa.field("version", pa.int64())])


def _type(kind: PredictionType) -> pa.DataType:
    import pyarrow as pa

    return {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}[kind]
