"""Cut rows into train, validation and test by time, so that no part knows what another is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from base.artifacts import ArtifactStore
from base.pipeline import PipelineSpec, SplitSpec
from base.references import Part, Rows
from base.rows.reading import load_rows

FEWEST_UNSEEN = 100
"""With fewer rows that the champion has not learnt from, nothing could be told of it."""

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HASH_KEY = "everfit's groups"  # pandas asks for 16 bytes
# A row without a group is hashed by its number, which must not be met among the groups' own numbers.
_ALONE = np.uint64(0x9E3779B97F4A7C15)

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Three parts of the rows that are kept, and where those lie among all rows.

    ``positions`` is None where kept row *i* is row *i*. Between the train and the validation part may lie rows
    that only the last fit learns from, together with both; between validation and test, rows that nothing uses.

    Attributes
    ----------
    positions : array of shape (n_kept,), optional
    n_in_gap : int
        Rows whose target was not known when the next part began, and which nothing learns from for it.
    n_of_groups : int
        Newer rows that are left out since their group is learnt from.
    """

    train: Part
    validation: Part
    test: Part
    positions: Positions | None = None
    n_in_gap: int = 0
    n_of_groups: int = 0

    @property
    def left_out(self) -> dict[str, int]:
        """How many rows nothing uses, by reason."""
        counts = {
            "whose target was not known when the next part began": self.n_in_gap,
            "of groups that the model learns from": self.n_of_groups,
        }
        return {why: count for why, count in counts.items() if count}


