"""A snapshot of Evidently 0.7, as ``snapshot.json()`` writes it, with its tests."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict

from base.errors import Fault
from serving.hooks.forms.checked import check_document
from serving.hooks.wish import Wish, cut_reason, join_some
from serving.web.problems import FaultsFound

NAME = "evidently"
_MOST_TOLD = 20
_FAILED = "FAIL"

# What fails in these says that data are missing or empty, which no training makes better.
_BROKEN = re.compile(r"Missing|Empty|Constant|Duplicated|ColumnCount$")


class _Configured(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    params: dict[str, Any] = {}


class _Test(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    status: str
    description: str = ""
    metric_config: _Configured = _Configured()

    @property
    def metric(self) -> str:
        # As in evidently:metric_v2:ValueDrift.
        return str(self.metric_config.params.get("type", "")).rpartition(":")[2]


class _Snapshot(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    metrics: list[dict[str, Any]]
    tests: tuple[_Test, ...]


def is_evidently(document: dict[str, Any]) -> bool:
    """Tell whether a document is a snapshot."""
    return "metrics" in document and "tests" in document


def read_evidently(document: dict[str, Any]) -> Wish:
    """Read a snapshot: failed tests ask for a training, unless they are of missing or empty data.

    Raises
    ------
    FaultsFound
        422, where it is no snapshot, or holds no test, so that nothing says what would be too much.
    """
    snapshot = check_document(_Snapshot, document)
    if not snapshot.tests:
        expected = "at least one test: make the report by Report([...], include_tests=True)"
        raise FaultsFound([Fault("tests", "an empty list", expected)])
    failed = [test for test in snapshot.tests if test.status == _FAILED]
    facts = {
        "tests": len(snapshot.tests),
        "failed": [
            {"name": test.name, "metric": test.metric, "description": test.description} for test in failed[:_MOST_TOLD]
        ],
    }
    if not failed:
        return Wish(form=NAME, reason=f"none of {len(snapshot.tests)} tests failed", asks=False, facts=facts)
    broken = [test for test in failed if _BROKEN.search(test.metric)]
    named = join_some([test.name for test in broken or failed])
    reason = f"{len(failed)} of {len(snapshot.tests)} tests failed: {named}"
    blocked = f"broken data: {named}" if broken else ""
    return Wish(form=NAME, reason=cut_reason(reason), blocked=cut_reason(blocked), facts=facts)
