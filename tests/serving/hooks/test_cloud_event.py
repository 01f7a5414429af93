"""Claims about CloudEvents, against the specification's own SDK."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent as Official
from hypothesis import assume, given
from hypothesis import strategies as st

from serving.hooks.cloud_event import CloudEvent, read_binary, read_structured
from serving.hooks.message import read_message
from serving.web.problems import BodyRefused, FaultsFound
from tests.serving.hooks.senders import EVENTS, NOW, Doorstep, sign

GOOD = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "prices.changed"}

_texts = st.text(st.characters(exclude_categories=["Cc", "Cs"], max_codepoint=0x1F600), min_size=1, max_size=20)
_names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12).filter(
    lambda name: name not in {*GOOD, "data", "subject", "time", "datacontenttype", "dataschema"}
)
_attributes = st.fixed_dictionaries(
    {"id": _texts, "source": _texts, "type": _texts},
    optional={"subject": _texts, "time": st.datetimes(timezones=st.just(UTC))},
)
_data = st.dictionaries(_texts, st.integers(-(2**31), 2**31) | _texts | st.booleans() | st.none(), max_size=3)


def _read(message: http.HTTPMessage) -> CloudEvent:
    headers = {name.lower(): value for name, value in message.headers.items()}
    event = read_message(headers, message.body, pipeline="trips").event
    assert event is not None
    return event


@given(attributes=_attributes, extension=_names, value=_texts, data=_data, is_binary=st.booleans())
def test_what_the_official_sdk_writes_is_read_as_it_was(
    attributes: dict[str, Any], extension: str, value: str, data: dict[str, Any], is_binary: bool
) -> None:
    # These mean something here, and have a form of their own.
    assume(extension != "causedby" and attributes["type"] != "everfit.retrain.requested")
    assume(not {"alerts", "tests", "results", "validation_results"} & data.keys())
    given = attributes | {"datacontenttype": "application/json", extension: value}
    event = Official(dict(given), data)

    found = _read(http.to_binary_event(event) if is_binary else http.to_structured_event(event))

    assert (found.id, found.source, found.type) == (given["id"], given["source"], given["type"])
    assert (found.subject, found.extensions, found.data) == (given.get("subject", ""), {extension: value}, data)
    assert "time" not in attributes or found.time == attributes["time"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"source": 3}, "source"),
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"type": None}, "type"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-11-21"}, "time"),
        ({"time": "2026-13-21T00:00:00Z"}, "time"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "time"),
        ({"subject": ""}, "subject"),
        ({"my_name": "x"}, "my_name"),
        ({"Extension": "x"}, "Extension"),
        ({"list": [1]}, "list"),
        ({"count": 2**31}, "count"),
        ({"share": 0.5}, "share"),
        ({"note": "a\nb"}, "note"),
        ({"data_base64": "%"}, "data_base64"),
        ({"data_base64": "AAAA", "data": 1}, "data_base64"),
    ],
)
def test_what_the_specification_does_not_allow_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(FaultsFound) as caught:
        read_structured(GOOD | changes)

    assert [fault.column for fault in caught.value.faults] == [named]


def test_every_fault_of_an_event_is_told_at_once() -> None:
    with pytest.raises(FaultsFound) as caught:
        read_structured({"specversion": "2", "time": 3})

    assert {fault.column for fault in caught.value.faults} == {"id", "source", "type", "specversion", "time"}


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("100%2525", "100%25"),
        ('"a \\" quote"', 'a " quote'),
        ("plain", "plain"),
    ],
)
def test_a_header_is_decoded_once(value: str, decoded: str) -> None:
    headers = {f"ce-{name}": text for name, text in GOOD.items()} | {"ce-subject": value}

    assert read_binary(headers, content_type="", data=None).subject == decoded


@pytest.mark.parametrize("value", ["%C0%A0", "%FF", "\xe9"])
def test_a_header_that_is_no_utf_8_is_refused(value: str) -> None:
    headers = {f"ce-{name}": text for name, text in GOOD.items()} | {"ce-subject": value}

    with pytest.raises(FaultsFound, match="percent-encoded UTF-8"):
        read_binary(headers, content_type="", data=None)


def test_in_binary_mode_the_type_of_the_data_has_one_place() -> None:
    headers = {f"ce-{name}": text for name, text in GOOD.items()} | {"ce-datacontenttype": "text/plain"}

    with pytest.raises(FaultsFound, match="Content-Type instead"):
        read_binary(headers, content_type="application/json", data=None)


def test_a_batch_and_other_formats_are_refused_with_a_clear_word() -> None:
    for kind in ("application/cloudevents-batch+json", "application/cloudevents+avro"):
        with pytest.raises(BodyRefused) as caught:
            read_message({"content-type": kind}, b"[]", pipeline="trips")

        assert caught.value.status == 415


def test_data_of_any_kind_is_taken_and_only_json_is_looked_into(door: Doorstep) -> None:
    body = b"<prices/>"
    headers = {f"ce-{name}": text for name, text in GOOD.items()}

    heard = door.post(body, sign(body) | headers, kind="application/xml")

    assert heard.document["reason"] == "prices.changed from /shop"


def test_an_event_of_our_own_type_has_our_own_form(door: Doorstep) -> None:
    event = GOOD | {"type": "everfit.retrain.requested", "time": "2026-11-21T11:30:00Z"}

    good = door.post_signed(event | {"data": {"reason": "new prices", "as_of": "2026-11-01"}}, kind=EVENTS)
    bad = door.post_signed(event | {"data": {"raison": "new prices"}}, kind=EVENTS, message_id="msg_2")

    assert good.document["reason"] == "new prices"
    (filed,) = door.triggers()
    assert (filed.as_of, filed.occurred_at) == (datetime(2026, 11, 1, tzinfo=UTC), NOW.replace(hour=11, minute=30))
    assert filed.payload["event"]["source"] == "/shop"
    assert bad.status == 422


def test_an_unsigned_event_is_known_again_by_source_and_id(own_door: Doorstep) -> None:
    event = Official({"source": "/shop", "id": "7", "type": "prices.changed"}, {"prices": 3})

    answers = []
    for message in (http.to_binary_event(event), http.to_structured_event(event)):
        answers.append(own_door.post(message.body, message.headers, kind=None).document)
    other = own_door.post_json(GOOD | {"source": "/stock"}, kind=EVENTS)

    assert answers[0] == answers[1]
    assert other.document["trigger"] != answers[0]["trigger"]
    assert len(own_door.triggers()) == 2


def test_a_signed_event_of_the_official_sdk_is_known_again_by_the_message(door: Doorstep) -> None:
    event = Official({"source": "/shop", "type": "prices.changed", "causedby": "r-1"}, {"prices": 3})
    message = http.to_structured_event(event)

    heard = door.post(message.body, {**message.headers, **sign(message.body)}, kind=None)

    assert heard.status == 202
    (filed,) = door.triggers()
    assert (filed.key, filed.caused_by) == ("webhook:airflow msg_1", "r-1")
    assert json.loads(json.dumps(filed.payload))["event"]["type"] == "prices.changed"
