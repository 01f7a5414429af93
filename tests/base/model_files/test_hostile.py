"""Claims about files that are no model: each is refused by what is wrong with it, and nothing in it is run."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import pytest

from base.model_files import ModelFileRefused, dump_model, load_model
from tests.base.model_files.hostile import HOSTILE, fitted

_SAID = {
    "os.system": "system",
    "a partial of os.mkdir": "functools.partial",
    "operator.methodcaller": "operator.methodcaller",
    "operator.attrgetter": "operator.attrgetter",
    "a function of the user's": "builtins.exec",
    "a type of a foreign library": "subprocess.Popen",
    "a name that leads out of the archive": "'../../evil.npy'",
    "an absolute name": "'/etc/evil.npy'",
    "an array that claims to be giant": "80,000,000,000,000 bytes",
    "an array that is a pickle": "which only a pickle can",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_and_runs_nothing(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    data = HOSTILE[name](canary)

    with pytest.raises(ModelFileRefused, match=re.escape(_SAID.get(name, "the model file is refused"))):
        load_model(data)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["a zip bomb", "an array that claims to be giant"])
def test_a_small_file_takes_no_great_memory(name: str, tmp_path: Path) -> None:
    data = HOSTILE[name](tmp_path / "canary")
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileRefused):
            load_model(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(data) < 1 << 20
    assert peak < 16 << 20


def test_the_honest_model_that_the_corpus_is_made_of_is_read() -> None:
    assert load_model(dump_model(fitted())).predict([[0.5]]).shape == (1,)
