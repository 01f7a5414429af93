"""The prediction log: every answered row and every label, on disk before anybody is told.

Below the home folder, ``traffic/MODEL/predictions`` and ``traffic/MODEL/labels`` hold segments
(:mod:`serving.log.segments`). Each process writes its own, one for each version that it serves, so all rows of a
segment have one signature; readers see all segments of all processes, living or dead. What an acknowledged prediction
has outlived is the pipeline's choice (:mod:`base.log_spec`); by default it is on disk.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from base.log_spec import Durability, LogSpec, OnFull
from base.settings import Settings
from registry.manifest import ModelManifest
from serving.log.accounts import NOT_LOGGED, SAMPLED_OUT, Accounts
from serving.log.batches import SHADOW, LoggedBatch, make_document, make_header, sample_batch
from serving.log.committer import Commit, Committer, Done
from serving.log.growing import Segment, Stream
from serving.log.kinds import PREDICTIONS
from serving.log.sealing import seal_and_close
from serving.log.segments import Document, segment_folder
from serving.log.upkeep_rounds import Round, UpkeepRounds, has_left
from serving.log.writers import this_writer

_log = logging.getLogger(__name__)


class PredictionLog:
    """What one service process writes, and its accounts.

    Parameters
    ----------
    segment_rows, segment_seconds : int, float
        How many rows a segment gets, and how old, before it is sealed.
    upkeep_seconds : float
        How often the log is kept up, once it is started.
    durability, on_full : optional
        For pipelines that do not say.
    """

    def __init__(
        self,
        home: Path,
        *,
        segment_rows: int,
        segment_seconds: float = 3600.0,
        upkeep_seconds: float = 60.0,
        durability: Durability = "fsync",
        on_full: OnFull = "refuse",
    ) -> None:
        self._home = home
        self._segment_rows = segment_rows
        self._segment_seconds = segment_seconds
        self._upkeep_seconds = upkeep_seconds
        self._durability: Durability = durability
        self._on_full: OnFull = on_full
        self._writer = this_writer()
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="everfit-sealer")
        self._committer = Committer()
        self._streams: dict[tuple[str, str, int], tuple[Stream, LogSpec]] = {}
        self._lock = threading.Lock()
        self._troubles: dict[str, str] = {}
        self._upkeep: UpkeepRounds | None = None
        self.accounts = Accounts(home / "traffic" / "accounts", writer=self._writer)

    @classmethod
    def from_settings(cls, settings: Settings) -> PredictionLog:
        """Open a log as the settings say."""
        return cls(
            settings.home.absolute(),
            segment_rows=settings.segment_rows,
            segment_seconds=settings.segment_seconds,
            upkeep_seconds=settings.log_upkeep_seconds,
            durability=settings.log_durability,
            on_full=settings.log_on_full,
        )

    @property
    def trouble(self) -> str | None:
        """Why rows of a model cannot be logged at present, or None."""
        return "; ".join(self._troubles.values()) or None

    def start(self, do_round: Round) -> None:
        """Keep the log up in the background from now on: adopt, seal what is old, move, remove, and count."""
        if self._upkeep is None:
            self._upkeep = UpkeepRounds(
                seconds=self._upkeep_seconds,
                rotate=self._rotate,
                has_work=partial(has_left, self._home),
                do_round=do_round,
            )
            self._upkeep.start()

    def commit(self, manifest: ModelManifest, number: int, batches: Sequence[LoggedBatch], done: Done) -> None:
        """Have answered requests of one model version logged with the next group, and count them as stored.

        *done* is called in the log's own thread, once: with None when the rows are as safe as the pipeline wants, or
        with the error, and then none of them is in the log and whoever accepted them must reject them. A pipeline that
        wants to go on is told None in either case, and the rows are counted as rejected here.
        """
        stream, spec = self._stream_of(manifest, number)
        n_shadow = sum(len(batch.ids) for batch in batches if batch.arm == SHADOW)
        n_seen = sum(len(batch.ids) for batch in batches) - n_shadow
        n_left_out = 0
        if spec.durability == "sampled" and spec.sample is not None and spec.sample < 1:
            batches = [sample_batch(batch, spec.sample) for batch in batches]
            n_kept = sum(len(batch.ids) for batch in batches if batch.arm != SHADOW)
            n_shadow = sum(len(batch.ids) for batch in batches if batch.arm == SHADOW)
            n_left_out, n_seen = n_seen - n_kept, n_kept
        documents = [(make_document(batch), len(batch.ids)) for batch in batches if batch.ids]

        def settle(error: OSError | None) -> None:
            done(self._settle(manifest.model, spec, n_seen, n_shadow, n_left_out, error))

        if documents:
            self._committer.submit(Commit(stream, documents, spec.durability == "fsync", settle))
        else:
            settle(None)

    def append(self, manifest: ModelManifest, number: int, batches: Sequence[LoggedBatch]) -> None:
        """Log answered requests of one model version, and return when they are safe.

        Raises
        ------
        OSError
            If the disk does not take them; then none of them is in the log.
        """
        _wait(partial(self.commit, manifest, number, batches))

    def append_documents(self, model: str, kind: str, documents: Sequence[tuple[Document, int]]) -> None:
        """Log documents of another kind than predictions, each with its number of rows, and return when they are safe.

        Raises
        ------
        OSError
            If the disk does not take them; then none of them is in the log.
        """
        stream, spec = self._open_stream(model, kind, 0, {"model": model}, LogSpec(durability="fsync"))
        synced = spec.durability == "fsync"
        _wait(lambda done: self._committer.submit(Commit(stream, documents, synced, done)))

    def retire(self, model: str, number: int) -> None:
        """Have the segment of a version sealed that serves no more."""
        opened = self._streams.get((model, PREDICTIONS, number))
        if opened is not None:
            opened[0].rotate()

    def close(self) -> None:
        """Write what waits, finish the sealing under way and let go of the open segments, which stay as lines."""
        if self._upkeep is not None:
            self._upkeep.stop()
        self._committer.close()
        with self._lock:
            for stream, _ in self._streams.values():
                stream.close()
            self._streams.clear()
        self._sealer.shutdown(wait=True, cancel_futures=True)
        self.accounts.close()

    def _stream_of(self, manifest: ModelManifest, number: int) -> tuple[Stream, LogSpec]:
        opened = self._streams.get((manifest.model, PREDICTIONS, number))
        if opened is not None:
            return opened
        return self._open_stream(manifest.model, PREDICTIONS, number, make_header(manifest, number), manifest.log)

    def _open_stream(
        self, model: str, kind: str, number: int, header: Document, spec: LogSpec
    ) -> tuple[Stream, LogSpec]:
        key = (model, kind, number)
        with self._lock:
            if key not in self._streams:
                stream = Stream(
                    segment_folder(self._home, model, kind),
                    header | {"writer": self._writer.name},
                    segment_rows=self._segment_rows,
                    hand_over=partial(self._hand_over, kind),
                )
                chosen = {
                    "durability": spec.durability or self._durability,
                    "on_full": spec.on_full or self._on_full,
                }
                self._streams[key] = stream, spec.model_copy(update=chosen)
            return self._streams[key]

    def _rotate(self) -> None:
        with self._lock:
            streams = [stream for stream, _ in self._streams.values()]
        for stream in streams:
            stream.rotate(older_than=self._segment_seconds)

    def _hand_over(self, kind: str, segment: Segment) -> None:
        sealing = self._sealer.submit(seal_and_close, segment, kind)
        # One that waits when the log is closed is left to others, who need its lock.
        sealing.add_done_callback(lambda ended: segment.close() if ended.cancelled() else None)

    def _settle(
        self, model: str, spec: LogSpec, n_seen: int, n_shadow: int, n_left_out: int, error: OSError | None
    ) -> OSError | None:
        if error is None:
            if n_seen:
                self.accounts.store(model, n_seen)
            if n_shadow:
                self.accounts.store_shadow(model, n_shadow)
            if n_left_out:
                self.accounts.reject(model, SAMPLED_OUT, n_left_out)
            if model in self._troubles:
                del self._troubles[model]
                _log.warning("model %r: predictions are logged again", model)
            return None
        goes_on = spec.on_full == "go_on"
        reason = error.strerror or type(error).__name__
        trouble = f"predictions of {model!r} are {'given without being logged' if goes_on else 'refused'}: {reason}"
        if self._troubles.get(model) != trouble:
            _log.error("%s; free the disk", trouble)
            self._troubles[model] = trouble
        if not goes_on:
            return error
        self.accounts.reject(model, NOT_LOGGED, n_seen + n_left_out)
        return None


def _wait(submit: Callable[[Done], None]) -> None:
    outcome: list[OSError | None] = []
    is_done = threading.Event()

    def done(error: OSError | None) -> None:
        outcome.append(error)
        is_done.set()

    submit(done)
    is_done.wait()
    if (error := outcome[0]) is not None:
        raise error
