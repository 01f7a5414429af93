"""Predict a file of any size: part after part, each written whole, logged once, and never predicted twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import orjson

from base.atomic_files import write_atomically
from base.errors import ArgumentError, DataRefused, Fault, nearest
from base.fingerprint import digest_document
from base.settings import Settings
from registry.store import Registry
from tasks.batch.input import BatchInput, open_input
from tasks.batch.job import BatchJob, BatchPlan, PartRecord, begin_job, find_record, hold_folder, throw_away
from tasks.batch.log import BatchLog
from tasks.batch.output import find_output, join_lines, join_parts, move_folder
from tasks.batch.part import PartPredictor
from tasks.batch.request import BatchRequest, BatchResult, Progress, find_done, write_receipt
from tasks.batch.version import LoadedVersion, open_version
from tasks.frames import give_back_memory


def predict_batch(
    request: BatchRequest,
    registry: Registry,
    settings: Settings,
    *,
    folder: Path,
    tell: Callable[[Progress], None] = lambda _: None,
) -> BatchResult:
    """Predict the rows of a source into a file, or a folder of parts.

    Parameters
    ----------
    folder : Path
        Where relative paths start.

    Raises
    ------
    ArgumentError, DefinitionError
        If input, output or columns cannot be; if another batch into the same output is not finished.
    DataRefused
        If the input cannot be read, lacks a column that each row must have, or more than a share of ``max_rejected`` of
        its rows breaks the signature; then there is no output, and nothing is logged.
    RunFailed, VersionNotFound, ModelDisagrees, OSError
        If the version cannot be loaded or fails; what is finished is kept for the next run.
    """
    target, kind, is_folder = find_output(request.output, folder)
    work = target.with_name(f"{target.name}.parts")
    began = time.monotonic()
    with hold_folder(work):
        if request.again:
            throw_away(work)
        record = find_record(work)
        which = request.version or (None if record is None else str(record.plan.version))
        name = request.model if which is None else f"{request.model}@{which}"
        (work / "fetched").mkdir(exist_ok=True)
        rows = open_input(request.input, folder, settings, into=work / "fetched")
        with open_version(registry, settings, name, compiled=settings.compiled) as version:
            _check_columns(rows, version, request)
            plan = BatchPlan(
                input=request.input,
                digest=rows.digest,
                model=version.model,
                version=version.number,
                manifest=digest_document(version.manifest.model_dump(mode="json")),
                columns=request.columns,
                format=kind,
                part_rows=request.part_rows,
                is_logged=request.is_logged,
            )
            if record is None and not request.again and (done := find_done(target, plan)):
                return done
            job = begin_job(work, plan, arm=version.arm)
            run = _Run(job, rows, version, request, settings, registry, target, is_folder, began, tell)
            return run.run()


class _Run:
    """One run of a batch, from wherever the one before has ended."""

    def __init__(
        self,
        job: BatchJob,
        rows: BatchInput,
        version: LoadedVersion,
        request: BatchRequest,
        settings: Settings,
        registry: Registry,
        target: Path,
        is_folder: bool,
        began: float,
        tell: Callable[[Progress], None],
    ) -> None:
        self._job, self._input, self._version = job, rows, version
        self._request, self._settings, self._registry = request, settings, registry
        self._target, self._is_folder = target, is_folder
        self._began, self._tell = began, tell
        carried = request.columns if request.columns is not None else rows.schema.names
        self._part = PartPredictor(job, version, carried=carried, has_headers=is_folder)

    def run(self) -> BatchResult:
        parts = self._job.finished_parts()
        n_kept = sum(part.n_rows for part in parts)
        for table in self._input.read_parts(self._job.plan.part_rows, first=len(parts)):
            first_row = len(parts) * self._job.plan.part_rows
            parts.append(self._part.predict(table, len(parts), first_row))
            self._check_share(parts, is_end=False)
            self._report(sum(part.n_rows for part in parts), n_kept)
            del table
            give_back_memory()
        self._input.check_unchanged()
        if not sum(part.n_rows for part in parts):
            self._job.remove()
            raise DataRefused(self._input.source, [Fault(None, "no rows", "at least one row")], "give rows to predict")
        self._check_share(parts, is_end=True)
        if self._job.plan.is_logged:
            self._log(parts)
        return self._deliver(parts, n_kept)

    def _check_share(self, parts: list[PartRecord], *, is_end: bool) -> None:
        n_rejected = sum(part.n_rejected for part in parts)
        n_rows = sum(part.n_rows for part in parts) if is_end else self._input.n_rows
        if n_rows is None or n_rejected <= self._request.max_rejected * n_rows:
            return
        aside = self._aside()
        join_lines([self._job.rejected_file(part.number) for part in parts], aside)
        first = orjson.loads(aside.read_bytes().partition(b"\n")[0])
        # Nothing is kept: the same rows would be refused again, and others are another batch.
        self._job.remove()
        more = "" if is_end else "at least "
        fault = Fault(
            None,
            f"{more}{n_rejected:,} of {n_rows:,} rows that break the signature, such as row {first['row']:,}: "
            f"{'; '.join(first['reasons'])}",
            f"at most a share of {self._request.max_rejected:g}",
        )
        raise DataRefused(
            f"the input {self._input.source!r}",
            [fault],
            f"mend the rows, which are set aside in {str(aside)!r} with their reasons, or allow more by --max-rejected",
        )

    def _log(self, parts: list[PartRecord]) -> None:
        marker = self._job.logging_marker
        log = BatchLog(
            self._settings,
            self._registry,
            self._version.manifest,
            self._version.number,
            was_begun=marker.exists(),
        )
        write_atomically(marker, b"")
        try:
            for part in parts:
                log.log_part(self._job.unlogged_file(part.number), n_rejected=part.n_rejected)
                self._tell(Progress(sum(one.n_rows for one in parts[: part.number + 1]), None, None, is_logging=True))
        finally:
            log.close()

    def _deliver(self, parts: list[PartRecord], n_kept: int) -> BatchResult:
        job, target = self._job, self._target
        rows = job.folder / "rows"
        aside = self._aside()
        n_rejected = sum(part.n_rejected for part in parts)
        join_lines([job.rejected_file(part.number) for part in parts], aside)
        if not self._is_folder:
            join_parts([job.part_file(part.number) for part in parts], target)
        elif rows.exists():
            move_folder(rows, target)
        result = BatchResult(
            model=self._version.model,
            version=self._version.number,
            input=self._request.input,
            output=str(target),
            n_rows=sum(part.n_rows for part in parts),
            n_predicted=sum(part.n_predicted for part in parts),
            n_rejected=n_rejected,
            n_warned=sum(part.n_warned for part in parts),
            n_parts=len(parts),
            n_kept=n_kept,
            rejected=str(aside) if n_rejected else None,
            is_logged=job.plan.is_logged,
            seconds=time.monotonic() - self._began,
        )
        write_receipt(target, job.plan, result)
        job.remove()
        return result

    def _aside(self) -> Path:
        return self._target.with_name(f"{self._target.name}.rejected.jsonl")

    def _report(self, n_done: int, n_kept: int) -> None:
        n_rows = self._input.n_rows
        pace = (n_done - n_kept) / max(time.monotonic() - self._began, 1e-9)
        left = None if n_rows is None or not pace else (n_rows - n_done) / pace
        self._tell(Progress(n_done, n_rows, left))


def _check_columns(rows: BatchInput, version: LoadedVersion, request: BatchRequest) -> None:
    names = rows.schema.names
    for name in request.columns or ():
        if name not in names:
            raise ArgumentError(f"--columns names {name!r}, which the input does not have{nearest(name, names)}")
    missing = [
        name for name, rule in version.manifest.contract.columns.items() if not rule.nullable and name not in names
    ]
    if missing:
        faults = [Fault(name, "no such column", "it in each row") for name in missing]
        raise DataRefused(f"the input {rows.source!r}", faults, f"add it; the columns are {', '.join(names)}")
