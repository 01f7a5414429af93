"""Claims about the address for hooks: who is heard, what is refused and counted, and that nothing is taken twice."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import serving.hooks.route as route_module
from base.hook_sender import HookSender
from base.settings import Settings
from registry.pipelines import register_pipeline
from registry.store import Registry
from registry.tokens import create_token
from tests.pipelines import make_pipeline
from tests.serving.hooks.conftest import Open
from tests.serving.hooks.senders import EVENTS, JSON, NOW, OTHER_SECRET, SECRET, Doorstep, sign

WISH = {"reason": "the prices have changed"}
HERE = "tests.serving.hooks.senders"


def test_a_signed_hook_starts_a_training_and_says_so(door: Doorstep) -> None:
    heard = door.post_signed(WISH | {"data": {"prices": 3}})

    assert heard.status == 202
    (filed,) = door.triggers()
    assert heard.document == {
        "trigger": filed.id,
        "outcome": "start",
        "reason": "the prices have changed",
        "launch": filed.launch,
    }
    assert (filed.pipeline, filed.kind, filed.key) == ("trips", "webhook", "webhook:airflow msg_1")
    assert (filed.actor, filed.occurred_at) == ("hook airflow", NOW)
    assert filed.payload["data"] == {"prices": 3}
    assert door.tallies.hooks == {"accepted": 1}


def test_the_same_message_again_gets_the_same_answer_and_no_second_trigger(door: Doorstep) -> None:
    first = door.post_signed(WISH)
    door.now += timedelta(minutes=20)
    again = door.post_signed(WISH)
    other = door.post_signed(WISH, message_id="msg_2")

    assert again.document == first.document
    assert other.document["trigger"] != first.document["trigger"]
    assert other.document["outcome"] == "merge"
    assert len(door.triggers()) == 2
    assert door.tallies.hooks == {"accepted": 2, "duplicate": 1}


def test_a_replay_of_what_was_recorded_is_too_old(door: Doorstep) -> None:
    body = json.dumps(WISH).encode()
    recorded = sign(body)
    assert door.post(body, recorded).status == 202
    door.now += timedelta(hours=1)

    heard = door.post(body, recorded)

    assert heard.status == 401
    assert "3600 seconds before" in heard.document["detail"]
    assert door.tallies.hooks == {"accepted": 1, "stale": 1}


@pytest.mark.parametrize(
    ("skew", "outcome"), [(-301, "stale"), (-300, "accepted"), (300, "accepted"), (301, "stale"), (-(10**9), "stale")]
)
def test_the_tolerance_is_five_minutes_to_both_sides(door: Doorstep, skew: int, outcome: str) -> None:
    door.post_signed(WISH, at=NOW + timedelta(seconds=skew))

    assert door.tallies.hooks == {outcome: 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1a,bm90IGEgc2lnbmF0dXJl v1,é"},
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-id": "msg.1"},
        {"webhook-timestamp": str(int(NOW.timestamp()) + 1)},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "²"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-timestamp": ""},
    ],
)
def test_a_wrong_signature_is_refused_counted_and_files_nothing(door: Doorstep, changes: dict[str, str]) -> None:
    body = json.dumps(WISH).encode()

    heard = door.post(body, sign(body) | changes)

    assert heard.status == 401
    assert door.triggers() == []
    assert door.tallies.hooks == {"bad_signature": 1}
    assert SECRET not in json.dumps(heard.document)


def test_one_changed_byte_is_another_message(door: Doorstep) -> None:
    body = json.dumps(WISH).encode()

    assert door.post(body.replace(b"prices", b"Prices"), sign(body)).status == 401


def test_who_cannot_sign_is_not_told_that_the_message_is_old(door: Doorstep) -> None:
    heard = door.post_signed(WISH, secret=OTHER_SECRET, at=NOW - timedelta(days=1))

    assert "fits no secret" in heard.document["detail"]


def test_a_full_stop_in_the_id_cannot_move_what_is_signed_from_the_body_into_it(door: Doorstep) -> None:
    seconds = int(NOW.timestamp())
    body = b'%d.{"reason": "not what was meant"}' % seconds
    signature = sign(body)["webhook-signature"]

    moved = {"webhook-id": f"msg_1.{seconds}", "webhook-timestamp": str(seconds), "webhook-signature": signature}

    assert door.post(body.partition(b".")[2], moved).status == 401


def test_while_a_secret_is_changed_both_are_good_and_a_message_may_have_both_signatures(open_door: Open) -> None:
    door = open_door(hooks={"airflow": HookSender(secret=f"{OTHER_SECRET} {SECRET}")})
    body = json.dumps(WISH).encode()
    both = sign(body, message_id="msg_3")
    both["webhook-signature"] = f"v1a,AAAA v1,AAAA {both['webhook-signature']}"

    answers = [
        door.post_signed(WISH, secret=SECRET),
        door.post_signed(WISH, secret=OTHER_SECRET, message_id="msg_2"),
        door.post(body, both),
    ]

    assert [heard.status for heard in answers] == [202, 202, 202]


def test_a_sender_asks_for_its_own_pipelines_alone(open_door: Open) -> None:
    door = open_door(hooks={"shop": HookSender(secret=SECRET, pipelines=("bike",))})

    assert door.post_signed(WISH).status == 401
    assert door.post_signed(WISH, pipeline="bike").status == 404


def test_two_senders_may_use_the_same_id(open_door: Open) -> None:
    door = open_door(hooks={"a": HookSender(secret=SECRET), "b": HookSender(secret=OTHER_SECRET)})

    door.post_signed(WISH, secret=SECRET)
    door.post_signed(WISH, secret=OTHER_SECRET)

    assert [row.actor for row in door.triggers()] == ["hook a", "hook b"]


def test_an_unsigned_hook_is_heard_on_loopback_while_nobody_has_a_secret(own_door: Doorstep) -> None:
    assert own_door.post_json(WISH).status == 202
    assert own_door.triggers()[0].actor == "hook (unsigned)"


@pytest.mark.parametrize(
    "changes",
    [
        {"hooks": {"airflow": HookSender(secret=SECRET)}},
        {"service_host": "0.0.0.0", "access": "off"},
        {"service_host": "0.0.0.0"},
        {"access": "on"},
    ],
)
def test_an_unsigned_hook_is_refused_everywhere_else(open_door: Open, changes: dict[str, Any]) -> None:
    door = open_door(**changes)

    assert door.post_json(WISH).status == 401
    assert door.triggers() == []


def test_on_loopback_a_page_of_another_place_is_not_heard(own_door: Doorstep) -> None:
    assert own_door.post_json(WISH, {"origin": "https://evil.example"}).status == 403


@pytest.mark.parametrize(
    ("role", "models", "status"),
    [("operate", None, 202), ("admin", ["trips"], 202), ("predict", None, 403), ("operate", ["bike"], 403)],
)
def test_a_token_with_the_role_operate_stands_for_a_signature(
    open_door: Open, pipelines: Registry, role: str, models: list[str] | None, status: int
) -> None:
    with pipelines.database.write() as session:
        token = create_token(
            session, "prometheus", roles=[role], models=models, actor="a test", now=datetime.now(UTC)
        ).secret
    door = open_door(access="on")

    heard = door.post_json(WISH, {"authorization": f"Bearer {token}"})

    assert heard.status == status
    assert [row.actor for row in door.triggers()] == (["token prometheus"] if status == 202 else [])


def test_a_wrong_signature_is_refused_whatever_token_comes_with_it(open_door: Open, pipelines: Registry) -> None:
    with pipelines.database.write() as session:
        token = create_token(session, "boss", roles=["admin"], actor="a test", now=datetime.now(UTC)).secret
    door = open_door(access="on", hooks={"airflow": HookSender(secret=SECRET)})
    body = json.dumps(WISH).encode()
    shown = {"authorization": f"Bearer {token}"}

    assert door.post(body, sign(body, secret=OTHER_SECRET) | shown).status == 401
    assert door.post(body, sign(body) | shown).status == 202


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"{", JSON, 400, "no JSON"),
        (b"[" * 100_000, JSON, 400, "no JSON"),
        (b'{"reason": "x", "data": ' + b"[" * 200 + b"]" * 200 + b"}", JSON, 400, "brackets"),
        (b'{"reason": "\\ud800"}', JSON, 400, "no JSON"),
        (b"reason=x", "application/x-www-form-urlencoded", 415, "application/json"),
        (b"[]", "application/cloudevents-batch+json", 415, "each event by itself"),
        (b"", "application/cloudevents+avro", 415, "binary mode"),
        (b"[]", JSON, 422, "an object such as"),
        (b"null", JSON, 422, "an object such as"),
        (b"{}", JSON, 422, "'reason': found nothing"),
        (b'{"reason": ""}', JSON, 422, "reason"),
        (b'{"reason": 3}', JSON, 422, "reason"),
        (b'{"reason": "x", "as_of": "soon"}', JSON, 422, "as_of"),
        (b'{"reason": "x", "as_of": "2126-01-01"}', JSON, 422, "a moment that has come"),
        (b'{"reason": "x", "as_of": 20130401}', JSON, 422, "as_of"),
        (b'{"reason": "x", "priority": 1000}', JSON, 422, "priority"),
        (b'{"reason": "x", "priority": true}', JSON, 422, "priority"),
        (b'{"reason": "x", "caused_by": "\\u0000"}', JSON, 422, "caused_by"),
        (b'{"reason": "x", "reasn": "x"}', JSON, 422, "did you mean 'reason'"),
        (b"{}", EVENTS, 422, "4 faults"),
    ],
)
def test_a_body_that_is_not_what_it_should_be_is_told_why(
    door: Doorstep, body: bytes, kind: str, status: int, said: str
) -> None:
    heard = door.post_signed(body, kind=kind)

    assert heard.status == status
    assert said in json.dumps(heard.document, ensure_ascii=False)
    assert ("errors" in heard.document) is (status == 422)
    assert door.triggers() == []
    assert door.tallies.hooks == {"invalid": 1}


def test_a_hook_of_more_than_its_own_limit_is_not_read(open_door: Open) -> None:
    door = open_door(max_hook_bytes=1024)

    heard = door.post_json({"reason": "x", "data": "x" * 2000})

    assert heard.status == 413
    assert "EVERFIT_MAX_HOOK_BYTES" in heard.document["detail"]
    assert door.tallies.hooks == {"invalid": 1}


def test_an_unknown_pipeline_is_named_with_its_neighbours_to_those_alone_who_may_ask(door: Doorstep) -> None:
    known, stranger = door.post_signed(WISH, pipeline="tips"), door.post_json(WISH, pipeline="tips")

    assert (known.status, stranger.status) == (404, 401)
    assert "did you mean 'trips'" in known.document["detail"]
    assert "trips" not in json.dumps(stranger.document)
    assert door.tallies.hooks == {"refused": 1}


def test_what_came_twice_in_the_header_is_refused(door: Doorstep) -> None:
    body = json.dumps(WISH).encode()

    heard = door.post(body, [*sign(body).items(), ("webhook-id", "msg_2")])

    assert heard.status == 400
    assert "came twice" in heard.document["detail"]


def test_without_a_signature_the_idempotency_key_tells_that_it_is_the_same(own_door: Doorstep) -> None:
    first, again = (own_door.post_json(WISH, {"idempotency-key": "tuesday"}) for _ in range(2))
    other = own_door.post_json(WISH)

    assert first.document == again.document
    assert other.document["trigger"] != first.document["trigger"]
    assert own_door.post_json(WISH, {"idempotency-key": "k" * 201}).status == 400


def test_a_service_without_a_desk_says_that_it_takes_no_hooks(open_door: Open) -> None:
    door = open_door(desk=None)

    heard = door.post_json(WISH)

    assert heard.status == 503
    assert "takes no hooks" in heard.document["detail"]
    assert door.tallies.hooks == {"unavailable": 1}


def test_while_the_registry_is_away_the_sender_is_told_to_come_again_and_then_it_is_taken(
    settings: Settings, door: Doorstep
) -> None:
    file = settings.home / "everfit.db"
    door.registry.database.close()
    hidden = [(each, each.with_name(f"hidden-{each.name}")) for each in settings.home.glob("everfit.db*")]
    for each, away in hidden:
        each.rename(away)
    file.mkdir()

    heard = door.post_signed(WISH)

    assert (heard.status, heard.headers["retry-after"]) == (503, "1")
    assert str(settings.home) not in json.dumps(heard.document)
    file.rmdir()
    for each, away in hidden:
        away.rename(each)
    assert door.post_signed(WISH).status == 202
    assert door.tallies.hooks == {"unavailable": 1, "accepted": 1}


def test_a_damaged_file_of_secrets_is_no_reason_to_let_anybody_in(settings: Settings, own_door: Doorstep) -> None:
    (settings.home / "hooks.json").write_text("{")

    assert own_door.post_json(WISH).status == 503
    assert own_door.triggers() == []


def test_a_desk_that_does_not_answer_in_time_is_not_waited_for(
    open_door: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route_module, "_PATIENCE_SECONDS", 0.05)
    door = open_door(desk=f"{HERE}:take_slowly")

    heard = door.post_json(WISH)

    assert heard.status == 503
    assert "send the same again" in heard.document["detail"]


@pytest.mark.parametrize(
    ("desk", "status", "said"),
    [("refuse", 422, "as of 2026"), ("fail", 500, "its log says more"), ("nobody", 500, "not there")],
)
def test_what_the_desk_says_is_passed_on_and_what_it_did_not_mean_is_not(
    open_door: Open, desk: str, status: int, said: str
) -> None:
    heard = open_door(desk=f"{HERE}:{desk}").post_json(WISH)

    assert heard.status == status
    assert said in heard.document["detail"]
    assert "secret place" not in heard.document["detail"]


def test_a_training_as_of_a_moment_is_asked_for_as_of_it(door: Doorstep) -> None:
    door.post_signed(WISH | {"as_of": "2026-11-01", "priority": 7, "occurred_at": "2026-11-21T11:00Z"})

    (filed,) = door.triggers()
    assert (filed.as_of, filed.priority) == (datetime(2026, 11, 1, tzinfo=UTC), 7)
    assert filed.occurred_at == NOW - timedelta(hours=1)


def test_the_same_message_to_several_workers_at_once_is_one_trigger(
    any_settings: Settings, any_registry: Registry, tmp_path: Path
) -> None:
    register_pipeline(any_registry, make_pipeline(tmp_path / "trips", None))
    given = any_settings.model_copy(update={"hooks": {"airflow": HookSender(secret=SECRET)}})
    workers = [Doorstep(given, any_registry) for _ in range(6)]

    with ThreadPoolExecutor(len(workers)) as threads:
        answers = list(threads.map(lambda worker: worker.post_signed(WISH), workers))

    assert {heard.status for heard in answers} == {202}
    assert len({json.dumps(heard.document) for heard in answers}) == 1
    assert len(workers[0].triggers()) == 1
    assert sum(worker.tallies.hooks.get("duplicate", 0) for worker in workers) == 5
