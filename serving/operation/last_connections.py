"""The end of a listener: whoever has come is answered, and nobody comes into a queue that is about to be thrown away.

The kernel makes connections by itself and keeps them until they are accepted; closing the listener resets those that
wait. One may come between the last look at the queue and the closing, however quickly the one follows the other: the
interpreter may be another thread's just then. So the listener first takes no new ones, by a filter that drops the
packet that opens a connection. Its sender tries again after a second, and comes to another worker or is refused.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

# Not named by Python's socket module; the value is that of nearly all of Linux's architectures (asm-generic/socket.h).
_SO_ATTACH_FILTER = 26
# Classic BPF (code, jump if true, jump if false, operand), over TCP's header: its flags are byte 13 (RFC 9293, 3.1).
_DROP_OPENING = (
    (0x30, 0, 0, 13),  # load the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # then nothing of the packet passes,
    (0x06, 0, 0, 0x40000),  # else all of it
)
# Handshakes under way when the filter came are finished within a round trip.
_HANDSHAKE_SECONDS = 0.2
_LOOK_SECONDS = 0.02


def take_no_more(listener: socket.socket) -> bool:
    """Let a listener open no new connection; those that are open already, or being opened, are not touched.

    Parameters
    ----------
    listener : socket
        A TCP socket that listens, over IPv4 or IPv6.

    Returns
    -------
    bool
        Whether the system does this; only Linux is known to.
    """
    if sys.platform != "linux":
        return False
    steps = b"".join(struct.pack("HBBI", *step) for step in _DROP_OPENING)
    kept = ctypes.create_string_buffer(steps, len(steps))
    program = struct.pack("HP", len(_DROP_OPENING), ctypes.addressof(kept))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        return False
    return True


async def take_the_last(
    listener: socket.socket, take: Callable[[socket.socket], Awaitable[object]], *, patience_seconds: float
) -> None:
    """Take the connections that a listener has and still gets from handshakes under way, then close it.

    Parameters
    ----------
    listener : socket
        Nobody else accepts from it any more.
    take : callable
        Answers one connection; returns when it is open, which may take a TLS handshake.
    patience_seconds : float
        How long such handshakes are waited for once the listener is closed.
    """
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    deadline = loop.time() + (_HANDSHAKE_SECONDS if take_no_more(listener) else 0.0)
    taken: set[asyncio.Task[None]] = set()
    while True:
        is_last = loop.time() >= deadline
        # One that dawdles over its handshake keeps nobody waiting.
        taken |= {asyncio.create_task(_take_unless_gone(take, connection)) for connection in _accept_waiting(listener)}
        if is_last:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    listener.close()
    if taken:
        await asyncio.wait(taken, timeout=patience_seconds)


async def _take_unless_gone(take: Callable[[socket.socket], Awaitable[object]], connection: socket.socket) -> None:
    with suppress(OSError):
        await take(connection)


def _accept_waiting(listener: socket.socket) -> list[socket.socket]:
    accepted: list[socket.socket] = []
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return accepted
        connection.setblocking(False)
        accepted.append(connection)