def split_rows(
    artifacts: ArtifactStore, rows: Rows, spec: PipelineSpec, *, seen_until: datetime | None = None
) -> Split:
    """Split stored rows as the definition says, reading their time and groups alone.

    Parameters
    ----------
    seen_until : datetime, optional
        Up to when the champion has learnt. A test part that would begin before that begins right after it, without a
        gap: rows that the champion knows cannot judge it, and the challenger shall know all of them too.
    """
    split = spec.prepare.split
    columns = [*([] if spec.time is None else [spec.time]), *split.groups]
    if not columns:
        return split_moments(np.arange(rows.n_rows), split)
    table = load_rows(artifacts, rows, columns=columns)
    groups = number_groups(table.select(list(split.groups))) if split.groups else None
    if spec.time is None:
        return split_by_group(groups, split) if groups is not None else split_moments(np.arange(rows.n_rows), split)
    moments: Positions = table[spec.time].cast("int64").to_numpy()
    n_seen = None
    if seen_until is not None and len(moments):
        n_seen = int(np.searchsorted(moments, (seen_until - _EPOCH) // _MICROSECOND, side="right"))
        if not FEWEST_UNSEEN <= len(moments) - n_seen < split.test * len(moments):
            n_seen = None
    return split_moments(moments, split, gap=measure_gap(spec), groups=groups, n_seen=n_seen)


def measure_gap(spec: PipelineSpec) -> int:
    """Return how many microseconds lie between what is learnt and what is judged: targets come that late."""
    split = spec.prepare.split
    return (spec.extract.label_delay if split.gap is None else split.gap) // _MICROSECOND


def split_moments(
    moments: Positions,
    split: SplitSpec,
    *,
    gap: int = 0,
    groups: Positions | None = None,
    n_seen: int | None = None,
) -> Split:
    """Split rows in time order, with a gap before each part and no group in two of them.

    A row is learnt from for a part only when its target was known as the part began: rows of the last *gap* before
    the cut are left out (purging; López de Prado 2018, chapter 7; ``gap`` of scikit-learn's TimeSeriesSplit). Those
    before the validation part are learnt from again in the last fit, since the test part begins later.

    A group belongs to the first part that it lies in; its rows in later parts are left out of those, so that a
    part judges groups that were not learnt from. What the validation part leaves out, the last fit learns from.

    Parameters
    ----------
    moments : array of shape (n_rows,)
        In order; in the unit of *gap*.
    groups : array of shape (n_rows,), optional
        The number of each row's group.
    n_seen : int, optional
        How many rows the champion has learnt from: the test part begins after them, and all of them are learnt from,
        since two models are compared that shall know the same. They are cut as if there were no others, so that two
        champions of the same age meet the same challenger.

    Examples
    --------
    >>> hours = np.arange(10)
    >>> split = split_moments(hours, SplitSpec(validation=0.3, test=0.3), gap=2)
    >>> [(part.start, part.stop) for part in (split.train, split.validation, split.test)]
    [(0, 3), (4, 6), (7, 10)]
    >>> split = split_moments(hours, SplitSpec(validation=0.3, test=0.3), gap=2, n_seen=8)
    >>> [(part.start, part.stop) for part in (split.train, split.validation, split.test)]
    [(0, 4), (5, 8), (8, 10)]
    """
    train, validation, test = split_by_time(moments, split.validation, split.test, n_seen)
    if not len(moments):
        return Split(train, validation, test)
    # A row one gap before the next part is known just as that begins.
    train_stop = _stop_before(moments, train, validation, gap)
    validation_stop = _stop_before(moments, validation, test, gap if n_seen is None else 0)
    if groups is None:
        return Split(
            Part(start=0, stop=train_stop),
            Part(start=min(validation.start, validation_stop), stop=validation_stop),
            test,
            n_in_gap=test.start - validation_stop,
        )
    learnt = np.zeros(int(groups.max()) + 1, dtype=bool)
    learnt[groups[:train_stop]] = True
    candidates = np.arange(validation.start, max(validation_stop, validation.start))
    is_known = learnt[groups[candidates]]
    learnt[groups[train_stop:validation_stop]] = True
    judged = np.arange(test.start, test.stop)
    is_new = ~learnt[groups[judged]]
    between = np.concatenate([np.arange(train_stop, min(validation.start, validation_stop)), candidates[is_known]])
    stops = np.cumsum([train_stop, len(between), int((~is_known).sum()), int(is_new.sum())]).tolist()
    return Split(
        Part(start=0, stop=stops[0]),
        Part(start=stops[1], stop=stops[2]),
        Part(start=stops[2], stop=stops[3]),
        np.concatenate([np.arange(train_stop), between, candidates[~is_known], judged[is_new]]),
        n_in_gap=test.start - validation_stop,
        n_of_groups=int((~is_new).sum()),
    )


def split_by_group(groups: Positions, split: SplitSpec) -> Split:
    """Split rows without a time by their groups, in the order of the groups' hashes: by chance, the same each time."""
    order = np.argsort(groups, kind="stable")
    train, validation, test = split_by_time(groups[order], split.validation, split.test)
    return Split(train, validation, test, order)


def split_by_time(
    moments: Positions, validation: float, test: float, n_before: int | None = None
) -> tuple[Part, Part, Part]:
    """Cut ordered rows into train, validation and test, never through equal moments where that can be.

    Each cut goes to the change of moment that is nearest to where the shares would have it. Where there are
    fewer than three moments, the rows' order decides. From three rows on, no part is empty.

    Parameters
    ----------
    n_before : int, optional
        How many rows lie before the test part; train and validation keep their proportion.

    Examples
    --------
    >>> parts = split_by_time(np.array([1, 1, 1, 1, 1, 1, 2, 2, 3, 3]), 0.2, 0.2)
    >>> [(part.start, part.stop) for part in parts]
    [(0, 6), (6, 8), (8, 10)]
    """
    if n_before is not None:
        cut = _cut(moments[:n_before], validation / (1 - test))
        return (
            Part(start=0, stop=cut),
            Part(start=cut, stop=n_before),
            Part(start=n_before, stop=len(moments)),
        )
    n_rows = len(moments)
    wanted = [round(n_rows * (1 - validation - test)), round(n_rows * (1 - test))]
    if n_rows and (first := _next_change(moments, 0)) < (last := _change_at_or_before(moments, n_rows - 1)):
        stop = max(_nearest_change(moments, wanted[1], first, last), _next_change(moments, first))
        wanted = [_nearest_change(moments, wanted[0], first, _change_at_or_before(moments, stop - 1)), stop]
    elif n_rows >= 3:
        last = min(max(wanted[1], 2), n_rows - 1)
        wanted = [min(max(wanted[0], 1), last - 1), last]
    return Part(start=0, stop=wanted[0]), Part(start=wanted[0], stop=wanted[1]), Part(start=wanted[1], stop=n_rows)


def _cut(moments: Positions, share: float) -> int:
    """Cut ordered rows in two, the newer part of which holds a share; neither is empty where there are two rows."""
    n_rows = len(moments)
    wanted = round(n_rows * (1 - share))
    if n_rows and (first := _next_change(moments, 0)) <= (last := _change_at_or_before(moments, n_rows - 1)):
        return _nearest_change(moments, wanted, first, last)
    return min(max(wanted, 1), max(n_rows - 1, 0))


def _next_change(moments: Positions, row: int) -> int:
    """Return where another moment than that of a row begins; the number of rows where none does."""
    return int(np.searchsorted(moments, moments[row], side="right"))


def _change_at_or_before(moments: Positions, row: int) -> int:
    """Return where the moment of a row begins."""
    return int(np.searchsorted(moments, moments[row], side="left"))


def _nearest_change(moments: Positions, wanted: int, first: int, last: int) -> int:
    """Return the change of moment, of those from *first* to *last*, that is nearest to a row; the earlier of two."""
    if wanted <= first:
        return first
    if wanted >= last:
        return last
    before, after = _change_at_or_before(moments, wanted), _next_change(moments, wanted)
    return before if wanted - before <= after - wanted else after


def number_groups(columns: pa.Table) -> Positions:
    """Number the group of each row; the numbers follow the hashes of the groups' values.

    Returns
    -------
    array of shape (n_rows,)
        A row without a value in any of the columns is a group of its own.
    """
    if columns.num_rows == 0:
        return np.empty(0, dtype=np.int64)
    hashes = np.zeros(columns.num_rows, dtype=np.uint64)
    is_missing = np.ones(columns.num_rows, dtype=bool)
    for column in columns.columns:
        encoded = column.combine_chunks()
        encoded = encoded if pa.types.is_dictionary(encoded.type) else encoded.dictionary_encode()
        # Each distinct value is hashed once; the hash of a missing one is 0.
        own = pd.util.hash_pandas_object(encoded.dictionary.to_pandas(), index=False, hash_key=_HASH_KEY).to_numpy()
        codes = encoded.indices.fill_null(len(own)).to_numpy(zero_copy_only=False)
        is_missing &= codes == len(own)
        hashes = hashes * np.uint64(31) + np.append(own, np.uint64(0))[codes]
    alone = np.flatnonzero(is_missing).astype(np.int64)
    hashes[alone] = pd.util.hash_array(alone) ^ _ALONE
    return pd.factorize(hashes, sort=True)[0].astype(np.int64)


def _stop_before(moments: Positions, part: Part, following: Part, gap: int) -> int:
    """Find where *part* must end for the rows before it to be known as *following* begins."""
    if gap == 0 or following.start >= len(moments):
        return part.stop
    begins = moments[following.start]
    return min(part.stop, int(np.searchsorted(moments, begins - gap, side="right")))
