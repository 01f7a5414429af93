"""Clients of the soak: each protocol from threads of its own, noting what was acknowledged, refused and lost."""

from __future__ import annotations

import http.client
import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_ARROW = "application/vnd.apache.arrow.stream"
_RETRY_SECONDS = 0.02
_MOST_NOTED = 20

Row = dict[str, Any]
Protocol = Callable[[Sequence[Row]], tuple[str, bytes, str]]
"""Writes rows as a request: the end of its address, its body and its content type."""


@dataclass
class Notes:
    """What the clients got; each list and counter is only ever added to."""

    ids: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)
    versions: Counter[int] = field(default_factory=Counter)


def ask_predict(rows: Sequence[Row]) -> tuple[str, bytes, str]:
    """Write rows in the service's own protocol."""
    return "v1/models/{model}/predict", json.dumps({"rows": list(rows)}).encode(), "application/json"


def ask_infer(rows: Sequence[Row]) -> tuple[str, bytes, str]:
    """Write rows in the Open Inference Protocol."""
    inputs = [
        {
            "name": name,
            "datatype": "BYTES" if isinstance(rows[0][name], str) else "FP64",
            "shape": [len(rows)],
            "data": [row[name] for row in rows],
        }
        for name in rows[0]
    ]
    return "v2/models/{model}/infer", json.dumps({"inputs": inputs}).encode(), "application/json"


def ask_invocations(rows: Sequence[Row]) -> tuple[str, bytes, str]:
    """Write rows in MLflow's protocol, whose answers have no ids."""
    document = {"dataframe_records": list(rows)}
    return "v1/models/{model}/invocations", json.dumps(document).encode(), "application/json"


def ask_arrow(rows: Sequence[Row]) -> tuple[str, bytes, str]:
    """Write rows as an Arrow stream."""
    import pyarrow as pa

    table = pa.Table.from_pylist(list(rows))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return "v1/models/{model}/predict", sink.getvalue(), _ARROW


class Client(threading.Thread):
    """One connection that asks, again and again, and sends labels for a share of what it was told."""

    def __init__(
        self, port: int, model: str, rows: Sequence[Row], protocol: Protocol, n_rows: int, stopping: threading.Event
    ) -> None:
        super().__init__(name=f"soak-{protocol.__name__}", daemon=True)
        self.notes = Notes()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._model, self._rows, self._protocol, self._n_rows = model, rows, protocol, n_rows
        self._stopping = stopping

    def run(self) -> None:
        """Ask until told to stop."""
        draw = random.Random(self.name)
        while not self._stopping.wait(draw.uniform(0.0, 0.01)):
            path, body, kind = self._protocol(draw.choices(self._rows, k=self._n_rows))
            began = time.perf_counter()
            answer = self._send(path, body, kind)
            if answer is None:
                continue
            self.notes.seconds.append(time.perf_counter() - began)
            ids = _ids_of(answer, kind)
            self.notes.ids.extend(ids)
            if kind != _ARROW and (version := json.loads(answer).get("version")):
                self.notes.versions[version] += 1
            if ids and draw.random() < 0.05:
                self._send_label(ids[0], value=draw.random() < 0.5)
        self._connection.close()

    def _send(self, path: str, body: bytes, kind: str) -> bytes | None:
        try:
            self._connection.request("POST", f"/{path.format(model=self._model)}", body, {"Content-Type": kind})
            answer = self._connection.getresponse()
            read = answer.read()
        except (OSError, http.client.HTTPException) as error:
            # Its worker was killed; whether the rows are in the log nobody was told.
            self.notes.lost[type(error).__name__] += 1
            self._connection.close()
            time.sleep(_RETRY_SECONDS)
            return None
        self.notes.statuses[path.rpartition("/")[2], answer.status] += 1
        if answer.status == 200:
            return read
        if len(self.notes.refusals) < _MOST_NOTED:
            self.notes.refusals.append(f"{answer.status} at {path}: {read[:300]!r}")
        return None

    def _send_label(self, name: str, *, value: bool) -> None:
        label = {"id": name, "value": value, "observed_at": datetime.now(UTC).isoformat()}
        self._send("v1/models/{model}/labels", json.dumps({"labels": [label]}).encode(), "application/json")


def add_up(clients: Sequence[Client]) -> Notes:
    """Put the notes of all clients together."""
    total = Notes()
    for notes in (client.notes for client in clients):
        total.ids += notes.ids
        total.seconds += notes.seconds
        total.refusals += notes.refusals
        total.statuses += notes.statuses
        total.lost += notes.lost
        total.versions += notes.versions
    return total


def _ids_of(answer: bytes, kind: str) -> list[str]:
    if kind == _ARROW:
        import pyarrow as pa

        found: list[str] = pa.ipc.open_stream(answer).read_all()["id"].to_pylist()
        return found
    document = json.loads(answer)
    if "outputs" in document:
        return next((list(output["data"]) for output in document["outputs"] if output["name"] == "id"), [])
    return [one["id"] for one in document["predictions"] if isinstance(one, dict) and "id" in one]
