"""Claims about reading a definition: whatever is wrong is named with file, line, key, value and expectation."""

from __future__ import annotations

import json
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st
from ruamel.yaml import YAML

from base.definition import read_pipeline
from base.errors import DefinitionError
from base.pipeline import PipelineSpec

_SOUND = """\
name: churn
task: classification
target: has_left
time: signed_at
extract:
  source: data.parquet
  label_delay: 3 days
validate_data:
  contract: contract.yaml
prepare:
  exclude:
    - customer
    - phone
  split: {validation: 0.2, test: 0.2}
train:
  estimators:
    - estimator: sklearn.linear_model.LogisticRegression
      parameters: {C: 1.0}
triggers:
  schedule: 0 5 * * 1
  timezone: Europe/Zurich
"""
_CONTRACT = """\
columns:
  has_left: {type: boolean}
  signed_at: {type: time}
  customer: {type: text}
  phone: {type: text}
  Target:
    type: number
    minimum: 0
"""


def _write(folder: Path, definition: str | bytes = _SOUND, contract: str | None = _CONTRACT) -> Path:
    file = folder / "pipeline.yaml"
    file.write_bytes(definition if isinstance(definition, bytes) else definition.encode())
    if contract is not None:
        (folder / "contract.yaml").write_text(contract)
    return file


def _fault(file: Path) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        read_pipeline(file)
    return caught.value


