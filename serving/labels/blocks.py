"""Blocks of known identifiers: what each segment holds, small enough to be kept and fast enough to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """The identifiers of one segment as hashes in order, each with what else is asked of it.

    ``first`` and ``last`` are the smallest and largest identifier: those of predictions begin with the time of the
    answer, so that a question about last week never opens the segments of other weeks.
    """

    hashes: Hashes
    columns: dict[str, Integers]
    first: str
    last: str

    @property
    def n_bytes(self) -> int:
        """What the block takes of memory."""
        return self.hashes.nbytes + sum(column.nbytes for column in self.columns.values())

    def find(self, hashes: Hashes) -> tuple[Integers, Integers]:
        """Find where identifiers are: pairs of a position in *hashes* and a position in the block.

        An identifier that the block holds twice gives two pairs.
        """
        begin = np.searchsorted(self.hashes, hashes, side="left")
        counts = np.searchsorted(self.hashes, hashes, side="right") - begin
        asked = np.repeat(np.arange(len(hashes)), counts)
        within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        return asked, np.repeat(begin, counts) + within


def make_block(ids: Sequence[str], columns: Mapping[str, Integers]) -> Block:
    """Make a block of at least one identifier; *columns* are in the order of *ids*.

    Examples
    --------
    >>> block = make_block(["b", "a", "b"], {"at": np.array([1, 2, 3])})
    >>> asked, found = block.find(hash_texts(["a", "b", "c"]))
    >>> [(int(one), int(block.columns["at"][other])) for one, other in zip(asked, found)]
    [(0, 2), (1, 1), (1, 3)]
    """
    hashes = hash_texts(ids)
    order = np.argsort(hashes, kind="stable")
    sorted_columns = {name: values[order] for name, values in columns.items()}
    return Block(hashes[order], sorted_columns, min(ids), max(ids))


def join_blocks(one: Block, other: Block) -> Block:
    """Make one block of two, as a growing segment needs it."""
    hashes = np.concatenate([one.hashes, other.hashes])
    order = np.argsort(hashes, kind="stable")
    columns = {name: np.concatenate([one.columns[name], other.columns[name]])[order] for name in one.columns}
    return Block(hashes[order], columns, min(one.first, other.first), max(one.last, other.last))


def hash_texts(texts: Sequence[str]) -> Hashes:
    """Hash texts to 64 bits, the same in every process: of a billion, two share one with a chance of 1 in 37."""
    hashes: Hashes = pd.util.hash_array(np.array(texts, dtype=object), categorize=False)
    return hashes
