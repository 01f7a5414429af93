"""`everfit webhooks`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.console.conftest import Everfit
from tests.registry.histories import History
from tests.registry.test_webhooks import _SECRET, Receiver, listening


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with listening(Receiver()) as found:
        monkeypatch.setenv("EVERFIT_WEBHOOKS", json.dumps({"ops": {"url": found.url, "secret": _SECRET}}))
        yield found


def test_a_command_tells_what_it_did(everfit: Everfit, receiver: Receiver, history: History) -> None:
    everfit("promote", "churn@1", "--reason", "first")

    assert [json.loads(body)["type"] for body in receiver.bodies] == ["alias.moved"]
    (message,) = everfit("webhooks", "list", "--json").document["messages"]
    assert (message["status"], message["tries"]) == ("delivered", 1)


def test_a_receiver_that_is_down_fails_no_command_and_is_sent_again(
    everfit: Everfit, receiver: Receiver, history: History
) -> None:
    receiver.status = 500
    finished = everfit("promote", "churn@1", "--reason", "first")
    assert finished.code == 0
    assert "webhook 'ops' did not take alias.moved (answered with status 500)" in finished.err

    receiver.status = 200
    assert everfit("webhooks", "retry", "--json").document == {"due": 1, "delivered": 1}


def test_a_test_says_how_it_was_answered(everfit: Everfit, receiver: Receiver) -> None:
    assert "took it, status 204" in everfit("webhooks", "test").out
    receiver.status = 401
    finished = everfit("webhooks", "test", "ops")

    assert finished.code == 4
    assert "webhook 'ops': answered with status 401" in finished.err
    assert everfit("webhooks", "test", "opps").code == 2


def test_secrets_are_never_shown(everfit: Everfit, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = everfit("webhooks", "list").out
    assert receiver.url.rpartition("/hooks")[0] in shown

    monkeypatch.setenv("EVERFIT_WEBHOOKS", json.dumps({"ops": {"url": "ftp://host/T0KEN", "secret": "hunter2"}}))
    refused = everfit("webhooks", "list")

    assert refused.code == 2
    for text in (shown, refused.err):
        assert "T0KEN" not in text
        assert _SECRET not in text
        assert "hunter2" not in text


@pytest.fixture
def history(receiver: Receiver, everfit: Everfit, registry: object) -> History:
    from registry.store import Registry

    assert isinstance(registry, Registry)
    history = History(registry)
    history.train(history.snapshot(history.segment()))
    return history
