"""Batches of answered rows as the log takes them, and the lines that they become."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from base.rows.personal import protected_contract
from features.views import joined_types
from registry.manifest import ModelManifest
from serving.log.segments import Document

SHADOW = "shadow"
"""Arm of answers that nobody saw."""


class LoggedBatch(msgspec.Struct, frozen=True, gc=False):
    """The rows of one request with what was answered.

    ``answers`` are raw: a value, the probability of the second class, or all probabilities where there are
    more than two classes. ``arm`` says as what the version answered (champion, challenger, shadow, or an arm's name),
    ``path`` what computed (onnx or scikit-learn), ``kind`` whether a client waited (online) or a file was predicted
    (batch), ``micros`` how long it took from the request's arrival until the log was given the answers.
    """

    ids: Sequence[str]
    rows: Sequence[dict[str, Any]]
    answers: Sequence[float | list[float]]
    at: datetime
    arm: str = "champion"
    path: str = "scikit-learn"
    kind: str = "online"
    micros: int = 0


def make_header(manifest: ModelManifest, number: int) -> Document:
    """Make the header of the segments of a version: its signature as it is logged."""
    # What is logged is hashed already, where it is personal.
    stored = protected_contract(manifest.contract)
    rules = {} if stored is None else stored.columns
    return {
        "model": manifest.model,
        "version": number,
        "time": manifest.time if manifest.time in rules and rules[manifest.time].type == "time" else None,
        "inputs": {name: rule.type for name, rule in rules.items()} | dict(joined_types(manifest.plan.views)),
    }


def make_document(batch: LoggedBatch) -> Document:
    """Make the line of a batch."""
    return {
        "at": microseconds(batch.at),
        "arm": batch.arm,
        "path": batch.path,
        "kind": batch.kind,
        "micros": batch.micros,
        "ids": batch.ids,
        "rows": batch.rows,
        "answers": batch.answers,
    }


def sample_batch(batch: LoggedBatch, share: float) -> LoggedBatch:
    """Keep the rows of a batch that are among a share of all."""
    chosen = [place for place, name in enumerate(batch.ids) if is_sampled(name, share)]
    return msgspec.structs.replace(
        batch,
        ids=[batch.ids[place] for place in chosen],
        rows=[batch.rows[place] for place in chosen],
        answers=[batch.answers[place] for place in chosen],
    )


def is_sampled(name: str, share: float) -> bool:
    """Tell whether a prediction is among a share of all, by its id alone.

    Examples
    --------
    >>> is_sampled("0192", 1.0), is_sampled("0192", 0.0)
    (True, False)
    """
    return zlib.crc32(name.encode()) < share * (1 << 32)


def microseconds(moment: datetime) -> int:
    """Count the microseconds from 1970 to a moment."""
    return int(moment.timestamp() * 1_000_000)
