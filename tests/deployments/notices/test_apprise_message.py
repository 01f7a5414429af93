"""Claims about messages by Apprise: they arrive whole, and nothing of an address is ever said."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from email.header import decode_header, make_header
from typing import Any

import pytest
from pydantic import SecretStr

from deployments.notices.apprise_message import AppriseMessages, hide_secrets
from deployments.notices.carrier import NotCarried
from tests.deployments.notices.mailbox import Mailbox, listening, post_office
from tests.registry.notices.happenings import a_happening

_SECRETS = ("hunter2", "T0PSECRET", "ana:")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with listening() as found:
        yield found


def test_a_message_says_what_why_what_next_and_where(mailbox: Mailbox) -> None:
    carrier = AppriseMessages(SecretStr(mailbox.url), public_url="https://ml.example.org", environment="staging")

    carrier.carry([a_happening(link="/v1/models/churn")], owner="")

    (message,) = mailbox.messages
    assert message["title"] == "[staging] churn: an alarm about drift in age"
    assert message["message"].splitlines() == [
        "An alarm was raised.",
        "Why: age moved by 0.4",
        "Next: `everfit alarms list churn` shows its figures, `everfit why-not churn` whether a training follows",
        "Look: https://ml.example.org/v1/models/churn",
        "When: 2026-03-02 12:00 UTC",
    ]
    assert message["type"] == "warning"


@pytest.mark.parametrize(
    ("severity", "kind"), [("info", "info"), ("notice", "info"), ("warning", "warning"), ("critical", "failure")]
)
def test_how_grave_it_is_reaches_the_service(mailbox: Mailbox, severity: str, kind: str) -> None:
    AppriseMessages(SecretStr(mailbox.url)).carry([a_happening(severity=severity)], owner="")

    assert mailbox.messages[0]["type"] == kind


def test_many_are_one_digest(mailbox: Mailbox) -> None:
    AppriseMessages(SecretStr(mailbox.url)).carry([a_happening(str(number)) for number in range(100)], owner="")

    assert mailbox.titles == ["churn: 100 happenings (100 warning)"]


@pytest.mark.parametrize("status", [301, 401, 500])
def test_a_refusal_is_told_without_the_address(mailbox: Mailbox, status: int, caplog: pytest.LogCaptureFixture) -> None:
    mailbox.status = status
    caplog.set_level(logging.DEBUG)
    for name in ("apprise", "urllib3", "urllib3.connectionpool"):
        caplog.set_level(logging.DEBUG, logger=name)

    with pytest.raises(NotCarried, match=f"error={status}") as refused:
        AppriseMessages(SecretStr(mailbox.url)).carry([a_happening()], owner="")

    for text in (str(refused.value), caplog.text):
        assert not any(secret in text for secret in _SECRETS)


def test_nobody_there_is_told_without_the_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    with pytest.raises(NotCarried, match="A Connection error occurred sending JSON notification to") as refused:
        AppriseMessages(SecretStr("json://ana:hunter2@127.0.0.1:9/T0PSECRET")).carry([a_happening()], owner="")

    assert not any(secret in str(refused.value) + caplog.text for secret in _SECRETS)


@pytest.mark.parametrize("url", ["nonsense://ana:hunter2@host/T0PSECRET", "slack://T0PSECRET", "mailto://T0PSECRET"])
def test_an_address_that_apprise_does_not_know_is_told_by_its_kind(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    with pytest.raises(
        NotCarried, match=f"does not understand the address, of kind '{url.partition(':')[0]}'"
    ) as refused:
        AppriseMessages(SecretStr(url)).carry([a_happening()], owner="")

    assert not any(secret in str(refused.value) + caplog.text for secret in _SECRETS)


def test_other_threads_may_log_while_one_sends(mailbox: Mailbox, caplog: pytest.LogCaptureFixture) -> None:
    import threading

    caplog.set_level(logging.WARNING)

    def talk() -> None:
        logging.getLogger("urllib3.connectionpool").warning("somebody else's word")

    def answer() -> None:
        thread = threading.Thread(target=talk)
        thread.start()
        thread.join()

    mailbox.before_answer = answer
    AppriseMessages(SecretStr(mailbox.url)).carry([a_happening()], owner="")

    assert "somebody else's word" in caplog.text


def test_the_owner_stands_where_the_address_has_a_place_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, Any]] = []
    monkeypatch.setattr(
        "deployments.notices.apprise_message.send_message", lambda url, message: sent.append((url, message))
    )
    carrier = AppriseMessages(SecretStr("mailtos://me:p@example.org?to={owner}"))

    carrier.carry([a_happening()], owner="ana@example.org")
    with pytest.raises(NotCarried, match="'team data' is no e-mail address") as refused:
        carrier.carry([a_happening()], owner="team data")

    assert [url for url, _ in sent] == ["mailtos://me:p@example.org?to=ana%40example.org"]
    assert refused.value.is_final


def test_a_mail_reaches_the_pipelines_owner() -> None:
    with post_office() as office:
        url = SecretStr(f"mailto://127.0.0.1:{office.port}?mode=insecure&from=everfit@example.org&to={{owner}}")

        AppriseMessages(url).carry([a_happening(title="churn: ärger")], owner="ana@example.org")

    (mail,) = office.mails
    assert office.recipients == ["ana@example.org"]
    assert str(make_header(decode_header(mail["subject"]))) == "churn: ärger"


def test_what_is_hidden_is_every_part_of_an_address_however_it_is_written() -> None:
    url = "slack://ana@T1JJ3T3L2/A1BRTD4JD/TIi%2FajkdniazkZcr?footer=no&token=abc"

    told = hide_secrets("POST /T1JJ3T3L2/a1brtd4jd/TIi/ajkdniazkZcr by Ana: status 404 ABC", url)

    assert told == "POST /***/***/***/*** by ***: status 404 ***"
