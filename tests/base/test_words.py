"""Laws of the small words of the house: errors, times, documents, digests, settings, references."""

from __future__ import annotations

import copy
import importlib
import json
import math
import os
import pickle
import pkgutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter, ValidationError

import base
import registry
from base.artifacts import Artifact, ArtifactCorrupt, ArtifactMissing
from base.documents import as_document, as_text
from base.errors import ArgumentError, DataRefused, DefinitionError, EverfitError, Fault, UserCodeError, nearest
from base.fingerprint import digest_document, digest_environment, digest_file, digest_files, digest_package
from base.judged import Evaluation
from base.settings import Settings
from base.times import Duration, as_utc, describe_duration, parse_duration, parse_moment

_ARTIFACT = Artifact(digest="ab" * 32, size_bytes=1)
_ERRORS = [
    EverfitError("plain"),
    DefinitionError("wrong", file="pipeline.yaml", line=3, key="name"),
    DataRefused("the data", [Fault("age", "'old'", "number", row=3)], "mend it"),
    UserCodeError("features:add", "raised", "mend it"),
    ArtifactMissing(_ARTIFACT, "store"),
    ArtifactCorrupt(_ARTIFACT, "cd"),
]


@pytest.mark.parametrize("error", _ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_crosses_processes_with_its_evidence(error: EverfitError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def _all_errors(package: Any) -> list[type[EverfitError]]:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".migrations" not in module.name:
            importlib.import_module(module.name)
    found, waiting = [], [EverfitError]
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].__subclasses__()
    return found


def test_every_error_of_the_family_has_an_exit_code_and_a_word_about_itself() -> None:
    for error in {*_all_errors(base), *_all_errors(registry)}:
        assert error.exit_code in (2, 3, 4), error
        assert error.__doc__, error


def test_a_fault_names_its_place() -> None:
    assert str(Fault("age", "'old'", "number", row=3)) == "row 3, column 'age': found 'old', expected number"
    assert str(Fault(None, "no rows", "100", n_rows=1200)) == "table: found no rows (1,200 rows), expected 100"


@given(word=st.text(max_size=300), known=st.lists(st.text(max_size=10), max_size=5))
def test_a_suggestion_is_one_of_the_known_words(word: str, known: list[str]) -> None:
    hint = nearest(word, known)

    assert not hint or any(repr(each) in hint for each in known)


@given(duration=st.timedeltas(min_value=timedelta(0)))
def test_a_duration_reads_back_equal(duration: timedelta) -> None:
    assert parse_duration(describe_duration(duration)) == duration
    adapter = TypeAdapter(Duration)
    assert adapter.validate_json(adapter.dump_json(duration)) == duration


@pytest.mark.parametrize(
    "wrong", ["soon", "7", "-3 days", "7 days ago", "1e3 days", "", 5, 1.5, True, "9" * 30 + " weeks"]
)
def test_what_is_no_duration_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError, match="expected"):
        TypeAdapter(Duration).validate_python(wrong)


@given(moment=st.datetimes(timezones=st.none() | st.timezones()))
def test_a_moment_reads_back_equal(moment: datetime) -> None:
    try:
        expected = as_utc(moment)
    except OverflowError:
        return
    assert parse_moment(expected.isoformat()) == parse_moment(expected) == expected


@pytest.mark.parametrize(
    "wrong", ["soon", "", "2013-02-30", None, 7, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))]
)
def test_what_is_no_moment_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected a moment such as '2013-04-01'"):
        parse_moment(wrong)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes() | st.binary().map(len),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@given(value=_ANYTHING)
def test_a_document_is_json_and_stays_as_it_is(value: Any) -> None:
    document = as_document(value)

    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert as_document(document) == document
    assert digest_document(value) == digest_document(document)


@given(text=st.text(st.characters()))
def test_a_text_is_left_alone_unless_no_database_takes_it(text: str) -> None:
    kept = as_text(text)

    kept.encode()
    assert "\0" not in kept
    sound = "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)
    assert (kept == text) == sound


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (np.array([1.5, np.inf]), [1.5, None]),
        (np.bool_(True), True),
        (pd.Timestamp("2013-01-01", tz="Europe/Zurich"), "2012-12-31T23:00:00+00:00"),
        (pd.NaT, None),
        (Path("/srv/x"), "/srv/x"),
        (_ARTIFACT, {"digest": "ab" * 32, "size_bytes": 1, "suffix": ""}),
        (frozenset({3, 1, 2}), [1, 2, 3]),
        (-0.0, 0.0),
    ],
)
def test_what_libraries_give_becomes_a_document(value: Any, expected: Any) -> None:
    assert repr(as_document(value)) == repr(expected)


@pytest.mark.parametrize("value", [object(), len, pd.NA, b"bytes", 1j, {"deep": [object]}])
def test_what_is_no_document_is_refused(value: Any) -> None:
    with pytest.raises(ArgumentError, match="a document cannot hold"):
        digest_document(value)


def test_one_and_one_point_zero_are_different_parameters() -> None:
    assert len({digest_document({"max_features": value}) for value in (1, 1.0, True, "1", None)}) == 5


def test_digests_are_the_same_in_every_process() -> None:
    program = (
        "import base.artifacts; from base.fingerprint import *; "
        "print(digest_document({'b': {3, 1, 'x'}, 'a': [1.5, None]}), digest_files({'b.py': b'1', 'a.py': b'2'}), "
        "digest_package('base'), digest_package('base.artifacts'), digest_environment())"
    )
    root = Path(__file__).parents[2]
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("0", "1", "77")
    }

    assert len(found) == 1
    assert len(set(found.pop().split())) == 5


def test_names_and_contents_of_files_count_and_their_order_does_not(tmp_path: Path) -> None:
    assert digest_files({"a": b"1", "b": b"2"}) == digest_files({"b": b"2", "a": b"1"})
    assert digest_files({"a": b"1"}) != digest_files({"b": b"1"}) != digest_files({"b": b"2"})
    (tmp_path / "a").write_bytes(b"1")
    assert digest_file(tmp_path / "a") == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert len(digest_environment()) == len(digest_package("base")) == 64


def test_settings_come_from_the_environment_and_secrets_never_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERFIT_DATABASE_URL", "postgresql://me:secret@db/everfit")
    monkeypatch.setenv("EVERFIT_HOME", "/srv/everfit")
    settings = Settings()

    assert settings.database == "postgresql://me:secret@db/everfit"
    assert settings.artifacts == "/srv/everfit/artifacts"
    assert Settings(database_url=SecretStr("sqlite:///x.db")).database == "sqlite:///x.db"
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "secret" not in shown.replace("secret_", "")


def test_a_metric_that_was_not_measurable_reads_back_as_nan() -> None:
    evaluation = Evaluation.model_validate(
        as_document(
            {
                "n_rows": 1,
                "metrics": {"roc_auc": math.nan, "log_loss": 0.5},
                "baseline": {},
                "champion": None,
                "champion_version": None,
                "slices": [],
                "losses": _ARTIFACT,
                "report": _ARTIFACT,
            }
        )
    )

    assert math.isnan(evaluation.metrics["roc_auc"])
    assert evaluation.metrics["log_loss"] == 0.5
