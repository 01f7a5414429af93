"""Claims about the secrets of hooks: kept for their owner's eyes, rotated with an overlap, never printed."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from base.errors import ArgumentError
from base.hook_secrets import HookSenders, add_sender, list_senders, remove_sender, rotate_sender
from base.hook_sender import HookSender
from base.settings import Settings
from base.webhooks import draw_secret, read_secret

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def _keys(settings: Settings, now: datetime, pipeline: str = "bike") -> list[bytes]:
    return [key for sender in HookSenders(settings).find(pipeline, now=now).values() for key in sender.keys]


def test_a_file_of_secrets_is_its_owners_alone(settings: Settings) -> None:
    before = os.umask(0)
    try:
        add_sender(settings, "airflow", now=NOW)
    finally:
        os.umask(before)

    assert (settings.home / "hooks.json").stat().st_mode & 0o777 == 0o600


def test_after_a_rotation_two_secrets_are_good_and_then_one(settings: Settings) -> None:
    first = read_secret(add_sender(settings, "airflow", now=NOW))
    second = read_secret(rotate_sender(settings, "airflow", overlap=DAY, now=NOW))

    assert _keys(settings, NOW) == [second, first]
    assert _keys(settings, NOW + DAY) == [second]

    third = read_secret(rotate_sender(settings, "airflow", overlap=2 * DAY, now=NOW))
    assert _keys(settings, NOW) == [third, second]


def test_without_an_overlap_the_secret_before_ends_at_once(settings: Settings) -> None:
    add_sender(settings, "airflow", now=NOW)

    secret = rotate_sender(settings, "airflow", overlap=timedelta(0), now=NOW)

    assert _keys(settings, NOW) == [read_secret(secret)]


def test_a_running_service_hears_of_each_change_with_the_next_hook(settings: Settings) -> None:
    running = HookSenders(settings)
    assert running.find("bike", now=NOW) == {}

    add_sender(settings, "airflow", pipelines=("bike",), now=NOW)
    assert list(running.find("bike", now=NOW)) == ["airflow"]
    assert running.find("trips", now=NOW) == {}

    remove_sender(settings, "airflow")
    assert running.find("bike", now=NOW) == {}


def test_changes_at_once_are_all_kept(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: add_sender(settings, f"sender-{number}", now=NOW), range(16)))

    assert len(list_senders(settings)) == 16


def test_what_stands_in_the_settings_counts_alone_and_is_changed_there(settings: Settings) -> None:
    add_sender(settings, "airflow", now=NOW)
    given = settings.model_copy(update={"hooks": {"shop": HookSender(secret=draw_secret())}})

    assert list(HookSenders(given).find("bike", now=NOW)) == ["shop"]
    for change in (
        lambda: add_sender(given, "other", now=NOW),
        lambda: rotate_sender(given, "shop", overlap=DAY, now=NOW),
        lambda: remove_sender(given, "shop"),
    ):
        with pytest.raises(ArgumentError, match="EVERFIT_HOOKS"):
            change()


def test_a_wrong_name_says_what_there_is(settings: Settings) -> None:
    add_sender(settings, "airflow", now=NOW)

    with pytest.raises(ArgumentError, match="did you mean 'airflow'"):
        rotate_sender(settings, "airfow", overlap=DAY, now=NOW)
    with pytest.raises(ArgumentError, match="there is a sender 'airflow' already"):
        add_sender(settings, "airflow", now=NOW)
    with pytest.raises(ArgumentError, match="letters, digits"):
        add_sender(settings, "../airflow", now=NOW)


@pytest.mark.parametrize("damage", ["{", "[]", '{"senders": {"a": {"secrets": [{"secret": "hush", "made_at": 0}]}}}'])
def test_a_damaged_file_is_named_and_its_content_is_not(settings: Settings, damage: str) -> None:
    settings.home.mkdir()
    (settings.home / "hooks.json").write_text(damage)

    with pytest.raises(ArgumentError, match=r"hooks\.json") as caught:
        list_senders(settings)

    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_secret_is_shown_by_what_holds_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = add_sender(settings, "airflow", now=NOW)
    monkeypatch.setenv("EVERFIT_HOOKS", json.dumps({"shop": {"secret": secret, "pipelines": ["bike"]}}))
    given = Settings(home=settings.home)

    shown = f"{list_senders(settings)!r} {list_senders(settings)!s} {given!r} {given.hooks} {given.model_dump_json()}"
    assert secret not in shown
    assert secret.removeprefix("whsec_") not in shown


@pytest.mark.parametrize("value", ["3", '{"shop": {"secret": "hush"}}', '{"shop": {}}', '{"a/b": {"secret": "x"}}'])
def test_a_wrong_setting_is_refused_without_repeating_it(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERFIT_HOOKS", value)

    with pytest.raises(ValidationError) as caught:
        Settings(home=Path("home"))

    assert "hush" not in str(caught.value)
