"""Intake: what came is compared with what is known, counted, and written to the log before anybody is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock

from base.errors import EverfitError
from base.settings import Settings
from base.times import utc_now
from registry.manifest import ModelManifest
from serving.labels.key_match import match_keys
from serving.labels.known import NEVER, KnownLabels, KnownPredictions, Version, hash_values
from serving.labels.label import KeyedLabel, Label, LabelBatch
from serving.labels.stored import KIND, make_document, microseconds, waiting_id, write_key, write_value
from serving.log.accounts import Accounts
from serving.log.prediction_log import PredictionLog
from serving.log.segments import Document

_MICROSECOND = timedelta(microseconds=1)

ACCOUNTS_FOLDER = "label-accounts"
"""Beside the models' folders; no model's name has a hyphen."""

Append = Callable[[str, str, Sequence[tuple[Document, int]]], None]
"""Writes documents of a model and kind, each with its number of rows, durably: ``PredictionLog.append_documents``."""


class BatchNameTaken(EverfitError):
    """Two different batches of labels came under one name."""

    exit_code = 2

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the idempotency key {name!r} has been used for other labels; a key names one batch, so that the batch "
            "can be sent again when nobody answered: take a new key for new labels"
        )
        self.name = name


@dataclass(frozen=True)
class Counts:
    """What became of labels that came together.

    ``received`` = ``accepted`` + ``refused``, and ``accepted`` = ``stored`` + those of the ``repeated`` ones that say
    nothing new at all. The others tell of the accepted labels: ``repeated`` (the prediction has this value already),
    ``corrected`` (it had another one), ``late`` (observed after the horizon and its grace), ``unknown`` (no such
    prediction in this log; kept, and joined when it turns up), ``ambiguous`` (the key fits several predictions of one
    moment; each is given the label).
    """

    received: int = 0
    accepted: int = 0
    stored: int = 0
    repeated: int = 0
    corrected: int = 0
    late: int = 0
    unknown: int = 0
    ambiguous: int = 0
    refused: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})

    def as_json(self) -> dict[str, int]:
        """The counts as the service answers them."""
        return asdict(self)


class LabelIntake:
    """Takes labels for one process's log; threads may take at the same time.

    Other processes write to the same folder: what they have written is seen, and where two take the same label at the
    very same moment, both write it and readers count it once.

    Parameters
    ----------
    append : callable
        See :data:`Append`.
    grace : timedelta
        How long after its horizon a label may be observed before it counts as late.
    accounts : Accounts, optional
        Counts every label by model: stored, or rejected as ``repeated``, ``refused`` or ``not_logged``.
    """

    def __init__(
        self,
        home: Path,
        append: Append,
        *,
        grace: timedelta = timedelta(hours=1),
        accounts: Accounts | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._home = home
        self._append = append
        self._grace = grace
        self._clock = clock
        self._models: dict[str, _Known] = {}
        self._lock = Lock()
        self.accounts = accounts or Accounts()

    @classmethod
    def from_settings(cls, settings: Settings, log: PredictionLog) -> LabelIntake:
        """Take labels for a log as the settings say, with accounts beside those of the predictions."""
        home = settings.home.absolute()
        grace = timedelta(seconds=settings.label_grace_seconds)
        accounts = Accounts(home / "traffic" / ACCOUNTS_FOLDER)
        return cls(home, log.append_documents, grace=grace, accounts=accounts)

    def take(
        self, model: str, manifest: ModelManifest, batch: LabelBatch, *, name: str | None = None, digest: str = ""
    ) -> Counts:
        """Take labels, and return when they are as durable as the log.

        Parameters
        ----------
        name : str, optional
            The sender's name for this batch (``Idempotency-Key``): a batch that has been taken under this name is not
            written again.
        digest : str
            The digest of what the batch held.

        Raises
        ------
        BatchNameTaken
            If another batch came under this name.
        OSError
            If the disk does not take them; then none of them is in the log.
        """
        self.accounts.accept(model, batch.n_received)
        self._reject(model, "refused", batch.n_refused)
        n_right = batch.n_received - batch.n_refused
        try:
            with self._lock:
                known = self._models.setdefault(model, _Known(self._home, model))
            # The comparison and the writing are one, or two threads would both find a label new.
            with known.lock:
                counts = self._take(known, model, manifest, batch, name, digest)
        except BaseException:
            self._reject(model, "not_logged", n_right)
            raise
        self.accounts.store(model, counts.stored)
        self._reject(model, "repeated", n_right - counts.stored)
        return counts

    def _reject(self, model: str, reason: str, n_labels: int) -> None:
        if n_labels:
            self.accounts.reject(model, reason, n_labels)

    def _take(
        self, known: _Known, model: str, manifest: ModelManifest, batch: LabelBatch, name: str | None, digest: str
    ) -> Counts:
        now = self._clock()
        tally = Counter[str](received=batch.n_received, refused=batch.n_refused)
        tally["accepted"] = batch.n_received - batch.n_refused
        matches = match_keys(self._home, model, batch.keyed) if batch.keyed else []
        asked = [label.id for label in batch.labels] + [one for ids in matches for one in ids]
        names = [waiting_id(write_key(one.key), microseconds(one.time)) for one in batch.keyed]
        versions = known.labels.versions(asked + names)
        if name is not None and (earlier := known.labels.batches.get(name)) is not None:
            if earlier != digest:
                raise BatchNameTaken(name)
            tally["repeated"] = tally["accepted"]
            return Counts(**tally)
        event_times = dict(zip(asked, known.predictions.event_times(asked).tolist(), strict=True))
        due = (manifest.label_delay + self._grace) // _MICROSECOND
        values = hash_values([*(one.value for one in batch.labels), *(one.value for one in batch.keyed)])
        judge = _Judge(versions, event_times, values, due, microseconds(now))
        written: list[Label] = []
        waiting: list[KeyedLabel] = []
        for label in batch.labels:
            tally.update(judge.judge([label], written))
        for keyed, ids, own in zip(batch.keyed, matches, names, strict=True):
            labels = [Label(one, keyed.value, keyed.observed_at, keyed.is_dated) for one in ids or [own]]
            taken: list[Label] = []
            tally.update(judge.judge(labels, taken))
            tally["ambiguous"] += len(ids) > 1
            if ids:
                written += taken
            elif taken:
                waiting.append(keyed)
        if written or waiting or name is not None:
            named = None if name is None else (name, digest)
            document = make_document(written, waiting, at=now, batch=named)
            self._append(model, KIND, [(document, len(written) + len(waiting))])
        return Counts(**tally)


class _Known:
    """What is known of one model, and who may compare with it at present."""

    def __init__(self, home: Path, model: str) -> None:
        self.lock = Lock()
        self.predictions = KnownPredictions(home, model)
        self.labels = KnownLabels(home, model)


class _Judge:
    """Compares labels with the versions of before, and with those of the same request."""

    def __init__(
        self,
        versions: dict[str, list[Version]],
        event_times: dict[str, int],
        values: dict[str, int],
        due: int,
        received_at: int,
    ) -> None:
        self._versions = versions
        self._event_times = event_times
        self._values = values
        self._due = due
        self._received_at = received_at

    def judge(self, labels: Sequence[Label], written: list[Label]) -> dict[str, int]:
        """Say what a label is that was given to one prediction or more, and add to *written* what is new of it."""
        found: set[str] = set()
        for label in labels:
            found |= self._judge_one(label, written)
        return dict.fromkeys(found, 1)

    def _judge_one(self, label: Label, written: list[Label]) -> set[str]:
        version = Version(microseconds(label.observed_at), self._received_at, self._values[write_value(label.value)])
        before = self._versions.setdefault(label.id, [])
        found: set[str] = set()
        event_time = self._event_times.get(label.id, NEVER)
        if event_time == NEVER:
            found.add("unknown")
        elif version.observed_at > event_time + self._due:
            found.add("late")
        is_new = True
        if before:
            newest = max(before, key=lambda one: (one.observed_at, one.received_at))
            found.add("repeated" if newest.value == version.value else "corrected")
            if any(one.value == version.value and one.observed_at == version.observed_at for one in before):
                # This very version came before, whatever came after it: it is sent again, and corrects nothing.
                is_new, found = False, (found - {"corrected"}) | {"repeated"}
            elif not label.is_dated and newest.value == version.value:
                # Without a moment of its own, the same value once more says nothing that was not known.
                is_new = False
        if is_new:
            found.add("stored")
            before.append(version)
            written.append(label)
        return found
