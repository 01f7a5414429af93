"""Read a pipeline's definition; an error names file, line, key, what was found and what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scalarbool import ScalarBoolean

from base.contract import DataContract
from base.errors import DefinitionError, nearest
from base.pipeline import Pipeline, PipelineSpec
from base.validation.column_uses import find_misuse

_Model = TypeVar("_Model", bound=BaseModel)
_LARGEST_CODE_BYTES = 1 << 20
# Words, not pictures: it is a part of every pipeline version.
_LARGEST_CARD_BYTES = 100_000
_MOST_VALUES = 1_000_000
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def read_pipeline(file: Path) -> Pipeline:
    """Read a definition, its contract, and the Python files beside it.

    Raises
    ------
    DefinitionError
        If a file is missing, is no YAML, or a key is unknown, missing or has a wrong value.
    """
    if file.is_dir():
        file = file / "pipeline.yaml"
    document = _read_yaml(file)
    spec = _read_model(document, file, PipelineSpec)
    contract = None
    if spec.validate_data.contract is not None:
        contract_file = file.parent / spec.validate_data.contract
        if not contract_file.exists():
            _raise_missing_contract(contract_file, file, document)
        contract = _read_model(_read_yaml(contract_file), contract_file, DataContract)
        _check_columns(spec, contract, file, document)
    return Pipeline(
        spec=spec,
        contract=contract,
        file=file.resolve(),
        code=_read_code(file.parent),
        card=_read_card(file.parent),
    )


def read_model(file: Path, model: type[_Model]) -> _Model:
    """Read another YAML file of the user's, such as a feature view, with the same messages.

    Raises
    ------
    DefinitionError
        If the file is missing, is no YAML, or a key is unknown, missing or has a wrong value.
    """
    return _read_model(_read_yaml(file), file, model)


def _read_model(document: CommentedMap, file: Path, model: type[_Model]) -> _Model:
    try:
        plain = _plain(document, iter(range(_MOST_VALUES)))
    except RecursionError as error:
        raise DefinitionError("this is nested too deep, or too large, to be a definition", file=str(file)) from error
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise _explain(error, file, document, model) from error


def _read_yaml(file: Path) -> CommentedMap:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DefinitionError("there is no such file; `everfit init` writes one", file=str(file)) from error
    except UnicodeDecodeError as error:
        raise DefinitionError("the file is not UTF-8; save it as UTF-8", file=str(file)) from error
    except OSError as error:
        raise DefinitionError(f"the file cannot be read: {error.strerror}", file=str(file)) from error
    try:
        document = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        raise _explain_duplicate(error, file) from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise DefinitionError(f"this is not YAML: {error.problem}", file=str(file), line=line) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"this is not YAML: character {error.character!r} is not allowed"
        raise DefinitionError(problem, file=str(file), line=line) from error
    except (YAMLError, ValueError) as error:
        raise DefinitionError(f"this is not YAML: {error}", file=str(file)) from error
    except RecursionError as error:
        raise DefinitionError("this is nested too deep, or too large, to be a definition", file=str(file)) from error
    if not isinstance(document, CommentedMap):
        raise DefinitionError("expected keys and values at the top, such as 'name: churn'", file=str(file), line=1)
    return document


def _plain(value: Any, left: Iterator[int]) -> Any:
    # Aliases can make a short file so large that it fills the memory.
    if next(left, None) is None:
        raise RecursionError
    if isinstance(value, Mapping):
        return {str(key): _plain(item, left) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item, left) for item in value]
    if isinstance(value, bool | ScalarBoolean):
        return bool(value)
    # ruamel's scalars are subclasses that remember their style; nothing after this needs it.
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _explain(error: ValidationError, file: Path, document: CommentedMap, model: type[BaseModel]) -> DefinitionError:
    messages: list[str] = []
    first_line: int | None = None
    first_key: str | None = None
    for fault in _worth_telling(error.errors(include_url=False), model):
        path = _without_branch(fault["loc"])
        line = _line_of(document, path)
        key = ".".join(map(str, path)) or "definition"
        if first_key is None:
            first_line, first_key = line, key
        place = f"line {line}: " if messages and line is not None else ""
        messages.append(place + _describe(fault, key, _known_keys(model, path[:-1])))
    return DefinitionError("\n  ".join(messages), file=str(file), line=first_line, key=first_key)


def _describe(fault: Any, key: str, known: list[str]) -> str:
    if fault["type"] == "extra_forbidden":
        word = key.rsplit(".", maxsplit=1)[-1]
        hint = nearest(word, known) or f"; known keys here are {', '.join(known)}"
        return f"key {key!r} is unknown{hint}"
    if fault["type"] == "missing":
        return f"key {key!r} is missing, expected one of this kind: {known_example(key)}"
    expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if fault["type"] == "value_error" and isinstance(fault["input"], Mapping):
        return f"key {key!r}: {expected}"
    found = "empty" if fault["input"] is None else _SHORT.repr(fault["input"])
    return f"key {key!r} is {found}, expected {expected.removeprefix('expected ')}"


def known_example(key: str) -> str:
    """Give an example of a required key, for the message that it is missing."""
    examples = {
        "name": "name: churn",
        "task": "task: classification",
        "target": "target: has_left",
        "extract": "extract: {source: data.parquet}",
        "extract.source": "source: data.parquet",
        "columns": "columns: {age: {type: number}}",
    }
    return examples.get(key, f"{key.rsplit('.', maxsplit=1)[-1]}: …")


def _without_branch(path: Sequence[int | str]) -> list[int | str]:
    # pydantic puts the branch of a union into the path; it is no key of the user's file. There is one union.
    return [*path[:1], *path[2:]] if path[:1] == ("target",) else list(path)


def _worth_telling(faults: Sequence[Any], model: type[BaseModel]) -> list[Any]:
    """Put unknown keys first, and leave out the missing keys that they were meant to be."""
    unknown = [fault for fault in faults if fault["type"] == "extra_forbidden"]
    meant: set[tuple[int | str, ...]] = set()
    for fault in unknown:
        *parents, word = fault["loc"]
        known = _known_keys(model, _without_branch(parents))
        meant |= {(*parents, name) for name in get_close_matches(str(word), known, n=1)}
    others = [fault for fault in faults if fault["type"] != "extra_forbidden" and not _is_other_branch(fault)]
    return unknown + [fault for fault in others if fault["type"] != "missing" or fault["loc"] not in meant]


def _is_other_branch(fault: Any) -> bool:
    """Tell a fault of the branch of ``target`` that the user did not mean."""
    if fault["loc"] == ("target", "str"):
        return isinstance(fault["input"], Mapping)
    return bool(fault["loc"] == ("target", "Target"))


def _explain_duplicate(error: DuplicateKeyError, file: Path) -> DefinitionError:
    line = error.problem_mark.line + 1 if error.problem_mark else None
    found = re.search(r'duplicate key "(?P<key>[^"]*)"', str(error.problem))
    key = found["key"] if found else None
    return DefinitionError(f"key {key!r} is there twice, expected once", file=str(file), line=line, key=key)


def _raise_missing_contract(contract: Path, file: Path, document: CommentedMap) -> NoReturn:
    key = "validate_data.contract"
    there = [path.name for path in sorted(file.parent.glob("*.y*ml"))]
    raise DefinitionError(
        f"key {key!r} is {contract.name!r}, but there is no such file{nearest(contract.name, there)}",
        file=str(file),
        line=_line_of(document, list(key.split("."))),
        key=key,
    )


def _line_of(document: CommentedMap, path: list[int | str]) -> int | None:
    node: Any = document
    line = 1
    for name in path:
        part = name
        if isinstance(node, CommentedMap):
            # A key such as 2013 is a number in YAML and text in the model.
            part = next((key for key in node if str(key) == name), name)
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            return line
        node = node[part]
    return line


def _known_keys(model: type[BaseModel], path: list[int | str]) -> list[str]:
    current: Any = model
    for part in path:
        found = _first_model(current)
        if found is None:
            return []
        if isinstance(current, type) and current is found:
            field = found.model_fields.get(str(part))
            current = field.annotation if field else None
        else:
            current = found  # an item of a list, or of a mapping with names of the user's
    found = _first_model(current)
    return list(found.model_fields) if found else []


def _first_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    arguments = getattr(annotation, "__args__", ())
    return next((found for argument in arguments if (found := _first_model(argument))), None)


def _check_columns(spec: PipelineSpec, contract: DataContract, file: Path, document: CommentedMap) -> None:
    if misuse := find_misuse(spec, contract):
        use, problem = misuse
        raise DefinitionError(
            f"key {use.key!r} names column {use.column!r}, {problem}",
            file=str(file),
            line=_line_of(document, [*use.key.split("."), use.place]),
            key=use.key,
        )


def _read_code(folder: Path) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    size = sum(map(len, files.values()))
    if size > _LARGEST_CODE_BYTES:
        raise DefinitionError(
            f"the Python files beside the definition hold {size:,} bytes, expected at most {_LARGEST_CODE_BYTES:,}; "
            "give the pipeline a folder of its own",
            file=str(folder),
        )
    return files


def _read_card(folder: Path) -> str | None:
    """Read what people wrote for the model cards; None where there is nothing."""
    file = folder / "card.md"
    if not file.is_file():
        return None
    content = file.read_bytes()
    if len(content) > _LARGEST_CARD_BYTES:
        raise DefinitionError(
            f"it holds {len(content):,} bytes, expected at most {_LARGEST_CARD_BYTES:,}", file=str(file)
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DefinitionError(f"it is not UTF-8 (byte {error.start})", file=str(file)) from error
