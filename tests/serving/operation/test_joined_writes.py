"""Claims about joined writes: an answer takes one write, and nothing that was written is kept for ever."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.operation.joined_writes import JoinedWrites

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


def _joined() -> tuple[JoinedWrites, _Transport]:
    transport: Any = _Transport()
    return JoinedWrites(transport), transport


def test_a_head_and_its_body_are_one_write() -> None:
    joined, transport = _joined()

    for data in (HEAD, b"{}", HEAD, b"[]"):
        joined.write(data)

    assert transport.written == [HEAD + b"{}", HEAD + b"[]"]


@pytest.mark.parametrize("end", ["flush", "close"])
def test_a_head_without_a_body_goes_out_at_the_end(end: str) -> None:
    joined, transport = _joined()

    joined.write(HEAD)
    getattr(joined, end)()

    assert transport.written == [HEAD]
    assert transport.is_closed is (end == "close")


def test_a_client_that_waits_for_a_go_ahead_gets_it_at_once() -> None:
    joined, transport = _joined()

    joined.write(INTERIM)

    assert transport.written == [INTERIM]


@given(chunks=st.lists(st.sampled_from([HEAD, INTERIM, b"", b"{}", b"5\r\nhello\r\n"])))
def test_everything_is_written_once_and_in_order(chunks: list[bytes]) -> None:
    joined, transport = _joined()

    for data in chunks:
        joined.write(data)
    joined.flush()

    assert b"".join(transport.written) == b"".join(chunks)


def test_the_rest_is_the_transports_own() -> None:
    joined, _ = _joined()

    assert joined.get_extra_info("socket") == "the socket"
