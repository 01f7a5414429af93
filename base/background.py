"""A thread beside the main work: begun, told to stop, and waited for a little."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Work in a daemon thread that looks at :attr:`is_stopping`, or sleeps by :meth:`sleep`, until it is told to stop.

    Examples
    --------
    >>> done = []
    >>> background = Background(lambda: done.append(background.sleep(60)), name="example")
    >>> background.start()
    >>> background.stop(), done
    (True, [True])
    """

    def __init__(self, work: Callable[[], None], *, name: str) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=work, name=name, daemon=True)

    @property
    def is_stopping(self) -> bool:
        """Whether the work is to end."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def sleep(self, seconds: float) -> bool:
        """Let *seconds* pass, or less when told to stop; return whether that is so."""
        return self._stopping.wait(seconds)

    def stop(self, *, patience: float = 2.0) -> bool:
        """Tell the work to end, wait *patience* seconds for it, and return whether it has.

        Work that waits for a lost database or store is not waited for longer; its thread ends with the process.
        """
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=patience)
        return not self._thread.is_alive()
