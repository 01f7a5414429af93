"""Import heavy libraries beside other work: in a thread, which costs nothing while that work waits or computes."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from importlib import import_module


def import_ahead(*modules: str) -> threading.Thread:
    """Import *modules*, in their order, in a thread of this process.

    Who imports one of them meanwhile waits until it is there, as always. One that cannot be imported is left
    to them, too: they are told why.

    Examples
    --------
    >>> import_ahead("no_such_library", "json").join()
    """
    thread = threading.Thread(target=_import, args=(modules,), name="import-ahead")
    thread.start()
    return thread


@contextlib.contextmanager
def undisturbed_imports() -> Iterator[None]:
    """Import without the garbage collector's passes, a tenth of the time: nothing of what is imported is thrown away.

    At the end all that is there by now is taken out of its sight for good, which spares later passes as well.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def _import(modules: tuple[str, ...]) -> None:
    for module in modules:
        with contextlib.suppress(Exception):
            import_module(module)
