"""Claims about the machine-readable description: it is whole, it is valid, and the service does what it says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from base.settings import Settings
from registry.store import Registry
from serving.access.routes import classify
from tests.serving.models import promote, register_model
from tests.serving.processes import start_service
from tests.serving.protocols.clients import find_client

FREE = {"/healthz", "/readyz", "/ping", "/health", "/v2/health/live", "/v2/health/ready"}


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    """The description that a service gives of itself."""
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _good(responses: dict[str, Any]) -> str:
    """The status of an answer that refuses nothing: what a hook asks for is only taken."""
    (status,) = {"200", "202"} & responses.keys()
    return status


def test_every_address_tells_what_it_answers_and_how_it_refuses(document: dict[str, Any]) -> None:
    for path, method, operation in _operations(document):
        responses = operation["responses"]
        good = _good(responses)
        assert responses[good]["content"], path
        if path not in FREE:
            assert {"401", "403", "429", "503"} <= responses.keys(), path
        if method == "post":
            assert {"400", "404", "408", "413", "415", "422", "500"} <= responses.keys(), path
            assert operation["requestBody"]["content"], path
        for status, response in responses.items():
            if status != good and not (path in FREE and status == "503"):
                assert list(response["content"]) == ["application/problem+json"], (path, status)


def test_every_schema_is_one_and_every_example_keeps_it(document: dict[str, Any]) -> None:
    n_examples = 0
    for path, _, operation in _operations(document):
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [response["content"] for response in operation["responses"].values()]
        for content in contents:
            for media_type, each in content.items():
                schema = {**each.get("schema", {}), "components": document["components"]}
                Draft202012Validator.check_schema(schema)
                if "example" in each:
                    n_examples += 1
                    Draft202012Validator(schema).validate(each["example"]), (path, media_type)

    assert n_examples > 10


def test_the_examples_of_bodies_are_answered(client: TestClient, document: dict[str, Any]) -> None:
    for path, method, operation in _operations(document):
        for media_type, each in operation.get("requestBody", {}).get("content", {}).items():
            if "example" in each and method == "post":
                sent: Any = {"json": each["example"]} if media_type.endswith("json") else {"content": each["example"]}
                address = path.format(name="trips", version="1", pipeline="trips")

                answer = client.post(address, headers={"content-type": media_type}, **sent)

                good = _good(operation["responses"])
                assert answer.status_code == int(good), (path, media_type, answer.text)
                answered = operation["responses"][good]["content"][answer.headers["content-type"]]
                schema = {**answered["schema"], "components": document["components"]}
                Draft202012Validator(schema).validate(answer.json())


def test_every_address_is_known_to_the_gate(document: dict[str, Any]) -> None:
    for path, method, _ in _operations(document):
        template, role, _model = classify(path.replace("{number}", "3"), is_read=method == "get")

        assert template != "other", path
        assert (role is None) == (path in FREE), path


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/models/trips/predict", 405),
        ("GET", "/v1/models/trips/versions/x/report", 404),
    ],
)
def test_what_the_router_refuses_is_a_problem_too(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status


@pytest.mark.slow
def test_whatever_the_description_allows_or_forbids_the_service_keeps_to_it(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    schemathesis = find_client("schemathesis")
    promote(registry, register_model(registry))

    with start_service(settings.home) as service:
        done = subprocess.run(
            [
                schemathesis,
                f"--config-file={Path(__file__).with_name('schemathesis.toml')}",
                "run",
                f"{service.address}/openapi.json",
                "--max-examples=15",
                "--request-timeout=30",
                "--generation-deterministic",
                "--no-color",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
            cwd=tmp_path,
        )

    assert done.returncode == 0, done.stdout[-6000:]
