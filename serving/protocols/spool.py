"""Bodies that are too large for memory: kept on disk until they are whole, then looked at where they lie."""

from __future__ import annotations

import asyncio
import mmap
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Any

from serving.operation.exchange import Receive
from serving.web.problems import CLIENT_GONE, BodyRefused

# Up to so many bytes, memory is cheaper than a file.
_IN_MEMORY_BYTES = 4 << 20


class Spool:
    """A request's body. Its file has no name: whatever happens to the process, nothing is left of it.

    Most clients read no answer before they have sent all; answered while it comes in, a large body would leave client
    and service waiting for each other.

    Parameters
    ----------
    folder : Path
        Where it is kept if it is large.
    """

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        where = str(folder) if folder.is_dir() else None
        self._file = SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=where)  # noqa: SIM115 (closed with the spool)
        self._most_bytes = most_bytes
        self._size = 0
        self._map: mmap.mmap | None = None

    async def __aenter__(self) -> Spool:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The map is closed when nothing looks at it any more.
        self._map = None
        self._file.close()

    async def receive(self, receive: Receive) -> Any:
        """Take the body in, and return it as something that has a buffer.

        Raises
        ------
        BodyRefused
            413 when it is too large, 499 when the client goes away, 503 when the disk takes no more.
        """
        more = True
        try:
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise BodyRefused(
                        CLIENT_GONE, "the client went away before its body had come", reason="client_gone"
                    )
                await self._add(message.get("body", b""))
                more = message.get("more_body", False)
            return await asyncio.to_thread(self._look)
        except OSError as error:
            raise BodyRefused(
                503, f"the body cannot be kept on disk ({error.strerror}); free the disk and send it again"
            ) from error

    async def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._most_bytes:
            raise BodyRefused(
                413,
                f"the body is larger than {self._most_bytes:,} bytes (EVERFIT_MAX_STREAM_BYTES); send it in parts",
                reason="too_large",
            )
        if self._size <= _IN_MEMORY_BYTES:
            self._file.write(part)
        else:
            await asyncio.to_thread(self._file.write, part)

    def _look(self) -> Any:
        self._file.flush()
        if self._size <= _IN_MEMORY_BYTES:
            self._file.seek(0)
            return self._file.read()
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map
