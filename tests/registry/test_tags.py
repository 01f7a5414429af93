"""Claims about tags of versions."""

from __future__ import annotations

import pytest

from base.errors import ArgumentError
from registry.ledger import list_decisions
from registry.store import Registry
from registry.tables import ModelVersion
from registry.tags import change_tags, find_tags, parse_tag
from tests.processes import run_at_once
from tests.registry.samples import a_pipeline, a_version


@pytest.fixture
def version(any_registry: Registry) -> ModelVersion:
    pipeline = a_pipeline(any_registry)
    with any_registry.database.write() as session:
        return a_version(session, pipeline)


def _change(registry: Registry, version: ModelVersion, *put: str, remove: tuple[str, ...] = ()) -> dict[str, str]:
    with registry.database.write() as session:
        return change_tags(session, version, put=dict(map(parse_tag, put)), remove=remove, actor="anna", reason="r")


def test_tags_are_set_changed_and_removed_with_a_decision_each(any_registry: Registry, version: ModelVersion) -> None:
    _change(any_registry, version, "keep", "region=eu")
    _change(any_registry, version, "region=us")

    assert _change(any_registry, version, remove=("keep",)) == {"region": "us"}
    with any_registry.database.read() as session:
        assert find_tags(session) == {("churn", 1): {"region": "us"}}
        decisions = list_decisions(session)[::-1]
    assert [decision.evidence["after"] for decision in decisions] == [
        {"keep": "", "region": "eu"},
        {"keep": "", "region": "us"},
        {"region": "us"},
    ]


def test_what_changes_nothing_leaves_no_decision(any_registry: Registry, version: ModelVersion) -> None:
    _change(any_registry, version, "keep")
    _change(any_registry, version, "keep")

    with any_registry.database.read() as session:
        assert len(list_decisions(session)) == 1


def test_a_tag_that_is_not_there_cannot_be_removed(any_registry: Registry, version: ModelVersion) -> None:
    _change(any_registry, version, "keep")

    with pytest.raises(ArgumentError, match="churn@1 has no tag 'region'; it has keep"):
        _change(any_registry, version, remove=("region",))


def test_processes_that_tag_at_once_lose_none(any_registry: Registry, version: ModelVersion) -> None:
    run_at_once(8, lambda number: _change(any_registry, version, f"tag_{number}", "shared=yes"))

    with any_registry.database.read() as session:
        assert len(find_tags(session)["churn", 1]) == 9


@pytest.mark.parametrize("text", ["", "=x", "a b", "7=x", "region=", "k=" + "v" * 300, "k=a\nb", "k" * 65])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="tag"):
        parse_tag(text)
