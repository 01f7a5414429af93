"""What the service writes: one line for each event, as text for people or as JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal


class JsonLines(logging.Formatter):
    """A log record as one JSON document: time, level, logger, message, and the facts of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        document.update({key: value for key, value in getattr(record, "facts", {}).items() if value is not None})
        if record.exc_info:
            document["stack"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """A log record as a line for people, with the facts of a request behind it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        # A client chooses its request id and the path's letters; a line must stay one line.
        facts = getattr(record, "facts", None)
        if not facts:
            return super().format(record)
        told = " ".join(f"{key}={value}" for key, value in facts.items() if value is not None)
        return f"{super().format(record)} {told}"


def set_up_logs(form: Literal["auto", "text", "json"]) -> None:
    """Write the log to the standard error, unless somebody has set up logging before."""
    root = logging.getLogger()
    if root.handlers:
        return
    writer = logging.StreamHandler()
    is_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    writer.setFormatter(JsonLines() if is_json else TextLines())
    root.addHandler(writer)
    root.setLevel(logging.INFO)
