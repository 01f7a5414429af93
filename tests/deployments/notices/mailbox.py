"""A receiver that listens on this machine and answers as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Mailbox:
    """What arrived at ``json://…``, and how the next one is answered.

    *before_answer* is called when a message has arrived and nobody knows of it yet.
    """

    status: int = 200
    messages: list[dict[str, Any]] = field(default_factory=list)
    before_answer: Callable[[], object] = lambda: None
    port: int = 0

    @property
    def url(self) -> str:
        """Its address as Apprise has it, with a token in the path and a password."""
        return f"json://ana:hunter2@127.0.0.1:{self.port}/T0PSECRET"

    @property
    def titles(self) -> list[str]:
        """The headlines, in their order."""
        return [message["title"] for message in self.messages]


@contextmanager
def listening() -> Iterator[Mailbox]:
    """Give a mailbox that listens."""
    mailbox = Mailbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            mailbox.messages.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            mailbox.before_answer()
            try:
                self.send_response(mailbox.status)
                self.end_headers()
            except OSError:
                return  # whoever sent it has died

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mailbox.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield mailbox
    finally:
        server.shutdown()
        server.server_close()
