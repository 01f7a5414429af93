"""Claims about the user's files: isolated, versioned, and honest about their errors."""

from __future__ import annotations

import sys
import threading

import pytest

from base.errors import UserCodeError
from base.user_code import UserCode


def test_two_versions_live_side_by_side() -> None:
    old = UserCode({"features.py": b"RATE = 1\ndef rate():\n    return RATE\n"})
    new = UserCode({"features.py": b"RATE = 2\ndef rate():\n    return RATE\n"})

    assert [code.function("features:rate")() for code in (old, new, old)] == [1, 2, 1]


def test_equal_files_are_loaded_once() -> None:
    files = {"features.py": b"import itertools\ncount = itertools.count().__next__\n"}

    assert [UserCode(files).function("features:count")() for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    "how",
    [
        "from calendar_days import is_holiday",
        "import calendar_days; is_holiday = calendar_days.is_holiday",
        "import calendar_days as days; is_holiday = days.is_holiday",
        "from .calendar_days import is_holiday",
        "from . import calendar_days; is_holiday = calendar_days.is_holiday",
        "from calendar_days import *",
        "def is_holiday(day):\n    from calendar_days import is_holiday\n    return is_holiday(day)",
    ],
)
def test_a_file_imports_another_one_of_its_version(how: str) -> None:
    def code(holiday: str) -> UserCode:
        return UserCode(
            {
                "features.py": f"{how}\ndef check(day):\n    return is_holiday(day)\n".encode(),
                "calendar_days.py": f"def is_holiday(day):\n    return day == {holiday!r}\n".encode(),
            }
        )

    path = list(sys.path)
    christmas, easter = (code(day).function("features:check") for day in ("christmas", "easter"))
    assert [christmas("christmas"), christmas("easter"), easter("easter")] == [True, False, True]
    assert sys.path == path
    assert "calendar_days" not in sys.modules


def test_files_may_import_one_another() -> None:
    code = UserCode(
        {
            "one.py": b"import two\nA = 1\ndef total():\n    return A + two.B\n",
            "two.py": b"import one\nB = 2\ndef total():\n    return one.A + B\n",
        }
    )

    assert (code.function("one:total")(), code.function("two:total")()) == (3, 3)


def test_a_file_named_as_one_of_ours_or_of_a_library_hides_it_for_its_version_alone() -> None:
    code = UserCode(
        {"features.py": b"import json, features\ndef mine():\n    return json.HERE\n", "json.py": b"HERE = 'mine'\n"}
    )

    assert code.function("features:mine")() == "mine"
    assert not hasattr(sys.modules["json"], "HERE")


def test_libraries_are_imported_as_ever() -> None:
    code = UserCode(
        {
            "features.py": (
                b"import os.path, xml.dom.minidom\nfrom collections import abc as a\nimport numpy.linalg as la\n"
                b"def names():\n    return os.path.join('a', 'b'), a.__name__, la.__name__, xml.dom.minidom.__name__\n"
            )
        }
    )

    assert code.function("features:names")() == ("a/b", "collections.abc", "numpy.linalg", "xml.dom.minidom")


def test_dataclasses_and_typing_work_in_the_users_files() -> None:
    code = UserCode(
        {
            "features.py": (
                b"from __future__ import annotations\n"
                b"from dataclasses import dataclass, field\n"
                b"from enum import Enum\n"
                b"from typing import ClassVar, NamedTuple, get_type_hints\n"
                b"class Kind(Enum):\n    A = 1\n"
                b"class Pair(NamedTuple):\n    x: int = 1\n"
                b"@dataclass(frozen=True)\n"
                b"class Window:\n    limit: ClassVar[int] = 3\n    kind: Kind = Kind.A\n"
                b"    days: list[int] = field(default_factory=list)\n"
                b"def check():\n    return Window().days, Pair().x, get_type_hints(Window)['kind'] is Kind\n"
            )
        }
    )

    assert code.function("features:check")() == ([], 1, True)


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ({}, "features:add", "needs a file features.py beside the definition; found no Python file"),
        ({"feature.py": b""}, "features:add", r"found feature.py; did you mean 'feature.py'\?"),
        ({"features.py": b"def add_x(): pass"}, "features:add", r"is not in features.py; did you mean 'add_x'\?"),
        ({"features.py": b"add = 3"}, "features:add", "is not in features.py; define it there"),
        (
            {"features.py": b"\n1 / 0\n"},
            "features:add",
            r"cannot be loaded: ZeroDivisionError: .* \(features.py, line 2\)",
        ),
        (
            {"features.py": b"def add(:"},
            "features:add",
            r"cannot be loaded: SyntaxError: .*features.py, line 1.*; mend",
        ),
        ({"features.py": b"\xff\xfe"}, "features:add", "cannot be loaded: SyntaxError"),
        ({"features.py": b"x = '\0'"}, "features:add", "cannot be loaded: SyntaxError"),
        ({"features.py": b"raise SystemExit(1)"}, "features:add", "cannot be loaded: SystemExit: 1"),
        ({"features.py": b"import nowhere"}, "features:add", "ModuleNotFoundError: No module named 'nowhere'"),
        ({"features.py": b"from .nowhere import x"}, "features:add", "ImportError: there is no file nowhere.py beside"),
        ({"features.py": b"from . import nowhere"}, "features:add", "ImportError: there is no file nowhere.py beside"),
        (
            {"features.py": b"import broken", "broken.py": b"\n\nopen('/nowhere/x')"},
            "features:add",
            r"FileNotFoundError: .* \(broken.py, line 3\); mend features.py",
        ),
    ],
)
def test_a_fault_in_the_users_files_is_named_with_its_line(files: dict[str, bytes], path: str, message: str) -> None:
    with pytest.raises(UserCodeError, match=message):
        UserCode(files).function(path)


def test_a_file_that_failed_is_run_again_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    code = UserCode({"features.py": b"import os\nos.environ['EVERFIT_TEST_ONLY']\ndef add():\n    return 1\n"})
    with pytest.raises(UserCodeError):
        code.function("features:add")
    monkeypatch.setenv("EVERFIT_TEST_ONLY", "set")

    assert code.function("features:add")() == 1


def test_threads_that_load_at_once_all_see_the_whole_file() -> None:
    code = UserCode({"features.py": b"import time\ntime.sleep(0.05)\ndef add():\n    return 1\n"})
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(code.function("features:add")())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [1] * 8
