"""Text in YAML: whatever it is, YAML reads it back as that text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from base.yaml_text import yaml_comment, yaml_scalar

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.from_regex(r"[-.+0-9eE_xob:a-f]{1,6}", fullmatch=True)


@given(texts)
def test_a_scalar_is_read_back_as_that_text(text: str) -> None:
    document = f"{yaml_scalar(text)}: {yaml_scalar(text)} # {yaml_comment(text)}\nlist: [a, {yaml_scalar(text)}, b]\n"

    found = YAML(typ="safe").load(document)

    assert (next(iter(found.items())), found["list"]) == ((text, text), ["a", text, "b"])


@pytest.mark.parametrize("text", [".inf", ".5", "null", "~", "1e5", "0x1F", "2013-04-01", "<<", "=", "a ", "", "-"])
def test_text_that_yaml_would_read_otherwise_is_quoted(text: str) -> None:
    assert yaml_scalar(text).startswith('"')


@pytest.mark.parametrize("text", ["cnt", "../data/rows.parquet", "/data/rows.csv", "tips > 0.2 * fare", "Größe"])
def test_usual_text_stays_as_people_write_it(text: str) -> None:
    assert yaml_scalar(text) == text
