"""`everfit notices`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from base.times import parse_moment, utc_now
from registry.ledger import list_decisions
from registry.notices.feed import collect
from registry.notices.sinks import receiver_sinks
from registry.store import Registry
from tests.console.conftest import Everfit
from tests.deployments.notices.mailbox import Mailbox, listening
from tests.registry.notices.happenings import promote
from tests.registry.samples import a_pipeline


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with listening() as found:
        monkeypatch.setenv("EVERFIT_NOTIFY", json.dumps({"team": {"url": found.url, "from": "notice"}}))
        yield found


def test_a_receiver_is_listed_without_anything_secret(everfit: Everfit, mailbox: Mailbox) -> None:
    shown = everfit("notices", "list")
    (receiver,) = everfit("notices", "list", "--json").document["receivers"]

    assert "team      json  notice" in shown.out
    assert (receiver["name"], receiver["schemes"], receiver["from"]) == ("team", ["json"], "notice")
    for text in (shown.out, json.dumps(receiver)):
        assert not any(secret in text for secret in ("hunter2", "T0PSECRET", "127.0.0.1"))


def test_a_wrong_setting_is_told_without_the_address(everfit: Everfit, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (
        {"team": "hunter2"},
        {"team": {"url": "json://hunter2", "from": "never"}},
        {"te am": "json://hunter2"},
    ):
        monkeypatch.setenv("EVERFIT_NOTIFY", json.dumps(wrong))
        refused = everfit("notices", "list")

        assert refused.code == 2
        assert "setting EVERFIT_NOTIFY" in refused.err
        assert "hunter2" not in refused.err


def test_a_test_message_says_who_took_it(everfit: Everfit, mailbox: Mailbox) -> None:
    assert everfit("notices", "test", "--json").document == [{"receiver": "team", "problem": ""}]
    assert mailbox.titles == ["Everfit: a test message"]
    mailbox.status = 500
    refused = everfit("notices", "test", "team")

    assert refused.code == 4
    assert "receiver 'team': Failed to send JSON POST notification" in refused.err
    assert "hunter2" not in refused.err + refused.out


def test_who_is_not_there_is_named(everfit: Everfit, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no receiver 'teem'; there are team; did you mean 'team'?" in everfit("notices", "test", "teem").err
    monkeypatch.delenv("EVERFIT_NOTIFY")

    assert "there is no receiver; set EVERFIT_NOTIFY" in everfit("notices", "retry").err


def test_a_pipeline_is_muted_for_a_while_and_told_again(everfit: Everfit, mailbox: Mailbox, registry: Registry) -> None:
    a_pipeline(registry)
    muted = everfit("notices", "mute", "churn", "--until", "14d", "--reason", "we move", "--json").document
    assert timedelta(days=13) < parse_moment(muted["until"]) - utc_now() <= timedelta(days=14)
    assert "we move" in everfit("notices", "list", "churn").out
    with registry.database.read() as session:
        assert [
            (each.outcome, each.reason.rpartition(": ")[2]) for each in list_decisions(session, kind="notices")
        ] == [("muted", "we move")]

    assert everfit("notices", "unmute", "churn").code == 0
    assert everfit("notices", "list", "--json").document["muted"] == []
    assert everfit("notices", "unmute", "churn").code == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["churm"], "there is no pipeline 'churm'; registered are churn; did you mean 'churn'?"),
        (["churn", "--until", "soon"], "--until is 'soon', expected a duration such as 14d or a moment"),
        (["churn", "--until", "2020-01-01"], "--until is '2020-01-01', which is over already"),
        (["churn", "--until", "9999999999d"], "--until is '9999999999d', expected a duration"),
        (["churn", "--kind", "alarm.razed"], "there is no happening 'alarm.razed', expected one of drift.detected"),
    ],
)
def test_what_cannot_be_muted_is_told(everfit: Everfit, registry: Registry, arguments: list[str], told: str) -> None:
    a_pipeline(registry)
    refused = everfit("notices", "mute", *arguments)

    assert refused.code == 2
    assert told in refused.err


def test_what_waits_is_sent_when_it_is_asked_for(everfit: Everfit, mailbox: Mailbox, registry: Registry) -> None:
    from base.settings import Settings

    sinks = receiver_sinks(Settings().notify)
    collect(registry.database, sinks, now=utc_now())
    with registry.database.write() as session:
        promote(session, 1)
    mailbox.status = 503
    refused = everfit("notices", "retry", "--json")
    assert refused.document == {"due": 0, "waiting": 1}
    assert "receiver 'team' did not take it: Failed to send" in refused.err
    mailbox.status = 200

    assert everfit("notices", "retry").out == "1 notices were due, all are sent\n"
    (notice,) = everfit("notices", "list", "--state", "sent", "--json").document["notices"]
    assert (notice["title"], notice["receiver"]) == ("churn: promoted: version 1 (churn@champion)", "team")
    assert everfit("notices", "list", "--state", "lost").code == 2
