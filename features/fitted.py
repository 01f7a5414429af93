"""Features that are fitted on the rows to learn from: classes of the user's code with fit and transform."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from base.artifacts import Artifact, ArtifactStore
from base.errors import UserCodeError
from base.user_code import UserCode
from features.states import StateRefused, decode_state, encode_state


class FittedFeature:
    """One fitted object of the user's own class, with the path that names the class."""

    def __init__(self, path: str, fitted: Any, code: UserCode) -> None:
        self.path = path
        self._fitted = fitted
        self._code = code

    @classmethod
    def fit(cls, path: str, frame: pd.DataFrame, target: pd.Series[Any], code: UserCode) -> FittedFeature:
        """Make an object of the class that *path* names, and fit it.

        Raises
        ------
        UserCodeError
            If *path* names no class with fit and transform, or one of them fails.
        """
        kind = _find_class(path, code)
        try:
            fitted = kind()
            # Copies, since it may write into the values of its columns.
            fitted.fit(frame.copy(), target.copy())
        except (Exception, SystemExit) as error:
            raise _failed(path, "fit", error, code) from error
        return cls(path, fitted, code)

    @classmethod
    def read(cls, path: str, state: Any, code: UserCode, *, trusted: Sequence[str] = ()) -> FittedFeature:
        """Make the object again from what :meth:`write` gave.

        Raises
        ------
        UserCodeError, StateRefused, ModelFileRefused
        """
        kind = _find_class(path, code)
        learnt = decode_state(state, trusted=trusted)
        try:
            if hasattr(kind, "set_state"):
                fitted = kind()
                fitted.set_state(learnt)
            else:
                fitted = kind.__new__(kind)
                vars(fitted).update(learnt)
        except (Exception, SystemExit) as error:
            raise _failed(path, "set_state", error, code) from error
        return cls(path, fitted, code)

    def write(self) -> Any:
        """Write what was learnt as a JSON document: what get_state() returns, else the object's attributes.

        Raises
        ------
        UserCodeError
            If an attribute cannot be written without pickle.
        """
        try:
            learnt = self._fitted.get_state() if hasattr(self._fitted, "get_state") else vars(self._fitted)
            if not isinstance(learnt, dict):
                raise StateRefused(f"get_state() is {type(learnt).__name__}, expected a dict")
            return encode_state(dict(learnt), place=self.path.rpartition(":")[2])
        except StateRefused as error:
            raise UserCodeError(self.path, f"cannot be stored: {error}", "see docs/preparation.md") from error
        except (Exception, SystemExit) as error:
            raise _failed(self.path, "get_state", error, self._code) from error

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Let the object add its columns to rows; *frame* itself is never changed.

        Raises
        ------
        UserCodeError
            If transform fails; what it may return, :func:`features.plan.apply_functions` tells.
        """
        try:
            result = self._fitted.transform(frame.copy())
        except (Exception, SystemExit) as error:
            raise _failed(self.path, "transform", error, self._code) from error
        return result  # type: ignore[no-any-return]


def store_states(artifacts: ArtifactStore, fitted: Sequence[FittedFeature]) -> Artifact:
    """Store what fitted features have learnt, as JSON."""
    document = [{"path": each.path, "state": each.write()} for each in fitted]
    return artifacts.put_bytes(json.dumps(document, allow_nan=False).encode(), suffix=".json")


def load_states(
    artifacts: ArtifactStore, states: Artifact | None, code: UserCode, *, trusted: Sequence[str] = ()
) -> tuple[FittedFeature, ...]:
    """Read fitted features, verified; none where nothing was stored.

    Raises
    ------
    ArtifactMissing, ArtifactCorrupt, UserCodeError, StateRefused, ModelFileRefused
    """
    if states is None:
        return ()
    document = json.loads(artifacts.read_bytes(states))
    return tuple(FittedFeature.read(each["path"], each["state"], code, trusted=trusted) for each in document)


def _find_class(path: str, code: UserCode) -> Any:
    kind: Any = code.function(path)
    methods = ("fit", "transform", *(("set_state",) if hasattr(kind, "get_state") else ()))
    if lacking := [name for name in methods if not callable(getattr(kind, name, None))]:
        what = "class" if inspect.isclass(kind) else type(kind).__name__
        raise UserCodeError(
            path,
            f"is a {what} without {' and '.join(lacking)}",
            "prepare.fitted names classes with fit(frame, target) and transform(frame); a function without anything "
            "to learn belongs under prepare.features",
        )
    return kind


def _failed(path: str, method: str, error: BaseException, code: UserCode) -> UserCodeError:
    return UserCodeError(
        path, f"raised in {method}: {code.describe_error(error)}", "mend it, or take it out of prepare.fitted"
    )
