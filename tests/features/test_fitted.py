"""Classes with fit and transform: what they must be, and how what they learnt comes back."""

from __future__ import annotations

import pandas as pd
import pytest

from base.errors import UserCodeError
from base.user_code import UserCode
from features.fitted import FittedFeature, load_states, store_states
from features.plan import apply_fitted
from registry.store import Registry

_FRAME = pd.DataFrame({"age": [3.0, 1.0, 2.0], "name": ["c", "a", "b"]})
_TARGET = pd.Series([True, False, True], name="late")
_MEAN = """
class Mean:
    def fit(self, frame, target):
        self.mean = frame["age"].mean()
        return self

    def transform(self, frame):
        return frame.assign(above=frame["age"] - self.mean)
"""
_KEPT = """
class Mean:
    def fit(self, frame, target):
        self.call = lambda: frame["age"].mean()

    def get_state(self):
        return {"mean": self.call()}

    def set_state(self, state):
        self.call = lambda: state["mean"]

    def transform(self, frame):
        return frame.assign(above=frame["age"] - self.call())
"""


def _code(text: str) -> UserCode:
    return UserCode({"features.py": text.encode()})


@pytest.mark.parametrize("text", [_MEAN, _KEPT], ids=["attributes", "get_state and set_state"])
def test_what_was_learnt_is_stored_and_serves_other_rows(text: str, registry: Registry) -> None:
    code = _code(text)
    fitted = FittedFeature.fit("features:Mean", _FRAME, _TARGET, code)
    stored = store_states(registry.artifacts, [fitted])

    restored = load_states(registry.artifacts, stored, code)
    result = apply_fitted(pd.DataFrame({"age": [5.0], "name": ["z"]}), restored)
    assert result["above"].tolist() == [3.0]
    assert load_states(registry.artifacts, None, code) == ()


def test_a_class_that_writes_into_its_frame_changes_nothing() -> None:
    text = _MEAN.replace("self.mean = ", "frame['age'] *= 0; target[:] = False; self.mean = ")
    frame, target = _FRAME.copy(), _TARGET.copy()

    FittedFeature.fit("features:Mean", frame, target, _code(text))
    pd.testing.assert_frame_equal(frame, _FRAME)
    pd.testing.assert_series_equal(target, _TARGET)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def Mean(frame): return frame", "is a function without fit and transform"),
        ("class Mean:\n    def fit(self, frame, target): pass", "is a class without transform"),
        (_KEPT.replace("set_state", "put_state"), "is a class without set_state"),
        (_MEAN.replace('frame["age"].mean()', 'frame["height"].mean()'), r"raised in fit: KeyError: 'height' \(f"),
        (
            _MEAN.replace("def fit(self,", "def __init__(self, size): pass\n    def fit(self,"),
            "raised in fit: TypeError",
        ),
        (_MEAN.replace('frame["age"].mean()', "lambda: 3"), r"cannot be stored: Mean\.mean is of builtins\.function"),
        (_KEPT.replace('return {"mean": self.call()}', "return 3"), r"cannot be stored: get_state\(\) is int"),
        (_MEAN.replace("- self.mean", "- self.men"), r"raised in transform: AttributeError.*\(features\.py, line 8\)"),
        (_MEAN.replace("return frame.assign", "return frame.head(1).assign"), "returned 1 rows for 3"),
    ],
)
def test_a_class_that_breaks_the_rules_is_named(text: str, problem: str, registry: Registry) -> None:
    code = _code(text)

    with pytest.raises(UserCodeError, match=rf"user function 'features:Mean' {problem}"):
        apply_fitted(
            _FRAME, _stored_and_read(registry, FittedFeature.fit("features:Mean", _FRAME, _TARGET, code), code)
        )


def _stored_and_read(registry: Registry, fitted: FittedFeature, code: UserCode) -> tuple[FittedFeature, ...]:
    return load_states(registry.artifacts, store_states(registry.artifacts, [fitted]), code)
