"""Receivers that listen on this machine: one takes JSON and answers as it is told to, one takes mail."""

from __future__ import annotations

import email
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
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


@dataclass
class PostOffice:
    """What a mail server was given."""

    mails: list[Message] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    port: int = 0


@contextmanager
def post_office() -> Iterator[PostOffice]:
    """Give a mail server that speaks as much SMTP as it takes to hand over a mail (RFC 5321)."""
    office = PostOffice()

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                verb = line[:4].upper().strip()
                if verb == b"RCPT":
                    office.recipients.append(line.decode().partition("<")[2].partition(">")[0])
                if verb == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    office.mails.append(email.message_from_bytes(b"".join(lines)))
                self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 good\r\n")
                if verb == b"QUIT":
                    return

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        office.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield office
        server.shutdown()