def test_a_definition_is_read_with_its_contract_and_code(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text("def add(frame): return frame")
    file = _write(tmp_path)

    for path in (file, tmp_path):
        pipeline = read_pipeline(path)
        assert pipeline.name == "churn"
        assert pipeline.spec.extract.label_delay == timedelta(days=3)
        assert pipeline.contract is not None
        assert list(pipeline.contract.columns)[-1] == "Target"
        assert pipeline.code == {"features.py": b"def add(frame): return frame"}
        assert (pipeline.file, pipeline.folder) == (file, tmp_path)


_WRONG_VALUES: list[tuple[str, str, int, str, str]] = [
    # what is replaced, by what, line, key, message
    ("name: churn", "name: Churn!", 1, "name", "key 'name' is 'Churn!', expected"),
    ("name: churn", "nmae: churn", 1, "nmae", "key 'nmae' is unknown; did you mean 'name'?"),
    ("name: churn\n", "", 1, "name", "key 'name' is missing, expected one of this kind: name: churn"),
    (
        "task: classification",
        "task: clasification",
        2,
        "task",
        "'clasification', expected 'classification' or 'regression'",
    ),
    ("target: has_left", "target: 5", 3, "target", "key 'target' is 5, expected a valid string"),
    ("target: has_left", "target:", 3, "target", "key 'target' is empty, expected a valid string"),
    ("target: has_left", "target: {name: x, expresion: a > b}", 3, "target.expresion", "did you mean 'expression'?"),
    ("  source: data.parquet", "  sorce: data.parquet", 6, "extract.sorce", "did you mean 'source'?"),
    ("  source: data.parquet\n", "", 5, "extract", "key 'extract': expected a source, such as 'source: data"),
    ("3 days", "3 dayz", 7, "extract.label_delay", "is '3 dayz', expected a duration such as '7 days' or '12 hours'"),
    ("3 days", "5", 7, "extract.label_delay", "is 5, expected a duration such as '7 days'"),
    ("3 days", "99999999999999 weeks", 7, "extract.label_delay", "expected at most 999,999,999 days"),
    ("    - phone", "    - 5", 13, "prepare.exclude.1", "is 5, expected a valid string"),
    ("prepare:", "numeric: [a]\nprepare:", 10, "numeric", "key 'numeric' is unknown"),
    ("0.2, test: 0.2", "0.5, test: 0.5", 14, "prepare.split", "validation + test = 1 leaves no rows to train on"),
    ("test: 0.2", "test: '0.2'", 14, "prepare.split.test", "is '0.2', expected a valid number"),
    ("test: 0.2", "test: 2", 14, "prepare.split.test", "is 2, expected less than 1"),
    ("  exclude:", "  numeric: [phone]\n  exclude:", 10, "prepare", "'phone' stands in numeric and in exclude"),
    ("  exclude:", "  features: add\n  exclude:", 11, "prepare.features", "is 'add', expected"),
    ("  exclude:", "  features: [add]\n  exclude:", 11, "prepare.features.0", "expected module:function"),
    (
        "sklearn.linear_model.",
        "",
        17,
        "train.estimators.0.estimator",
        "is 'LogisticRegression', expected an import path",
    ),
    ("{C: 1.0}", "{C: .inf}", 18, "train.estimators.0.parameters", "expected text, finite numbers"),
    ("{C: 1.0}", "{since: 2013-01-01}", 18, "train.estimators.0.parameters", "expected text, finite numbers"),
    ("train:", "train:\n  seed: true", 16, "train.seed", "is True, expected a valid integer"),
    ("train:", "train:\n  seed: 1.5", 16, "train.seed", "is 1.5, expected a valid integer"),
    ("0 5 * * 1", "61 * * * *", 20, "triggers.schedule", "expected a minute from 0 to 59, got '61' in '61 * * * *'"),
    ("0 5 * * 1", "'@daily'", 20, "triggers.schedule", "is '@daily', expected five cron fields"),
    ("0 5 * * 1", "0 0 31 2,4 *", 20, "triggers.schedule", "no such month has a day 31"),
    ("Zurich", "Zürich", 21, "triggers.timezone", "did you mean 'Europe/Zurich'?"),
    ("triggers:", "triggers:\n  cooldown: -1 days", 20, "triggers.cooldown", "is '-1 days', expected a duration"),
    ("triggers:", "monitor:\n  window: 0 days\ntriggers:", 20, "monitor.window", "expected greater than"),
    (
        "time: signed_at",
        "time: singed_at",
        4,
        "time",
        "names column 'singed_at', which the contract does not have; did you",
    ),
    ("target: has_left", "target: left", 3, "target", "names column 'left', which the contract does not have"),
    ("    - phone", "    - phones", 13, "prepare.exclude", "names column 'phones'"),
    (
        "contract: contract",
        "contract: contracts",
        9,
        "validate_data.contract",
        "no such file; did you mean 'contract.yaml'?",
    ),
    ("task: classification", "task: classification\ntask: regression", 3, "task", "key 'task' is there twice"),
]


@pytest.mark.parametrize(("sound", "wrong", "line", "key", "message"), _WRONG_VALUES)
def test_a_wrong_key_or_value_is_named(
    tmp_path: Path, sound: str, wrong: str, line: int, key: str, message: str
) -> None:
    assert _SOUND.count(sound) == 1
    file = _write(tmp_path, _SOUND.replace(sound, wrong))

    fault = _fault(file)
    assert message in str(fault)
    assert (fault.file, fault.line, fault.key) == (str(file), line, key)
    assert str(fault).startswith(f"{file}:{line}: ")
    assert "\n" not in str(fault)


@pytest.mark.parametrize(
    ("definition", "line", "message"),
    [
        ("", 1, "expected keys and values at the top, such as 'name: churn'"),
        ("# nothing\n", 1, "expected keys and values at the top"),
        ("- name: churn\n", 1, "expected keys and values at the top"),
        ("name: churn\ntask: [unclosed\n", 3, "this is not YAML: expected ',' or ']'"),
        ("name: churn\n\ttask: x\n", 2, "this is not YAML: found character '\\t'"),
        ("name: churn\n---\nname: other\n", 2, "this is not YAML: but found another document"),
        ("name: *nobody\n", 1, "this is not YAML: found undefined alias 'nobody'"),
        ("name: churn\ntask: a\0b\n", 2, "this is not YAML: character"),
        (b"name: caf\xe9\n", None, "the file is not UTF-8; save it as UTF-8"),
        ("name: " + "[" * 1000, None, "this is nested too deep"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
                for old, new in zip("abcdefghi", "bcdefghij", strict=True)
            ),
            None,
            "this is nested too deep",
        ),
    ],
)
def test_a_file_that_is_no_definition_is_named(
    tmp_path: Path, definition: str | bytes, line: int | None, message: str
) -> None:
    fault = _fault(_write(tmp_path, definition))

    assert message in str(fault)
    assert fault.line == line
    assert str(tmp_path / "pipeline.yaml") in str(fault)


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "pipeline.yaml"):
        assert str(_fault(path)) == f"{tmp_path}/pipeline.yaml: there is no such file; `everfit init` writes one"


def test_all_faults_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    file = _write(tmp_path, _SOUND.replace("name: churn", "name: 1").replace("3 days", "soon"))

    fault = _fault(file)
    assert str(fault).splitlines()[0].startswith(f"{file}:1: key 'name' is 1, expected a valid string")
    assert str(fault).splitlines()[1].strip().startswith("line 7: key 'extract.label_delay' is 'soon', expected a dur")


