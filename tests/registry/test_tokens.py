"""Claims about access tokens: made once, never stored, rotated with an overlap, ended at once, all in the ledger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest

from base.errors import ArgumentError
from registry.ledger import first_broken_link, list_decisions
from registry.store import Registry
from registry.tables import AccessToken
from registry.tokens import (
    TokenNotFound,
    create_token,
    digest_token,
    list_tokens,
    note_used,
    revoke_token,
    rotate_token,
    status_of,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def _create(registry: Registry, name: str = "shop", **given: object) -> str:
    options = {"roles": ["predict"], "actor": "ann", "now": NOW} | given
    with registry.database.write() as session:
        return create_token(session, name, **options).secret  # type: ignore[arg-type]


def _rows(registry: Registry) -> list[AccessToken]:
    with registry.database.read() as session:
        return list_tokens(session)


def test_a_token_is_kept_as_its_digest_alone(any_registry: Registry) -> None:
    secret = _create(any_registry, roles=["view", "predict", "view"], models=["b", "a", "b"], expires=90 * DAY)

    (row,) = _rows(any_registry)
    with any_registry.database.read() as session:
        (decision,) = list_decisions(session, kind="token")
    assert row.digest == digest_token(secret)
    assert (row.roles, row.models, row.expires_at) == (["predict", "view"], ["a", "b"], NOW + 90 * DAY)
    assert secret.startswith(f"everfit_{row.id}_")
    assert len(secret.removeprefix(f"everfit_{row.id}_")) == 43
    stored = row.model_dump_json() + decision.model_dump_json()
    assert secret.removeprefix(f"everfit_{row.id}_") not in stored


def test_rotation_leaves_the_secret_before_good_for_the_overlap_and_keeps_what_it_is_for(
    any_registry: Registry,
) -> None:
    _create(any_registry, roles=["label"], models=["bike"], expires=30 * DAY)
    later = NOW + 10 * DAY

    with any_registry.database.write() as session:
        issued = rotate_token(session, "shop", overlap=DAY, actor="ann", now=later)

    old, new = _rows(any_registry)
    assert (old.generation, new.generation, new.id) == (1, 2, issued.row.id)
    assert (new.roles, new.models, new.expires_at) == (["label"], ["bike"], later + 30 * DAY)
    assert old.expires_at == later + DAY
    assert [status_of(row, later + timedelta(hours=23)) for row in (old, new)] == ["good", "good"]
    assert [status_of(row, later + DAY) for row in (old, new)] == ["expired", "good"]


def test_rotation_never_makes_a_secret_good_for_longer(registry: Registry) -> None:
    _create(registry, expires=timedelta(hours=1))

    with registry.database.write() as session:
        rotate_token(session, "shop", overlap=DAY, actor="ann", now=NOW)

    assert _rows(registry)[0].expires_at == NOW + timedelta(hours=1)


def test_revoking_ends_every_secret_of_a_name_and_frees_it(any_registry: Registry) -> None:
    _create(any_registry)
    with any_registry.database.write() as session:
        rotate_token(session, "shop", overlap=DAY, actor="ann", now=NOW)
        revoke_token(session, "shop", actor="ann", reason="leaked", now=NOW)

    assert [status_of(row, NOW) for row in _rows(any_registry)] == ["revoked", "revoked"]
    _create(any_registry)
    assert [row.generation for row in _rows(any_registry)] == [1, 2, 3]


def test_each_change_is_a_decision_of_an_unbroken_chain(registry: Registry) -> None:
    _create(registry)
    with registry.database.write() as session:
        rotate_token(session, "shop", overlap=DAY, actor="bob", now=NOW)
        revoke_token(session, "shop", actor="cat", reason="leaked", now=NOW)

    with registry.database.read() as session:
        decisions = list_decisions(session, kind="token")[::-1]
        broken = first_broken_link(session)
    assert [(one.outcome, one.actor) for one in decisions] == [
        ("shop: created", "ann"),
        ("shop: rotated", "bob"),
        ("shop: revoked", "cat"),
    ]
    assert broken is None


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("shop", {}, "there is a token 'shop' already"),
        ("a b", {}, "token name 'a b'"),
        ("other", {"roles": ["predikt"]}, "did you mean 'predict'"),
        ("other", {"roles": []}, "has no role"),
    ],
)
def test_a_token_that_cannot_be_made_is_refused_with_the_way_out(
    registry: Registry, name: str, given: dict[str, object], told: str
) -> None:
    _create(registry)

    with pytest.raises(ArgumentError, match=told):
        _create(registry, name, **given)

    assert len(_rows(registry)) == 1


def test_a_token_that_is_not_there_is_named_with_those_that_are(registry: Registry) -> None:
    _create(registry)

    with registry.database.write() as session, pytest.raises(TokenNotFound, match="good are shop; did you mean 'shop'"):
        revoke_token(session, "shopp", actor="ann", reason="", now=NOW)


def test_two_who_make_the_same_token_at_once_do_not_both_get_one(any_registry: Registry) -> None:
    def create(_: int) -> str | None:
        try:
            return _create(any_registry)
        except ArgumentError:
            return None

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(create, range(4)))

    assert len([secret for secret in made if secret]) == 1
    assert len(_rows(any_registry)) == 1


def test_the_day_of_the_last_use_is_noted(any_registry: Registry) -> None:
    _create(any_registry)
    (row,) = _rows(any_registry)

    with any_registry.database.write() as session:
        note_used(session, [row.id, "unknown"], day=date(2026, 5, 2))

    assert _rows(any_registry)[0].last_used_on == date(2026, 5, 2)
