"""The rules of the house that import-linter does not know."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

_ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())
_LONGEST_MODULE = 500
_NO_PACKAGES = {"tests", "examples", "benchmarks", "docs"}

# Put together here, so that this file does not hold what it looks for.
_MACHINE_PATH = re.compile(r"(?<![\w.$}{<-])/(?:" + "|".join(["home/\\w", "root/", "work/", "Users/\\w"]) + ")")
_INDEX_HOST = re.compile(
    "|".join(
        [
            r"pypi\.or" + "g/simple",
            r"files\.python" + "hosted",
            r"--(?:extra-)?index-" + r"url\s+\S*://",
            "arti" + "factory",
        ]
    )
)
_ADDRESS = re.compile(r"\w+://|(?:\d{1,3}\.){3}\d{1,3}:\d+")


def _tracked() -> list[Path]:
    """The files of the repository: what git tracks, and what it would if it were added."""
    try:
        listed = subprocess.run(
            ["git", "-c", f"safe.directory={_ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no clone of the repository, or git is not installed")
    return [_ROOT / name for name in listed.split("\0") if name and (_ROOT / name).is_file()]


def _texts() -> dict[str, str]:
    found = {}
    for path in _tracked():
        try:
            found[path.relative_to(_ROOT).as_posix()] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
    return found


def _packages() -> set[str]:
    return {path.parent.name for path in _ROOT.glob("*/__init__.py")} - _NO_PACKAGES


def test_the_packages_are_listed_one_by_one() -> None:
    listed = _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert set(listed) == _packages()
    assert len(listed) == len(set(listed))


def test_every_package_has_its_floor() -> None:
    (layers,) = [each["layers"] for each in _PROJECT["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]

    assert set(layers) == set(_PROJECT["tool"]["importlinter"]["root_packages"]) == _packages()


def test_prefect_is_forbidden_wherever_it_is_not_allowed() -> None:
    (contract,) = [each for each in _PROJECT["tool"]["importlinter"]["contracts"] if each["type"] == "forbidden"]

    assert contract["forbidden_modules"] == ["prefect"]
    assert set(contract["source_modules"]) == _packages() - {"tasks", "flows", "deployments", "console"}


def test_everfit_cannot_be_uploaded_under_its_generic_names() -> None:
    assert "Private :: Do Not Upload" in _PROJECT["project"]["classifiers"]


@pytest.mark.parametrize("folder", ["flows", "tasks", "deployments"])
def test_no_module_hides_a_package_or_the_standard_library(folder: str) -> None:
    stems = {path.stem for path in (_ROOT / folder).glob("*.py")} - {"__init__"}

    assert stems & (_packages() | sys.stdlib_module_names) == set()


def test_no_module_is_longer_than_anybody_reads() -> None:
    lengths = {name: text.count("\n") for name, text in _texts().items() if name.endswith(".py")}

    assert {name: length for name, length in lengths.items() if length > _LONGEST_MODULE} == {}


def test_no_module_is_named_after_nothing() -> None:
    refused = {"utils", "util", "helpers", "helper", "common", "core", "manager", "misc"}

    assert {path.stem for path in _tracked() if path.suffix == ".py"} & refused == set()


def test_every_module_says_what_it_is() -> None:
    silent = [
        name
        for name, text in _texts().items()
        if name.endswith(".py") and text.strip() and not re.match(r'(#!.*\n)?(#.*\n)*\s*r?"""\S', text)
    ]

    assert silent == []


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in (_ROOT / "tests").rglob("test_*.py")}

    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def _entrypoints(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["entrypoint"]] if isinstance(node.get("entrypoint"), str) else []
        return own + [found for value in node.values() for found in _entrypoints(value)]
    if isinstance(node, list):
        return [found for value in node for found in _entrypoints(value)]
    return []


def test_prefect_finds_flows_by_module_and_never_by_path() -> None:
    file = _ROOT / "prefect.yaml"
    if not file.is_file():
        pytest.skip("there is no prefect.yaml yet")
    entrypoints = _entrypoints(YAML(typ="safe").load(file.read_text()))

    assert entrypoints
    for entrypoint in entrypoints:
        module, _, function = entrypoint.rpartition(".")
        assert re.fullmatch(r"\w+(\.\w+)+", entrypoint), f"{entrypoint!r} is no module entrypoint"
        source = importlib.util.find_spec(module)
        assert source is not None
        assert source.origin is not None
        assert f"def {function}(" in Path(source.origin).read_text()


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    found = {
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in _texts().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if _MACHINE_PATH.search(line) and not name.startswith("tests/test_house.py")
    }

    assert found == set()


def test_no_file_names_a_package_index() -> None:
    assert [name for name, text in _texts().items() if _INDEX_HOST.search(text)] == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-test.lock"])
def test_a_lock_holds_versions_and_hashes_and_no_address(name: str) -> None:
    text = (_ROOT / name).read_text()
    requirements = re.findall(r"^[A-Za-z0-9][^\n]*?(?=\s*\\?$)", text, flags=re.MULTILINE)

    assert _ADDRESS.findall(text) == []
    assert [each for each in requirements if "==" not in each] == []
    assert text.count("--hash=sha256:") >= len(requirements) > 50


def test_locks_that_hold_addresses_are_not_kept() -> None:
    assert {path.name for path in _tracked()} & {"uv.lock", "pylock.toml", "poetry.lock", "Pipfile.lock"} == set()
