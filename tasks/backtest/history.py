"""The history that a backtest walks: good rows in the order of time, cut into windows, and what was known when."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from base.artifacts import Artifact, ArtifactStore
from base.errors import ArgumentError
from base.pipeline import Pipeline
from base.references import Reference, Rows, Segment, Snapshot, ValidatedData
from base.rows.kept import find_kept_rows
from base.rows.reading import load_rows
from base.settings import Settings
from base.times import as_utc, describe_duration
from base.user_code import UserCode
from features.views import JoinedView
from monitoring.cutting import Span, cut_windows
from registry.feature_views import given_columns, resolve_views
from registry.store import Registry
from tasks.data_validation import validate_data
from tasks.extraction import extract_data
from tasks.joined_views import join_rows

FIRST_SHARE = 0.2
"""Of the rows, before the first served window, where nobody says when it begins."""

_FEWEST_WINDOWS = 3
# A stretch of so many windows without any row is told; of more than three, the longest.
_NOTABLE_GAP = 4
_MOST_GAPS_NAMED = 3

Moments = npt.NDArray[np.int64]


class HistoryDocument(Reference):
    """A history as it is kept, for other processes and for another day."""

    snapshot: Snapshot
    validated: ValidatedData
    views: tuple[JoinedView, ...]
    spans: tuple[Span, ...]
    pieces: tuple[Segment, ...]
    notes: tuple[str, ...]

    def open(self, pipeline: Pipeline, artifacts: ArtifactStore) -> History:
        """Read the rows of this history."""
        plain = load_rows(artifacts, self.validated.good)
        return History(
            pipeline=pipeline,
            code=UserCode(pipeline.code),
            document=self,
            rows=join_rows(plain, self.views, pipeline.spec.time, artifacts),
            plain=plain,
        )


@dataclass(frozen=True)
class History:
    """A pipeline's rows as a backtest sees them.

    Attributes
    ----------
    rows : Table of shape (n_rows, …)
        The good rows in the order of time, with the columns of feature views as of each row's time.
    plain : Table of shape (n_rows, …)
        The same rows without the views' columns.
    """

    pipeline: Pipeline
    code: UserCode
    document: HistoryDocument
    rows: pa.Table = field(repr=False)
    plain: pa.Table = field(repr=False)

    @property
    def spans(self) -> tuple[Span, ...]:
        """The served windows, in their order; what lies before the first trains the first champion."""
        return self.document.spans

    @property
    def delay(self) -> timedelta:
        """The label horizon: how long after its time a row's target is known."""
        return self.pipeline.spec.extract.label_delay

    @cached_property
    def moments(self) -> Moments:
        """When each row happened, in microseconds since 1970."""
        assert self.pipeline.spec.time is not None
        return _moments(self.rows, self.pipeline.spec.time)

    @cached_property
    def event_times(self) -> pd.Series[pd.Timestamp]:
        """When each row happened, in UTC."""
        return pd.Series(pd.to_datetime(self.moments, unit="us", utc=True))

    def slice_of(self, span: Span) -> slice:
        """Return the positions of the rows of a window."""
        return slice(self._position(span[0], side="left"), self._position(span[1], side="left"))

    def n_known(self, at: datetime) -> int:
        """Count the rows whose target was known at a moment."""
        return self._position(at - self.delay, side="right")

    def known(self, at: datetime, artifacts: ArtifactStore) -> ValidatedData:
        """Return the rows whose target was known at a moment, as a validation at that moment would have left them."""
        n_rows = self.n_known(at)
        chosen: list[Segment] = []
        left = n_rows
        for piece in self.document.pieces:
            if left < piece.n_stored:
                break
            chosen.append(piece)
            left -= piece.n_stored
        if left:
            chosen.append(_store_piece(artifacts, self.plain.slice(n_rows - left, left), self.pipeline))
        good = Rows(segments=tuple(chosen), time=self.document.validated.good.time)
        if (kept := find_kept_rows()) is not None:
            kept.keep(good, self.plain.slice(0, n_rows))
        return self.document.validated.model_copy(update={"good": good, "n_rows": n_rows, "judgements": None})

    def _position(self, moment: datetime, *, side: str) -> int:
        return int(np.searchsorted(self.moments, pd.Timestamp(moment).value // 1000, side=side))  # type: ignore[call-overload]


def read_history(
    pipeline: Pipeline,
    registry: Registry,
    settings: Settings,
    artifacts: ArtifactStore,
    *,
    start: datetime | None = None,
    stop: datetime | None = None,
) -> HistoryDocument:
    """Extract and validate all that a pipeline's sources hold, once, and cut it into windows.

    Parameters
    ----------
    registry : Registry
        Where feature views were materialised.
    artifacts : ArtifactStore
        Where the history is kept: not the registry's own.
    start, stop : datetime, optional
        The first window begins at *start*, the last ends at *stop* or before.

    Raises
    ------
    ArgumentError
        If nothing says when rows happened, or fewer than three windows can be walked.
    DataRefused, DefinitionError, UserCodeError
        As extraction and validation raise them.
    """
    from base.expectations.asking import ExpectationsProcess

    time = pipeline.spec.time
    if time is None:
        raise ArgumentError(
            f"pipeline {pipeline.name!r} has no time, so its history has no order to be walked in; name the column "
            "that says when a row happened under key 'time'"
        )
    code = UserCode(pipeline.code)
    views = resolve_views(registry, pipeline)
    for view in views:
        _carry_over(view.rows, registry.artifacts, artifacts)
    snapshot = extract_data(pipeline, artifacts, code=code, as_of=None, settings=settings)
    with ExpectationsProcess() as process:
        given = given_columns(registry, pipeline)
        validated = validate_data(snapshot, pipeline, artifacts, process, given=given)
    plain = load_rows(artifacts, validated.good)
    notes = [f"{count:,} rows were set aside: {why}" for why, count in validated.reasons.items()]
    spans = _cut(pipeline, pd.Series(pd.to_datetime(_moments(plain, time), unit="us", utc=True)), start, stop, notes)
    return HistoryDocument(
        snapshot=snapshot,
        validated=validated,
        views=views,
        spans=spans,
        pieces=tuple(_cut_pieces(plain, spans, pipeline, artifacts)),
        notes=tuple(notes),
    )


def _cut(
    pipeline: Pipeline, times: pd.Series[pd.Timestamp], start: datetime | None, stop: datetime | None, notes: list[str]
) -> tuple[Span, ...]:
    delay, window = pipeline.spec.extract.label_delay, pipeline.spec.monitor.window
    first, last = times.iloc[0], times.iloc[-1]
    if last - first <= pd.Timedelta(delay):
        raise ArgumentError(
            f"the history of pipeline {pipeline.name!r} spans {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}, which "
            f"is not longer than the label delay of {describe_duration(delay)}: no label was ever known within it; "
            "bring more of the past"
        )
    until = last.to_pydatetime() + timedelta(microseconds=1) if stop is None else as_utc(stop)
    begin = times.iloc[int(len(times) * FIRST_SHARE)].floor("D").to_pydatetime() if start is None else as_utc(start)
    if start is None:
        # What trains the first champion must have been known by then.
        begin = max(begin, (times.iloc[int(len(times) * FIRST_SHARE / 2)] + delay).floor("D").to_pydatetime())
    spans = cut_windows(times, window, origin=begin, until=until)
    if len(spans) < _FEWEST_WINDOWS:
        raise ArgumentError(
            f"between {begin:%Y-%m-%d %H:%M} and {until:%Y-%m-%d %H:%M} there are {len(spans)} windows of "
            f"{pipeline.spec.model_dump(mode='json')['monitor']['window']} with rows, expected at least "
            f"{_FEWEST_WINDOWS}; shorten monitor.window, or name another stretch (--from, --to)"
        )
    if isinstance(window, timedelta):
        between = [(before, after) for (_, before), (after, _) in itertools.pairwise(spans)]
        notes.extend(_tell_gaps([gap for gap in between if gap[1] - gap[0] >= _NOTABLE_GAP * window]))
    return tuple(spans)


def _tell_gaps(gaps: Sequence[Span]) -> list[str]:
    """Name each stretch without rows; of many, how many there are and the longest."""
    if len(gaps) <= _MOST_GAPS_NAMED:
        return [f"there is no row from {_days(gap)}; no window was walked there" for gap in gaps]
    longest = max(gaps, key=lambda gap: gap[1] - gap[0])
    return [f"there is no row in {len(gaps)} stretches, the longest from {_days(longest)}; no window was walked there"]


def _days(span: Span) -> str:
    return f"{span[0]:%Y-%m-%d} to {span[1]:%Y-%m-%d}"


def _cut_pieces(
    plain: pa.Table, spans: tuple[Span, ...], pipeline: Pipeline, artifacts: ArtifactStore
) -> list[Segment]:
    assert pipeline.spec.time is not None
    moments = _moments(plain, pipeline.spec.time)
    # What is known when a window's last label has come: its rows, and those of the very moment at which it ends.
    ends = [pd.Timestamp(stop).value // 1000 for _, stop in spans]
    edges = sorted({0, len(moments), *np.searchsorted(moments, ends, side="right").tolist()})
    pairs = itertools.pairwise(edges)
    return [_store_piece(artifacts, plain.slice(one, other - one), pipeline) for one, other in pairs]


def _store_piece(artifacts: ArtifactStore, rows: pa.Table, pipeline: Pipeline) -> Segment:
    import pyarrow.parquet as pq

    assert pipeline.spec.time is not None
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    times = rows[pipeline.spec.time]
    return Segment(
        artifact=artifacts.put_bytes(buffer.getvalue(), suffix=".parquet"),
        n_stored=rows.num_rows,
        first=_as_moment(times[0]),
        last=_as_moment(times[rows.num_rows - 1]),
    )


def _as_moment(value: pa.Scalar) -> datetime:
    found: datetime = value.as_py()
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _moments(rows: pa.Table, time: str) -> Moments:
    moments: Moments = rows[time].cast("int64").to_numpy()
    return moments


def _carry_over(rows: Rows, source: ArtifactStore, target: ArtifactStore) -> None:
    """Copy stored rows into another store, where they are not there already."""
    files: list[Artifact] = []
    for segment in rows.segments:
        files += [segment.artifact, *segment.dropped]
    for artifact in files:
        if artifact not in target:
            target.put_file(source.local_path(artifact))
