"""Read the feature views that stand beside a pipeline: YAML files, or Python objects in ``feature_views.py``."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from base.definition import read_model
from base.errors import DefinitionError, nearest
from base.fingerprint import digest_bytes, digest_document
from base.section import Section, is_function
from base.user_code import UserCode
from features.entities import Entity
from features.views import FeatureView

VIEWS_FILE = "feature_views.yaml"
VIEWS_FOLDER = "features"
VIEWS_CODE = "feature_views"


class ViewsFile(Section):
    """Several views in one file."""

    views: tuple[FeatureView, ...]


@dataclass(frozen=True)
class DeclaredView:
    """A view as it stands in a folder, with the Python files there."""

    view: FeatureView
    folder: Path
    file: Path
    code: Mapping[str, bytes]

    @property
    def name(self) -> str:
        """The view's name."""
        return self.view.name

    @property
    def digest(self) -> str:
        """Name all that the stored values depend on: another digest is another history."""
        view = self.view
        functions = [path for path in (view.source, view.transformation) if path is not None and is_function(path)]
        # Only where they are given, so that a declaration of before keeps its history.
        place = view.place.model_dump(exclude={"source"}, exclude_defaults=True)
        personal = {name: feature.personal for name, feature in view.features.items() if feature.personal is not None}
        hidden = {**personal, **dict.fromkeys(view.entity.personal, "hash")}
        return digest_document(
            {
                **place,
                **({"personal": hidden} if hidden else {}),
                "name": view.name,
                "keys": list(view.entity.keys),
                "source": view.source,
                "time": view.time,
                "created": view.created,
                "features": {name: feature.type for name, feature in view.features.items()},
                "transformation": view.transformation,
                "code": {name: digest_bytes(self.code[name]) for name in _files_behind(functions, self.code)},
            }
        )


def read_views(folder: Path) -> dict[str, DeclaredView]:
    """Read every view of a folder: ``feature_views.yaml``, ``features/NAME.yaml`` and ``feature_views.py``.

    Raises
    ------
    DefinitionError
        If a file is no YAML, a key is unknown, missing or wrong, two views have one name, or two of them mean
        different keys by one entity.
    """
    code = {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    found: list[DeclaredView] = []
    if (file := folder / VIEWS_FILE).is_file():
        found += [DeclaredView(view, folder, file, code) for view in read_model(file, ViewsFile).views]
    for file in sorted((folder / VIEWS_FOLDER).glob("*.y*ml")):
        view = read_model(file, FeatureView)
        if view.name != file.stem:
            raise DefinitionError(
                f"key 'name' is {view.name!r}, expected {file.stem!r}, as the file is called",
                file=str(file),
                key="name",
            )
        found.append(DeclaredView(view, folder, file, code))
    if f"{VIEWS_CODE}.py" in code:
        found += _read_python(folder, code)
    _check_apart(found)
    return {one.name: one for one in found}


def find_view(views: Mapping[str, DeclaredView], name: str, folder: Path) -> DeclaredView:
    """Find a view by its name.

    Raises
    ------
    DefinitionError
        If there is none; it names the nearest.
    """
    if name not in views:
        known = ", ".join(views) or "none"
        raise DefinitionError(
            f"there is no feature view {name!r} beside {folder}; declared are {known}{nearest(name, views)}",
            file=str(folder / VIEWS_FILE),
        )
    return views[name]


def _read_python(folder: Path, code: Mapping[str, bytes]) -> list[DeclaredView]:
    file = folder / f"{VIEWS_CODE}.py"
    user_code = UserCode(code)
    try:
        values: dict[str, Any] = user_code.variables(VIEWS_CODE)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("expected ")
        # What was found in all keys together is not told: it may hold a password.
        found = (
            f": {expected}"
            if isinstance(first["input"], Mapping)
            else f" is {first['input']!r:.60}, expected {expected}"
        )
        raise DefinitionError(
            f"a {error.title} is wrong: key {key!r}{found}" if key else f"a {error.title} is wrong{found}",
            file=str(file),
            key=key,
        ) from None
    except (Exception, SystemExit) as error:
        raise DefinitionError(f"cannot be loaded: {user_code.describe_error(error)}", file=str(file)) from error
    views = [value for value in values.values() if isinstance(value, FeatureView)]
    return [DeclaredView(view, folder, file, code) for view in views]


def _check_apart(found: Sequence[DeclaredView]) -> None:
    names: dict[str, DeclaredView] = {}
    entities: dict[str, DeclaredView] = {}
    for one in found:
        if (other := names.setdefault(one.name, one)) is not one:
            raise DefinitionError(
                f"feature view {one.name!r} is declared in {other.file.name} already, expected one of each name",
                file=str(one.file),
                key="name",
            )
        entity = one.view.entity
        known = entities.setdefault(entity.name, one)
        if known.view.entity != entity:
            raise DefinitionError(
                f"entity {entity.name!r} has keys {_describe_keys(entity)} in view {one.name!r} and "
                f"{_describe_keys(known.view.entity)} in view {known.name!r}, expected the same; name another entity",
                file=str(one.file),
                key="entity.keys",
            )


def _describe_keys(entity: Entity) -> str:
    return str([f"{key} (personal)" if key in entity.personal else key for key in entity.keys])


def _files_behind(functions: Sequence[str], code: Mapping[str, bytes]) -> list[str]:
    """List the files that hold some functions, and those beside them that they import."""
    waiting = [f"{path.partition(':')[0]}.py" for path in functions]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found or name not in code:
            continue
        found.add(name)
        waiting += [f"{module}.py" for module in _imported(code[name])]
    return sorted(found)


def _imported(content: bytes) -> list[str]:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return []  # who loads the file says what is wrong with it
    modules: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules += [node.module] if node.module else [alias.name for alias in node.names]
    return modules
