"""When the log is kept up, and where: in a process of its own, so that no request waits for it."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import orjson

from base.background import Background
from base.errors import EverfitError
from base.settings import Settings
from serving.log.kinds import KINDS
from serving.log.segments import GROWING

_log = logging.getLogger(__name__)

_ROOT = Path(__file__).parents[2]
# Counting opens every segment that is still here.
_ROUNDS_PER_COUNT = 10
# A service that starts has better things to do; its models are loaded first.
_FIRST_ROUND_SECONDS = 3.0
# A store that hangs must not hold up the next round for ever.
_MOST_SECONDS = 3600.0
_NICENESS = 15

Round = Callable[[bool], Sequence[str]]
"""Does one round, counting or not, and returns what failed."""


class UpkeepRounds:
    """A thread that lets the log be kept up about each *seconds*; what fails is said once and tried again.

    Parameters
    ----------
    rotate : callable
        Hands the process's own segments over to be sealed that are old enough.
    has_work : callable
        Tells whether anything lies there to be sealed or moved; where not, a round is done now and then all the same,
        to count and to end what is kept no longer.
    do_round : callable
        Does the rest, once.
    """

    def __init__(
        self, *, seconds: float, rotate: Callable[[], None], has_work: Callable[[], bool], do_round: Round
    ) -> None:
        self._has_work = has_work
        self._seconds = seconds
        self._rotate = rotate
        self._do_round = do_round
        self._told: set[str] = set()
        self._background = Background(self._keep_up, name="everfit-log-upkeep")

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._background.start()

    def stop(self) -> None:
        """Stop; a thread that waits for a lost database or store is not waited for."""
        self._background.stop()

    def _keep_up(self) -> None:
        self._background.sleep(min(self._seconds, _FIRST_ROUND_SECONDS))
        for number in itertools.count():
            if self._background.is_stopping:
                return
            self._tell(self._do(number))
            self._background.sleep(self._seconds)

    def _do(self, number: int) -> set[str]:
        try:
            self._rotate()
            has_work = self._has_work()
            is_count_due = number % _ROUNDS_PER_COUNT == _ROUNDS_PER_COUNT - 1
            if not has_work and not is_count_due:
                # What failed before had work to do, and would have it still.
                return set()
            # What a process that died has left is counted at once.
            return set(self._do_round(is_count_due or number == 0))
        except Exception as error:
            return {f"{type(error).__name__}: {error}"}

    def _tell(self, failures: set[str]) -> None:
        for failure in sorted(failures - self._told):
            _log.error("upkeep of the prediction log: %s", failure)
        self._told = failures


def has_left(home: Path) -> bool:
    """Tell whether segments lie there that are sealed, or that nobody appends to any more."""
    folders = [folder for kind in KINDS for folder in (home / "traffic").glob(f"*/{kind}")]
    return any(_is_left(path) for folder in folders for path in folder.iterdir())


def _is_left(path: Path) -> bool:
    if path.suffix != GROWING:
        return True
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def round_apart(settings: Settings, with_count: bool) -> list[str]:
    """Do one round in a process of its own, which waits for everybody else's work, and return what failed."""
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    finished = subprocess.run(
        # -P: a file in the working directory must not hide a package.
        [sys.executable, "-P", "-m", "serving.log.upkeep_rounds"],
        input=pickle.dumps((settings, with_count)),
        capture_output=True,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        timeout=_MOST_SECONDS,
        check=False,
    )
    for line in finished.stderr.decode(errors="replace").splitlines():
        _log.info("%s", line)
    if finished.returncode:
        return [f"the process ended with code {finished.returncode}"]
    failures: list[str] = orjson.loads(finished.stdout)
    return failures


def _main() -> None:
    # Pickled by the service, which is this very program: settings hold secrets, and an argument is read by anybody.
    settings, with_count = pickle.load(sys.stdin.buffer)
    with suppress(OSError):
        os.nice(_NICENESS)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from registry.store import open_registry
    from serving.log.upkeep import keep_up

    try:
        registry = open_registry(settings, create=False)
    except EverfitError as error:
        sys.stdout.buffer.write(orjson.dumps([str(error)]))
        return
    try:
        failures = keep_up(settings.home.absolute(), registry, with_count=with_count)
    finally:
        registry.database.close()
    sys.stdout.buffer.write(orjson.dumps(failures))


if __name__ == "__main__":
    _main()
