"""The one family of errors: each names the thing, what was found, what was expected and the way out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

# Comparing words costs the product of their lengths, and a request may hold a column name of a megabyte.
_LONGEST_COMPARED = 200


class EverfitError(Exception):
    """Base of every error that Everfit raises on purpose.

    ``exit_code`` is what the command line ends with: 2 for a wrong definition or argument, 3 for refused
    data, 4 for a failed run.
    """

    exit_code: ClassVar[int] = 4

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is pickled as its class called with its message, which fails for every class that makes
        # its message itself; errors cross processes when steps and fits run in parallel.
        return _rebuild, (type(self), self.args, self.__dict__)


class ArgumentError(EverfitError):
    """A command or a function was given something it cannot work with."""

    exit_code = 2


class DefinitionError(EverfitError):
    """The pipeline's definition, or a file beside it, is wrong."""

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
    ) -> None:
        place = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(f"{place}: {message}" if place else message)
        self.file = file
        self.line = line
        self.key = key


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with some data: where, what was found, what was expected."""

    column: str | None
    found: str
    expected: str
    row: int | None = None
    n_rows: int | None = None

    def __str__(self) -> str:
        place = [] if self.row is None else [f"row {self.row}"]
        place += [] if self.column is None else [f"column {self.column!r}"]
        count = "" if self.n_rows is None else f" ({self.n_rows:,} rows)"
        return f"{', '.join(place) or 'table'}: found {self.found}{count}, expected {self.expected}"


class DataRefused(EverfitError):
    """The data cannot be trained on; nothing was changed, the champion stays."""

    exit_code = 3

    def __init__(self, what: str, faults: Sequence[Fault], way_out: str) -> None:
        listed = "".join(f"\n  - {fault}" for fault in faults)
        super().__init__(f"{what} is refused:{listed}\n  {way_out}")
        self.faults = tuple(faults)
        self.way_out = way_out


class UserCodeError(EverfitError):
    """A function of the user's own code raised, or returned something of another shape."""

    def __init__(self, name: str, problem: str, way_out: str) -> None:
        super().__init__(f"user function {name!r} {problem}; {way_out}")
        self.name = name


class UserCodeMissing(UserCodeError):
    """The definition names a function that the Python files beside it do not give: a fault of the definition."""

    exit_code = 2


class RunFailed(EverfitError):
    """A step of a run failed; the finished steps are kept and a second try goes on from there."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word, as the tail of a message.

    Examples
    --------
    >>> nearest("estimater", ["estimator", "parameters"])
    "; did you mean 'estimator'?"
    >>> nearest("x", ["estimator"])
    ''
    """
    if len(word) > _LONGEST_COMPARED:
        return ""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _rebuild(kind: type[EverfitError], arguments: tuple[Any, ...], evidence: dict[str, Any]) -> EverfitError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(evidence)
    return error
