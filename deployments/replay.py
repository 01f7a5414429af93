"""Replay history as live traffic: rows as requests to a running service, their labels when they would be known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
import pandas as pd

from base.contract import ColumnType
from features.plan import rows_from_frame

_REQUEST_SPAN = "3h"
_MOST_LABELS_PER_REQUEST = 5_000


@dataclass
class TrafficCounts:
    """What was sent and what came back, over all requests so far."""

    requests: int = 0
    failed: int = 0
    rows: int = 0
    labels: int = 0
    rows_by_version: Counter[int] = field(default_factory=Counter)


class Replay:
    """Rows of the past, sent in requests of three hours, in the order in which they happened.

    Parameters
    ----------
    url : str
        The prediction service.
    frame : DataFrame
        Raw rows in time order, with *time*, *target* and the *inputs*.
    label_delay : timedelta
        How long after its time a row's target is known; its label is sent then, and not before.
    """

    def __init__(
        self,
        url: str,
        model: str,
        frame: pd.DataFrame,
        *,
        time: str,
        target: str,
        inputs: Mapping[str, ColumnType],
        label_delay: timedelta,
    ) -> None:
        self.counts = TrafficCounts()
        self._client = httpx.Client(base_url=f"{url}/v1/models/{model}", timeout=60)
        self._frame = frame.reset_index(drop=True)
        self._moments = self._frame[time]
        self._labels = self._frame[target].tolist()
        self._inputs = dict(inputs)
        self._label_delay = label_delay
        self._ids: list[str | None] = [None] * len(self._frame)
        self._sent = 0
        self._labelled = 0

    @property
    def is_over(self) -> bool:
        """Whether every row has been sent."""
        return self._sent == len(self._frame)

    def play(self, until: datetime, *, after_request: Callable[[], None] = lambda: None) -> None:
        """Send the rows before *until*, then the labels that are known by then."""
        stop = int(self._moments.searchsorted(pd.Timestamp(until)))
        part = self._frame.iloc[self._sent : stop]
        for _, rows in part.groupby(self._moments.iloc[self._sent : stop].dt.floor(_REQUEST_SPAN), sort=True):
            self._send(rows)
            after_request()
        self._sent = max(stop, self._sent)
        self._send_labels(until)

    def close(self) -> None:
        """Close the connections to the service."""
        self._client.close()

    def _send(self, rows: pd.DataFrame) -> None:
        self.counts.requests += 1
        try:
            answer = self._client.post("/predict", json={"rows": rows_from_frame(rows, self._inputs)})
            answer.raise_for_status()
        except httpx.HTTPError:
            self.counts.failed += 1
            return
        document = answer.json()
        for position, prediction in zip(rows.index, document["predictions"], strict=True):
            self._ids[position] = prediction["id"]
        self.counts.rows += len(rows)
        self.counts.rows_by_version[int(document["version"])] += len(rows)

    def _send_labels(self, until: datetime) -> None:
        due = pd.Timestamp(until - self._label_delay)
        known = min(self._sent, int(self._moments.searchsorted(due, side="right")))
        labels = [
            {
                "id": self._ids[position],
                "value": self._labels[position],
                "observed_at": (self._moments.iloc[position] + self._label_delay).isoformat(),
            }
            for position in range(self._labelled, known)
            if self._ids[position] is not None
        ]
        for first in range(0, len(labels), _MOST_LABELS_PER_REQUEST):
            batch = labels[first : first + _MOST_LABELS_PER_REQUEST]
            self._client.post("/labels", json={"labels": batch}).raise_for_status()
            self.counts.labels += len(batch)
        self._labelled = max(known, self._labelled)
