"""Claims about signatures: what was signed is believed, what was changed, or signed by others, is not."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from base.errors import ArgumentError
from base.settings import Settings
from base.signatures import SignatureRefused, SigningKeys, add_signing_key, signing_keys

_SECRET = "a secret that is long enough"
_documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(signed=_documents, shown=_documents)
def test_a_signature_holds_for_the_signed_document_alone(signed: Any, shown: Any) -> None:
    keys = SigningKeys.of(_SECRET)
    signature = keys.sign("note", signed)
    keys.check("note", signed, signature, what="it")

    assume(repr(signed) != repr(shown) and signed != shown)
    with pytest.raises(SignatureRefused, match="it is not what was signed"):
        keys.check("note", shown, signature, what="it")


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        (None, "is not signed"),
        ("", "which is none"),
        ("hmac-sha256:" + "0" * 16 + ":" + "0" * 64, "is signed by key 0000000000000000, and known here are"),
        ("none:" + "0" * 16 + ":" + "0" * 64, "which is none"),
    ],
)
def test_what_is_no_signature_of_ours_is_refused(signature: str | None, said: str) -> None:
    with pytest.raises(SignatureRefused, match=said):
        SigningKeys.of(_SECRET).check("note", {}, signature, what="it")


def test_a_signature_under_one_kind_says_nothing_about_another() -> None:
    keys = SigningKeys.of(_SECRET)

    with pytest.raises(SignatureRefused):
        keys.check("proof", {}, keys.sign("manifest", {}), what="it")


def test_a_key_is_drawn_once_for_its_owner_alone(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: signing_keys(settings).names, range(8)))

    assert len(set(drawn)) == 1
    assert stat.S_IMODE((settings.home / "signing.key").stat().st_mode) == 0o600


def test_a_new_key_signs_and_the_old_one_is_still_believed(settings: Settings) -> None:
    old = signing_keys(settings)
    signature = old.sign("note", 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: add_signing_key(settings), range(4)))
    new = signing_keys(settings)

    new.check("note", 1, signature, what="it")
    assert (len(new.names), new.names[-1]) == (5, old.names[0])
    with pytest.raises(SignatureRefused, match="known here are"):
        old.check("note", 1, new.sign("note", 1), what="it")


def test_keys_of_the_environment_leave_the_home_folder_out(tmp_path: Path) -> None:
    home = Settings(home=tmp_path)
    at_home = signing_keys(home)
    secret = SecretStr(_SECRET)

    outside = signing_keys(Settings(home=tmp_path, signing_key=secret))
    moved = Settings(
        home=tmp_path, signing_key=secret, former_signing_keys=SecretStr((tmp_path / "signing.key").read_text())
    )

    assert set(outside.names).isdisjoint(at_home.names)
    signing_keys(moved).check("note", 1, at_home.sign("note", 1), what="it")
    with pytest.raises(ArgumentError, match="put a new one there"):
        add_signing_key(moved)


def test_what_is_no_key_is_refused_and_never_told(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="a key of 5 characters"):
        signing_keys(Settings(home=tmp_path, signing_key=SecretStr("short")))
    (tmp_path / "signing.key").write_text("damaged")
    with pytest.raises(ArgumentError, match="holds what is no key"):
        signing_keys(Settings(home=tmp_path))
    assert _SECRET not in repr(SigningKeys.of(_SECRET))
