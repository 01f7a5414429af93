"""Claims about models that are kept in memory: the same model, read once, and never past the allow-list."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from base.model_files import ModelFileRefused, dump_model, load_model
from base.model_files.kept import KeptModels, find_kept_models, keeping_models


class _Foreign(StandardScaler):  # type: ignore[misc]
    """Of a type that no allow-list names."""


X, Y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2


def test_outside_nothing_is_kept() -> None:
    data = dump_model(StandardScaler().fit(X))

    assert find_kept_models() is None
    assert load_model(data) is not load_model(data)


def test_a_file_is_read_once_and_a_model_written_once() -> None:
    model = StandardScaler().fit(X)
    with keeping_models(KeptModels()):
        first, second = dump_model(model), dump_model(model)
        read = load_model(first)

        assert first is second
        assert load_model(first) is read
    assert np.allclose(read.mean_, model.mean_)


def test_what_was_written_here_is_not_read_once_its_types_were_read() -> None:
    one, other = LogisticRegression().fit(X, Y), LogisticRegression(C=0.5).fit(X, Y)
    with keeping_models(KeptModels()):
        assert load_model(dump_model(one)) is not one
        assert load_model(dump_model(other)) is other


def test_a_type_that_may_not_be_read_is_refused_however_often() -> None:
    model = _Foreign().fit(X)
    with keeping_models(KeptModels()):
        data = dump_model(model)
        for _ in range(3):
            with pytest.raises(ModelFileRefused):
                load_model(data)


def test_the_oldest_are_let_go() -> None:
    with keeping_models(KeptModels(most=1)):
        first = dump_model(StandardScaler().fit(X))
        read = load_model(first)
        load_model(dump_model(StandardScaler().fit(X + 1)))

        assert load_model(first) is not read
