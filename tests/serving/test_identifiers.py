"""Claims about identifiers of predictions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.identifiers import new_ids


@given(st.integers(1, 500))
def test_identifiers_are_unique(count: int) -> None:
    assert len(set(new_ids(count) + new_ids(count))) == 2 * count
