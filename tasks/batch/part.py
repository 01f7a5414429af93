"""One part of a batch: from rows of the input to rows of the output, those set aside, and what is to be logged."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import orjson

from base.atomic_files import writing
from base.rows.personal import protect_columns
from base.times import utc_now
from serving.log.batches import LoggedBatch
from tasks.batch.job import BatchJob, PartRecord
from tasks.batch.log import write_unlogged
from tasks.batch.output import AnswerColumns, write_part
from tasks.batch.rows import rows_from_table
from tasks.batch.scoring import PartScorer, Rejected
from tasks.batch.version import LoadedVersion

if TYPE_CHECKING:
    import pyarrow as pa


class PartPredictor:
    """Predicts the parts of a batch.

    Parameters
    ----------
    carried : sequence of str
        The columns of the input that the output has too.
    has_headers : bool
        Whether each part is a file of its own in the end, and not only the first one begins with its columns' names.
    """

    def __init__(self, job: BatchJob, version: LoadedVersion, *, carried: Sequence[str], has_headers: bool) -> None:
        self._job, self._version = job, version
        self._key = version.scorer.personal_key
        self._carried = list(carried)
        self._has_headers = has_headers
        self._answers = AnswerColumns(version.scorer, version.number, carried=self._carried)

    def predict(self, table: pa.Table, number: int, first_row: int) -> PartRecord:
        """Predict the rows of one part, and write down all that comes of it; its record last.

        Parameters
        ----------
        first_row : int
            The place of the part's first row in the input.

        Raises
        ------
        RunFailed, OSError
            Then the part is not finished.
        """
        import pyarrow as pa

        job, version = self._job, self._version
        began = time.perf_counter()
        rows = rows_from_table(table, version.manifest.contract.columns)
        ids = job.make_ids(number, len(rows))
        scorer = PartScorer(version.scorer, [])
        places: list[int] = []
        answers = []
        with writing(job.unlogged_file(number)) as unlogged:
            for scored in scorer.score(rows):
                places += scored.places
                answers.append(scored.answers)
                if job.plan.is_logged:
                    batch = LoggedBatch(
                        ids=[ids[place] for place in scored.places],
                        rows=scored.rows,
                        answers=_raw(scored.answers),
                        at=utc_now(),
                        arm=job.record.arm,
                        path=version.scorer.path,
                        micros=int((time.perf_counter() - began) * 1e6),
                    )
                    unlogged.write(write_unlogged(batch))
        if not job.plan.is_logged:
            job.unlogged_file(number).unlink()
        together = np.concatenate(answers) if answers else np.zeros((0, len(version.manifest.classes or ())))
        if version.manifest.classes is None:
            together = together.reshape(-1)
        carried = self._protect(table.select(self._carried).take(pa.array(places, pa.int64())))
        out = self._answers.add_to(carried, [ids[place] for place in places], together)
        write_part(out, job.part_file(number), has_header=self._has_headers or number == 0)
        if scorer.rejected:
            self._write_rejected(table, scorer.rejected, number, first_row)
        record = PartRecord(
            number=number,
            n_rows=len(rows),
            n_predicted=len(places),
            n_rejected=len(scorer.rejected),
            n_warned=scorer.n_warned,
        )
        job.finish_part(record)
        return record

    def _protect(self, table: pa.Table) -> pa.Table:
        return table if self._key is None else protect_columns(table, self._version.manifest.contract, self._key)

    def _write_rejected(self, table: pa.Table, rejected: list[Rejected], number: int, first_row: int) -> None:
        rejected = sorted(rejected, key=lambda one: one.place)
        rows = self._protect(table.take([one.place for one in rejected])).to_pylist()
        with writing(self._job.rejected_file(number)) as stream:
            for one, row in zip(rejected, rows, strict=True):
                document = {"row": first_row + one.place, "reasons": one.reasons, "data": row}
                stream.write(orjson.dumps(document, default=str, option=orjson.OPT_APPEND_NEWLINE))


def _raw(answers: npt.NDArray[np.float64]) -> list[float | list[float]]:
    is_second = answers.ndim == 2 and answers.shape[1] == 2
    found: list[float | list[float]] = (answers[:, 1] if is_second else answers).tolist()
    return found
