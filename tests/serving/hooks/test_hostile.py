"""Claims about whoever means harm, or sends nonsense: never a failure of the service, never a forged message taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.hooks.senders import EVENTS, JSON, NOW, SECRET, Doorstep, sign

WISH = b'{"reason":"the prices have changed","data":{"n":3}}'

_latin = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
_words = st.sampled_from(
    [
        *("reason", "as_of", "priority", "caused_by", "occurred_at", "data", "data_base64", "specversion", "id"),
        *("source", "type", "subject", "time", "alerts", "status", "version", "labels", "startsAt", "metrics", "tests"),
        *("name", "metric_config", "success", "validation_results", "results", "expectations", "timestamp", "model"),
    ]
)
_values = st.sampled_from(
    ["1.0", "4", "firing", "FAIL", "alias.moved", "everfit.retrain.requested", "2026-11-21T00:00:00Z", "trips", True, 1]
)
# Nearly what is expected, which goes deepest.
_near = st.recursive(
    _json | _values,
    lambda inner: st.dictionaries(_words, inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=15,
)
_bodies = st.binary(max_size=60) | _near.map(lambda found: json.dumps(found).encode())
_kinds = st.sampled_from([JSON, EVENTS, "application/cloudevents-batch+json", "text/plain", "", "; ;"]) | _latin
_headers = st.dictionaries(
    st.sampled_from(["ce-id", "ce-source", "ce-type", "ce-specversion", "ce-time", "ce-causedby", "ce-ü", "ce-"]),
    _latin | _values.map(str),
    max_size=6,
)


@given(body=_bodies, kind=_kinds, headers=_headers)
@settings(max_examples=150)
def test_whatever_a_sender_signs_is_taken_or_told_why_not(
    door: Doorstep, body: bytes, kind: str, headers: dict[str, str]
) -> None:
    signed = _sign_bytes(body)

    heard = door.post(body, signed | headers, kind=kind)

    assert heard.status in (202, 400, 415, 422)
    assert heard.status != 422 or heard.document["errors"]


@given(position=st.integers(0, len(WISH) - 1), bit=st.integers(0, 7))
def test_one_changed_bit_is_never_taken(door: Doorstep, position: int, bit: int) -> None:
    forged = bytearray(WISH)
    forged[position] ^= 1 << bit

    assert door.post(bytes(forged), sign(WISH)).status == 401
    assert door.triggers() == []


@given(
    headers=st.fixed_dictionaries(
        {},
        optional={
            "webhook-id": _latin,
            "webhook-timestamp": _latin | st.integers().map(str) | st.just(str(int(NOW.timestamp()))),
            "webhook-signature": _latin | st.binary(min_size=32, max_size=32).map(lambda raw: "v1," + _b64(raw)),
            "authorization": _latin,
            "idempotency-key": _latin,
        },
    )
)
def test_nobody_without_the_secret_is_ever_heard(door: Doorstep, headers: dict[str, str]) -> None:
    heard = door.post(WISH, headers)

    assert heard.status == 401
    assert door.triggers() == []


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _sign_bytes(body: bytes) -> dict[str, str]:
    # Not every body is text, which the library asks for.
    seconds, message_id = str(int(NOW.timestamp())), f"msg_{hashlib.sha256(body).hexdigest()}"
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = hmac.new(key, f"{message_id}.{seconds}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": message_id, "webhook-timestamp": seconds, "webhook-signature": "v1," + _b64(signed)}