@pytest.mark.parametrize(
    ("sound", "wrong", "line", "key", "message"),
    [
        ("minimum: 0", "minimun: 0", 8, "columns.Target.minimun", "did you mean 'minimum'?"),
        ("minimum: 0", "minimum: low", 8, "columns.Target.minimum", "is 'low', expected a valid number"),
        ("minimum: 0", "minimum: .nan", 8, "columns.Target.minimum", "expected a finite number"),
        ("minimum: 0", "minimum: 2\n    maximum: 1", 6, "columns.Target", "minimum 2 is above maximum 1"),
        ("    type: number\n", "", 6, "columns.Target.type", "key 'columns.Target.type' is missing"),
        ("type: boolean", "type: bool", 2, "columns.has_left.type", "is 'bool', expected 'number', 'integer', 'text'"),
        ("type: boolean", "type: boolean, maximum: 3", 2, "columns.has_left", "minimum and maximum are for numbers"),
        ("type: boolean", "type: number, categories: [a]", 2, "columns.has_left", "categories are for text"),
        ("columns:", "unique: [costumer]\ncolumns:", 1, "definition", "did you mean 'customer'?"),
        ("columns:", "columns:\n  2013: {type: nothing}", 2, "columns.2013.type", "is 'nothing', expected"),
    ],
)
def test_a_wrong_contract_is_named(tmp_path: Path, sound: str, wrong: str, line: int, key: str, message: str) -> None:
    fault = _fault(_write(tmp_path, contract=_CONTRACT.replace(sound, wrong)))

    assert message in str(fault)
    assert (fault.file, fault.line, fault.key) == (str(tmp_path / "contract.yaml"), line, key)


def test_a_folder_full_of_code_is_refused(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "dump.py").write_bytes(b"#" * (1 << 21))

    assert "hold 2,097,152 bytes, expected at most 1,048,576" in str(_fault(tmp_path))


_NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
_SHARES = st.floats(0.01, 0.4)
_DURATIONS = st.timedeltas(timedelta(0), timedelta(days=999_999)).map(
    lambda duration: duration - timedelta(microseconds=duration.microseconds % 10)
)
_PARAMETERS = st.dictionaries(
    _NAMES,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False, allow_infinity=False)
        | _TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


@st.composite
def _definitions(draw: st.DrawFn) -> dict[str, Any]:
    columns = draw(st.lists(_NAMES, min_size=4, max_size=4, unique=True))
    return {
        "name": draw(_NAMES),
        "description": draw(_TEXTS),
        "task": draw(st.sampled_from(["classification", "regression"])),
        "target": draw(
            st.just(columns[0]) | st.fixed_dictionaries({"name": st.just(columns[0]), "expression": _TEXTS})
        ),
        "time": draw(st.none() | st.just(columns[1])),
        "extract": {"source": draw(_TEXTS.filter(bool)), "label_delay": draw(_DURATIONS)},
        "prepare": {
            "numeric": columns[2:3],
            "categorical": columns[3:],
            "split": {"validation": draw(_SHARES), "test": draw(_SHARES)},
        },
        "train": {
            "estimators": draw(
                st.lists(st.fixed_dictionaries({"estimator": st.just("a.B"), "parameters": _PARAMETERS}), max_size=2)
            ),
            "seed": draw(st.integers(0, 2**32 - 1)),
        },
        "monitor": {"window": draw(_DURATIONS) + timedelta(seconds=1), "max_drifted_share": draw(_SHARES)},
        "triggers": {"schedule": draw(st.none() | st.just("*/5 22-2 * jan-mar mon,3")), "cooldown": draw(_DURATIONS)},
    }


@cases(max_examples=100)
@given(definition=_definitions())
def test_a_definition_reads_back_equal_from_json(definition: dict[str, Any]) -> None:
    spec = PipelineSpec.model_validate(definition)

    assert PipelineSpec.model_validate_json(spec.model_dump_json()) == spec
    assert PipelineSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json")))) == spec


@cases(max_examples=40)
@given(definition=_definitions())
def test_a_definition_reads_back_equal_from_yaml(tmp_path: Path, definition: dict[str, Any]) -> None:
    spec = PipelineSpec.model_validate(definition)
    with (tmp_path / "pipeline.yaml").open("w") as stream:
        YAML(typ="safe").dump(spec.model_dump(mode="json"), stream)

    assert read_pipeline(tmp_path).spec == spec


def test_a_style_of_yaml_changes_nothing(tmp_path: Path) -> None:
    styled = """
        name: 'churn'
        task: "regression"
        target: has_left   # not yet
        extract:
          source: >-
            data.parquet
        train:
          estimators:
          - &first {estimator: a.B, parameters: {n: 0x10, m: 1_000, on: yes, off: false, none: ~, x: 1e3}}
    """
    _write(tmp_path, textwrap.dedent(styled))

    spec = read_pipeline(tmp_path).spec
    assert spec.name == "churn"
    assert spec.extract.source == "data.parquet"
    parameters = spec.train.estimators[0].parameters
    assert parameters == {"n": 16, "m": 1000, "on": "yes", "off": False, "none": None, "x": 1000.0}
    assert {type(value) for value in parameters.values()} == {int, str, bool, type(None), float}
