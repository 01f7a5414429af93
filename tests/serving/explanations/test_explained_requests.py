"""Explanations of a request: the service's own address, its budget, and the plain path beside it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from base.settings import Settings
from registry.store import Registry
from serving.explanations.explainer import Explainer
from tests.serving.conftest import open_client, wait_until
from tests.serving.models import Kind, load_version, make_rows, promote, register_model

_ROWS = make_rows(4)
_PATIENT = 60.0


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """Settings that let an explanation take its time on a busy machine."""
    return settings.model_copy(update={"explain_seconds": _PATIENT})


def _ask(client: TestClient, rows: list[dict[str, Any]], query: str = "?explain=true") -> Any:
    answer = client.post(f"/v1/models/trips/predict{query}", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


@pytest.fixture
def client(patient: Settings, registry: Registry) -> Iterator[TestClient]:
    """A service that serves version 1 of ``trips``."""
    promote(registry, register_model(registry))
    with open_client(patient, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        yield client


def test_base_and_contributions_add_up_to_what_was_answered(client: TestClient) -> None:
    for prediction in _ask(client, _ROWS):
        explanation = prediction["explanation"]

        total = explanation["base"] + sum(explanation["features"].values())
        assert (explanation["method"], explanation["unit"], explanation["class"]) == ("tree", "probability", "far")
        assert total == pytest.approx(prediction["probabilities"]["far"])
        assert total == pytest.approx(explanation["margin"])


def test_contributions_of_the_requests_columns_are_those_of_the_features_that_are_made_of_them(
    client: TestClient,
) -> None:
    explanation = _ask(client, _ROWS[:1])[0]["explanation"]

    features, columns = explanation["features"], explanation["columns"]
    assert features.keys() == {"distance", "passengers", "hour", "company"}
    assert columns == pytest.approx(
        {"distance": features["distance"], "passengers": features["passengers"], "at": features["hour"]}
        | {"company": features["company"]}
    )
    assert abs(features["distance"]) > max(abs(features["hour"]), abs(features["company"]))


def test_a_request_without_explain_is_answered_as_ever_and_loads_no_explainer(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(Explainer, "load", lambda *asked, **_: loaded.append(asked))

    plain = _ask(client, _ROWS, query="")
    refused = _ask(client, _ROWS, query="?explain=false")

    assert all("explanation" not in prediction for prediction in [*plain, *refused])
    assert loaded == []


def test_another_value_of_explain_is_refused_before_anything_is_predicted(client: TestClient) -> None:
    answer = client.post("/v1/models/trips/predict?explain=please", json={"rows": _ROWS})

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "explain='please', expected true, all or false" in answer.json()["detail"]


@pytest.mark.parametrize(("kind", "classes"), [("three classes", {0, 1, 2}), ("regression", {None})])
def test_more_than_two_classes_are_explained_each_where_all_are_asked_for(
    patient: Settings, registry: Registry, kind: Kind, classes: set[Any]
) -> None:
    promote(registry, register_model(registry, kind=kind))
    with open_client(patient, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        one = _ask(client, _ROWS[:1])[0]
        all_of_them = _ask(client, _ROWS[:1], query="?explain=all")[0]["explanation"]

    if kind == "regression":
        assert one["explanation"]["margin"] == pytest.approx(one["prediction"])
        assert all_of_them == one["explanation"]
    else:
        assert one["explanation"]["class"] == one["prediction"]
        assert {each["class"] for each in all_of_them} == classes
        assert all(each["margin"] == pytest.approx(one["probabilities"][str(each["class"])]) for each in all_of_them)


def test_rows_beyond_the_budget_say_why_they_are_not_explained(patient: Settings, registry: Registry) -> None:
    promote(registry, register_model(registry))
    with open_client(patient.model_copy(update={"explain_rows": 2}), registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        found = _ask(client, _ROWS)

    assert all("features" in one["explanation"] for one in found[:2])
    reasons = [one["explanation"]["not_explained"] for one in found[2:]]
    assert reasons == ["only the first 2 rows of a request are explained"] * 2
    assert all("prediction" in one for one in found)


def test_answers_are_given_in_time_although_explanations_hang(
    settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(registry, register_model(registry))
    is_over = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        is_over.wait(_PATIENT)
        raise RuntimeError("nobody waits any more")

    monkeypatch.setattr(Explainer, "load", hang)
    with open_client(settings.model_copy(update={"explain_seconds": 0.05}), registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        found = [_ask(client, _ROWS[:1])[0] for _ in range(5)]
        plain = _ask(client, _ROWS[:1], query="")[0]
        is_over.set()

    reasons = [one["explanation"]["not_explained"] for one in found]
    assert reasons[:4] == ["the model is being prepared for explanations; ask again"] * 4
    assert reasons[4] == "busy: others wait for explanations already"
    assert {one["prediction"] for one in found} == {plain["prediction"]}


def test_a_model_of_an_unknown_kind_is_explained_by_sampling_and_says_how_well(registry: Registry) -> None:
    version = register_model(registry, kind="regression")
    scorer = load_version(registry, version)
    explainer = Explainer.load(registry.artifacts, scorer.manifest)
    exact = explainer.explain(_ROWS)
    explainer._exact, explainer.method, explainer.reason = None, "sampling", "a test wants it"

    sampled = explainer.explain(_ROWS, scorer.score_rows(_ROWS))

    for one, other in zip(sampled, exact, strict=True):
        assert isinstance(one, list)
        assert isinstance(other, list)
        assert one[0].margin == pytest.approx(other[0].margin)
        assert one[0].n_samples == 400
        assert all(error >= 0 for error in one[0].errors.values())
        assert abs(one[0].features["distance"] - other[0].features["distance"]) < 3


def test_an_answer_that_the_model_would_not_give_now_is_not_explained(registry: Registry) -> None:
    version = register_model(registry)
    scorer = load_version(registry, version)
    answers = scorer.score_rows(_ROWS)
    answers[1] = np.array([0.123, 0.877])

    found = Explainer.load(registry.artifacts, scorer.manifest).explain(_ROWS, answers)

    assert [isinstance(one, list) for one in found] == [True, False, True, True]
    assert "gives another answer" in found[1].reason  # type: ignore[union-attr]


def test_a_service_starts_without_what_only_explanations_need() -> None:
    import subprocess

    program = "import serving.app, sys; print([n for n in ('sklearn', 'scipy', 'skops') if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
