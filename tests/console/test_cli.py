"""The command line as a whole: help, exit codes, errors, and what it costs to load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import console.versions
from base.errors import ArgumentError, DataRefused, EverfitError, Fault, RunFailed
from console.cli import app
from tests.console.conftest import Everfit


def _leaves(command: Any, *path: str) -> list[str]:
    """List every command, such as ``data list``, in the order of the help."""
    if not hasattr(command, "commands"):
        return [" ".join(path)]
    return [leaf for name, below in command.commands.items() for leaf in _leaves(below, *path, name)]


COMMANDS = _leaves(get_command(app))
REPOSITORY = Path(__file__).parents[2]
HEAVY = {"pandas", "pyarrow", "numpy", "sklearn", "prefect", "sqlmodel", "rich.console", "fastapi"}


def test_every_command_is_listed(everfit: Everfit) -> None:
    listed = everfit("--help").out

    assert all(f"\n  {command.split()[0]} " in listed for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_in_its_help(everfit: Everfit, command: str) -> None:
    finished = everfit(*command.split(), "--help")

    assert finished.code == 0
    assert f"Examples:\n    everfit {command}" in finished.out
    assert "--json" in finished.out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documentation_shows_every_command(command: str) -> None:
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]

    assert any(f"everfit {command}" in page.read_text(encoding="utf-8") for page in pages)


def test_help_loads_no_library_that_a_body_needs() -> None:
    script = "import sys; from console.cli import run; run(['init', '--help']); print(*sys.modules)"

    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY
    ).stdout

    assert HEAVY & set(printed.splitlines()[-1].split()) == set()


def test_no_command_shows_the_help(everfit: Everfit) -> None:
    assert everfit().out == everfit("--help").out


def test_the_version_is_told(everfit: Everfit) -> None:
    assert everfit("--version").out.startswith("everfit 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rolback"], "Did you mean 'rollback'"),
        (["rollback", "bike"], "Missing option '--reason'; see `everfit rollback --help`"),
        (["rollback", "bike", "--reason", "x", "--to", "zero"], "Invalid value for '--to'"),
        (["versions", "--jsn"], "--jsn"),
        (["predict", "bike"], "either as --input FILE or as --rows JSON"),
    ],
)
def test_a_wrong_argument_ends_with_2(everfit: Everfit, arguments: list[str], message: str) -> None:
    finished = everfit(*arguments)

    assert (finished.code, finished.out) == (2, "")
    assert finished.err.startswith("error: ")
    assert message in finished.err


def _fail_with(error: BaseException) -> Any:
    def body(*_: object, **__: object) -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ArgumentError("wrong"), 2),
        (DataRefused("the data", [Fault("age", "null", "a number", n_rows=3)], "mend it"), 3),
        (RunFailed("broke"), 4),
        (EverfitError("broke"), 4),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("division by zero"), 4),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_becomes_a_message_and_its_exit_code(
    everfit: Everfit, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, as_json: bool
) -> None:
    monkeypatch.setattr(console.versions, "versions_command", _fail_with(error))

    finished = everfit("versions", *(["--json"] if as_json else []))

    assert finished.code == code
    assert finished.err.startswith("error: ")
    assert "Traceback" not in finished.err
    if as_json:
        assert finished.document["exit_code"] == code
        assert finished.err.startswith(f"error: {finished.document['error']}")
    else:
        assert finished.out == ""


def test_refused_data_come_with_their_faults_as_json(everfit: Everfit, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = DataRefused("the data", [Fault("age", "null", "a number", n_rows=3)], "mend it")
    monkeypatch.setattr(console.versions, "versions_command", _fail_with(refusal))

    assert everfit("versions", "--json").document["faults"] == [
        {"column": "age", "found": "null", "expected": "a number", "row": None, "n_rows": 3}
    ]


def test_the_traceback_of_an_unexpected_error_is_kept_in_a_file(
    everfit: Everfit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(console.versions, "versions_command", _fail_with(ZeroDivisionError("by zero")))

    finished = everfit("versions")

    (file,) = (tmp_path / "home/logs").iterdir()
    assert str(file) in finished.err
    assert "ZeroDivisionError: by zero" in file.read_text()


def test_debug_shows_the_traceback_at_once(everfit: Everfit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERFIT_DEBUG", "1")
    monkeypatch.setattr(console.versions, "versions_command", _fail_with(ZeroDivisionError("by zero")))

    assert "Traceback" in everfit("versions").err


@pytest.mark.parametrize(
    ("name", "value"),
    [("EVERFIT_SERVICE_PORT", "eight"), ("EVERFIT_FOLLOW_SECONDS", "-1"), ("EVERFIT_FIT_THREADS", "0")],
)
def test_a_wrong_setting_is_named(everfit: Everfit, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    finished = everfit("versions")

    assert finished.code == 2
    assert f"setting {name} is '{value}', expected" in finished.err


def test_a_database_that_does_not_answer_is_no_fault_of_the_program(
    everfit: Everfit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/everfit.db").write_bytes(b"this is no database, and long enough to be looked at" * 100)

    finished = everfit("versions")

    assert finished.code == 4
    assert "cannot be opened (file is not a database)" in finished.err
    assert not (tmp_path / "home/logs").exists()


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    script = "import sys; from console.cli import run; sys.exit(run(['--help']))"
    environment = os.environ | {"EVERFIT_HOME": str(tmp_path)}

    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=environment,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)

    assert (err, list(tmp_path.iterdir())) == (b"", [])


def test_ctrl_c_ends_a_real_process_with_130(tmp_path: Path) -> None:
    script = """if True:
        import sys, time
        import console.versions
        from console.cli import run
        def wait(*_, **__):
            print("ready", flush=True)
            time.sleep(60)
        console.versions.versions_command = wait
        sys.exit(run(["versions", "--json"]))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
        # Where the tests run as a job in the background, their children would be deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)

    process.send_signal(signal.SIGINT)

    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "error: interrupted\n")
    assert json.loads(out)["exit_code"] == 130
