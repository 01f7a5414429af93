"""What a definition may do with the columns of its contract."""

from __future__ import annotations

from typing import Any

import pytest

from base.contract import DataContract
from base.pipeline import PipelineSpec
from base.validation.column_uses import find_misuse

_CONTRACT = DataContract.model_validate(
    {
        "columns": {
            "at": {"type": "time"},
            "late": {"type": "boolean"},
            "size": {"type": "text"},
            "gender": {"type": "text", "sensitive": True},
            "guest": {"type": "text", "personal": "hash"},
            "phone": {"type": "text", "personal": "drop"},
        }
    }
)


def _find(**changes: Any) -> tuple[str, int | str, str] | None:
    document = {"name": "p", "task": "classification", "target": "late", "time": "at", "extract": {"source": "x.csv"}}
    misuse = find_misuse(PipelineSpec.model_validate(document | changes), _CONTRACT)
    return None if misuse is None else (misuse[0].key, misuse[0].place, misuse[1])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"evaluate": {"slices": ["gender", "guest"]}},
        {"prepare": {"split": {"groups": ["guest", "gender"]}, "categorical": ["guest"]}},
        {"prepare": {"exclude": ["phone", "gender"]}},
        {"prepare": {"ordinal": {"size": ["s", "m"]}}},
        {"prepare": {"fitted": ["features:Rate"], "numeric": ["rate"]}, "evaluate": {"slices": ["band"]}},
        {"serve": {"key": ["guest", "size"]}, "prepare": {"exclude": ["guest"]}},
    ],
)
def test_what_the_contract_allows_is_no_misuse(changes: dict[str, Any]) -> None:
    assert _find(**changes) is None


@pytest.mark.parametrize(
    ("changes", "key", "place", "why"),
    [
        ({"prepare": {"numeric": ["gender"]}}, "prepare.numeric", 0, "marks sensitive: no estimator may see it"),
        ({"prepare": {"one_hot": ["size", "gender"]}}, "prepare.one_hot", 1, "marks sensitive"),
        ({"prepare": {"ordinal": {"gender": ["f", "m"]}}}, "prepare.ordinal", "gender", "marks sensitive"),
        ({"target": "gender"}, "target", 0, "marks sensitive"),
        ({"target": "guest"}, "target", 0, "hashes as personal"),
        ({"time": "phone"}, "time", 0, "drops as personal"),
        ({"evaluate": {"slices": ["phone"]}}, "evaluate.slices", 0, "drops as personal; hash it"),
        ({"prepare": {"split": {"groups": "gest"}}}, "prepare.split.groups", 0, "did you mean 'guest'"),
        ({"prepare": {"one_hot": ["sizes"]}}, "prepare.one_hot", 0, "did you mean 'size'"),
        ({"serve": {"key": "gest"}}, "serve.key", 0, "did you mean 'guest'"),
        ({"serve": {"key": ["guest", "phone"]}}, "serve.key", 1, "drops as personal"),
        ({"serve": {"key": ["late"]}}, "serve.key", 0, "is what is predicted"),
    ],
)
def test_a_misuse_is_named(changes: dict[str, Any], key: str, place: int | str, why: str) -> None:
    found = _find(**changes)

    assert found is not None
    assert found[:2] == (key, place)
    assert why in found[2]
