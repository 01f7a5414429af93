"""Claims about models that are kept in memory: the same model under its fit's name, and never past the allow-list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from base.artifacts import ArtifactStore
from base.model_files import ModelFileRefused
from base.model_files.kept import KeptModels, find_kept_models, keeping_models, measure_model
from base.model_files.stored import read_model, store_model


class _Foreign(StandardScaler):  # type: ignore[misc]
    """Of a type that no allow-list names."""


X, Y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
ONE, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


def _named(kept: KeptModels, model: Any, name: str = ONE) -> Any:
    kept.name(model, fit=name, kind=type(model).__name__)
    return model


def test_outside_nothing_is_kept(artifacts: ArtifactStore) -> None:
    model = StandardScaler().fit(X)

    stored = store_model(model, artifacts)

    assert find_kept_models() is None
    assert stored in artifacts
    assert read_model(stored, artifacts) is not model


def test_a_kept_model_is_itself_and_has_no_file(artifacts: ArtifactStore, tmp_path: Path) -> None:
    with keeping_models(KeptModels(tmp_path / "models")) as kept:
        model = _named(kept, LogisticRegression().fit(X, Y))
        stored = store_model(model, artifacts)

        assert read_model(stored, artifacts) is model
    assert list(artifacts.list_files()) == []
    assert not (tmp_path / "models").exists()


def test_a_model_without_a_name_is_stored_as_ever(artifacts: ArtifactStore, tmp_path: Path) -> None:
    with keeping_models(KeptModels(tmp_path)):
        stored = store_model(StandardScaler().fit(X), artifacts)

    assert stored in artifacts


def test_another_process_reads_what_was_written(artifacts: ArtifactStore, tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    with keeping_models(KeptModels(tmp_path)) as kept:
        stored = store_model(_named(kept, model), artifacts)
        kept.write(stored)
    with keeping_models(KeptModels(tmp_path)) as other:
        read = read_model(stored, artifacts)

        assert other.has(stored)
        assert np.allclose(read.coef_, model.coef_)


def test_another_process_finds_the_model_of_a_fit_that_was_written(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    one, other = KeptModels(tmp_path), KeptModels(tmp_path)
    stored = one.keep(_named(one, model))
    assert stored is not None

    assert other.find(ONE, "kind") is None
    one.write(stored)
    found = other.find(ONE, "kind")

    assert np.array_equal(found.coef_, model.coef_)
    assert other.keep(found) == stored


def test_of_large_models_fewer_are_in_memory(tmp_path: Path) -> None:
    large = [StandardScaler().fit(np.random.default_rng(seed).normal(size=(3, 50_000))) for seed in (0, 1)]
    kept = KeptModels(tmp_path, most_bytes=2_000_000)

    for name, model in zip((ONE, OTHER), large, strict=True):
        kept.keep(_named(kept, model, name))

    assert 1_000_000 < measure_model(large[0]) < 2_000_000
    assert [file.stem for file in tmp_path.glob("*.skops")] == [ONE]
    assert kept.find(OTHER, "kind") is large[1]
    assert np.array_equal(kept.find(ONE, "kind").mean_, large[0].mean_)


def test_a_type_that_may_not_be_read_is_refused_however_often(artifacts: ArtifactStore, tmp_path: Path) -> None:
    with keeping_models(KeptModels(tmp_path)) as kept:
        stored = store_model(_named(kept, _Foreign().fit(X)), artifacts)
        for _ in range(3):
            with pytest.raises(ModelFileRefused):
                read_model(stored, artifacts)


def test_the_oldest_leaves_memory_for_a_file(artifacts: ArtifactStore, tmp_path: Path) -> None:
    first, second = StandardScaler().fit(X), StandardScaler().fit(X + 1)
    with keeping_models(KeptModels(tmp_path, most=1)) as kept:
        stored = store_model(_named(kept, first), artifacts)
        store_model(_named(kept, second, OTHER), artifacts)

        read = read_model(stored, artifacts)

    assert read is not first
    assert np.allclose(read.mean_, first.mean_)


def test_what_was_not_written_can_be_let_go(artifacts: ArtifactStore, tmp_path: Path) -> None:
    with keeping_models(KeptModels(tmp_path)) as kept:
        first = store_model(_named(kept, StandardScaler().fit(X)), artifacts)
        second = store_model(_named(kept, StandardScaler().fit(X + 1), OTHER), artifacts)
        kept.write(first)
        kept.let_go()

        assert kept.has(first)
        assert not kept.has(second)
