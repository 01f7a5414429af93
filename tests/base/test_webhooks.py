"""Claims about signatures, against the reference library of the specification, and about receivers that are none."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from base.webhooks import Webhook

_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
_URL = "https://example.org/hooks/T0KEN"

secrets = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())


@given(secret=secrets, body=st.text(), number=st.integers(0, 2**32))
def test_the_reference_library_makes_the_same_signature(secret: str, body: str, number: int) -> None:
    body = body.encode("utf-8", "replace").decode()
    headers = Webhook(url=_URL, secret=secret).sign("msg_1", number, body)

    expected = standardwebhooks.Webhook(secret).sign("msg_1", datetime.fromtimestamp(number, UTC), body)
    assert headers["webhook-signature"] == expected


@given(secret=secrets)
def test_the_reference_library_verifies_what_is_signed(secret: str) -> None:
    headers = Webhook(url=_URL, secret=secret).sign("msg_1", int(time.time()), '{"type":"alias.moved"}')

    assert standardwebhooks.Webhook(secret).verify('{"type":"alias.moved"}', headers) == {"type": "alias.moved"}


def test_a_changed_body_is_not_verified() -> None:
    headers = Webhook(url=_URL, secret=_SECRET).sign("msg_1", int(time.time()), '{"version":7}')

    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(_SECRET).verify('{"version":8}', headers)


def test_while_a_secret_is_changed_the_old_and_the_new_one_verify() -> None:
    other = "whsec_" + base64.b64encode(b"n" * 24).decode()
    headers = Webhook(url=_URL, secret=f"{_SECRET} {other}").sign("msg_1", int(time.time()), "{}")

    for secret in (_SECRET, other):
        assert standardwebhooks.Webhook(secret).verify("{}", headers) == {}


@pytest.mark.parametrize(
    ("url", "secret", "events"),
    [
        ("ftp://example.org/T0KEN", _SECRET, ["alias.moved"]),
        ("https://me:hunter2@example.org", _SECRET, ["alias.moved"]),
        ("/hooks/T0KEN", _SECRET, ["alias.moved"]),
        (_URL, "hunter2", ["alias.moved"]),
        (_URL, "whsec_" + base64.b64encode(b"hunter2").decode(), ["alias.moved"]),
        (_URL, "", ["alias.moved"]),
        (_URL, _SECRET, ["alias.removed"]),
    ],
)
def test_what_is_no_receiver_is_refused_without_telling_secrets(url: str, secret: str, events: list[str]) -> None:
    with pytest.raises(ValidationError) as refusal:
        Webhook.model_validate({"url": url, "secret": secret, "events": events})

    assert "T0KEN" not in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_receiver_shows_neither_path_nor_secret() -> None:
    receiver = Webhook(url="https://example.org:8443/hooks/T0KEN?key=T0KEN", secret=_SECRET)

    assert receiver.host == "https://example.org:8443"
    assert "T0KEN" not in repr(receiver)
    assert _SECRET not in repr(receiver)
