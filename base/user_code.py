"""Load functions from the Python files of a pipeline, as they were when it was read."""

from __future__ import annotations

import builtins
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from base.errors import UserCodeMissing, nearest
from base.fingerprint import digest_files

# A second thread must not see a module whose file is still being run by the first.
_LOADING = threading.RLock()


class UserCode:
    """The Python files beside a definition, importable by name, apart from every other pipeline's files.

    The modules are made from the bytes that were read, never from the folder as it may be now, so a model
    version runs the code it was trained with. Their names carry the code's digest: two pipelines, or two
    versions of one, can be loaded side by side. A file may import another one beside it (``import calendar_days``,
    ``from .calendar_days import is_holiday``); that import, too, finds the bytes and not the folder, and
    ``sys.path`` is left alone.

    Examples
    --------
    >>> code = UserCode({"features.py": b"def double(n):\\n    return 2 * n\\n"})
    >>> code.function("features:double")(21)
    42
    >>> code.function("features:duoble")
    Traceback (most recent call last):
    base.errors.UserCodeMissing: user function 'features:duoble' is not in features.py; did you mean 'double'?
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = dict(files)
        self.digest = digest_files(self._files)
        self._package = f"_everfit_user_{self.digest[:16]}"

    def function(self, path: str) -> Callable[..., Any]:
        """Return the function that *path* (``module:function``) names.

        Raises
        ------
        UserCodeMissing
            If there is no such file or function, or the file raises when it is run.
        """
        module_name, _, name = path.partition(":")
        if f"{module_name}.py" not in self._files:
            raise UserCodeMissing(
                path,
                f"needs a file {module_name}.py beside the definition",
                f"found {', '.join(self._files) or 'no Python file'}{nearest(f'{module_name}.py', self._files)}",
            )
        try:
            module = self._load(module_name)
        except (Exception, SystemExit) as error:
            raise UserCodeMissing(
                path, f"cannot be loaded: {self.describe_error(error)}", f"mend {module_name}.py"
            ) from error
        function = getattr(module, name, None)
        if not callable(function):
            known = [key for key, value in vars(module).items() if callable(value)]
            raise UserCodeMissing(
                path, f"is not in {module_name}.py", nearest(name, known).lstrip("; ") or "define it there"
            )
        return function  # type: ignore[no-any-return]

    def variables(self, module: str) -> dict[str, Any]:
        """Return what a file defines, by name; whatever the file raises when it is run is let through."""
        return dict(vars(self._load(module)))

    def describe_error(self, error: BaseException) -> str:
        """Say what the user's code raised, and at which of its lines.

        Examples
        --------
        >>> code = UserCode({"features.py": b"def add(frame):\\n    return frame['age']\\n"})
        >>> try:
        ...     code.function("features:add")({})
        ... except KeyError as error:
        ...     code.describe_error(error)
        "KeyError: 'age' (features.py, line 2)"
        """
        described = f"{type(error).__name__}: {error}".rstrip(": ")
        if isinstance(error, SyntaxError):
            return described  # Python says the line itself
        lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in self._files]
        return f"{described} ({lines[-1].filename}, line {lines[-1].lineno})" if lines else described

    def _load(self, name: str) -> ModuleType:
        qualified = f"{self._package}.{name}"
        with _LOADING:
            if qualified in sys.modules:
                return sys.modules[qualified]
            module = ModuleType(qualified)
            module.__file__ = f"{name}.py"
            module.__package__ = self._package
            module.__dict__["__builtins__"] = vars(builtins) | {"__import__": self._import}
            sys.modules[qualified] = module
            try:
                exec(compile(self._files[f"{name}.py"], f"{name}.py", "exec", dont_inherit=True), module.__dict__)
            except BaseException:
                del sys.modules[qualified]
                raise
            return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  (the names that Python gives them)
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as Python does, the files beside the definition first."""
        if level == 1 and not name:
            # from . import one, two
            siblings = ModuleType(self._package)
            for sibling in fromlist or ():
                if f"{sibling}.py" not in self._files:
                    raise ImportError(f"there is no file {sibling}.py beside the definition")
                setattr(siblings, sibling, self._load(sibling))
            return siblings
        if level <= 1 and f"{name}.py" in self._files:
            return self._load(name)
        if level:
            raise ImportError(f"there is no file {name}.py beside the definition")
        return __import__(name, globals, locals, fromlist or (), level)
