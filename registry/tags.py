"""Tags: what people say about a version, ``keep`` or ``region=eu``, with every change in the ledger."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlmodel import Session, select

from base.errors import ArgumentError
from base.times import utc_now
from registry.ledger import append_decision
from registry.tables import ModelVersion, VersionTag

KEEP = "keep"
"""A version with this tag is never deleted."""

_KEY = re.compile(r"[A-Za-z_][\w.-]{0,63}")
_LONGEST_VALUE = 256


def parse_tag(text: str) -> tuple[str, str]:
    """Read a tag as it is written: a key, or a key and a value.

    Raises
    ------
    ArgumentError
        If it is none.

    Examples
    --------
    >>> parse_tag("keep"), parse_tag("region=eu-west"), parse_tag("formula=a=b")
    (('keep', ''), ('region', 'eu-west'), ('formula', 'a=b'))
    >>> parse_tag("region=")
    Traceback (most recent call last):
    base.errors.ArgumentError: tag 'region=' has no value; write 'region' for a tag without one
    """
    key, equals, value = text.strip().partition("=")
    key, value = key.strip(), value.strip()
    if not _KEY.fullmatch(key):
        raise ArgumentError(
            f"tag {text!r}: expected a key of letters, digits, '_', '.' and '-', 64 at most, such as keep or region=eu"
        )
    if equals and not value:
        raise ArgumentError(f"tag {text!r} has no value; write {key!r} for a tag without one")
    if len(value) > _LONGEST_VALUE or not value.isprintable():
        raise ArgumentError(f"tag {key!r}: expected a value of at most {_LONGEST_VALUE} printable characters")
    return key, value


def change_tags(
    session: Session,
    version: ModelVersion,
    *,
    put: Mapping[str, str],
    remove: Sequence[str] = (),
    actor: str,
    reason: str = "",
) -> dict[str, str]:
    """Set and remove tags of a version, and return those that it has now; what changes nothing leaves no decision.

    Raises
    ------
    ArgumentError
        If a tag is to be removed that is not there.
    """
    found = _rows(session, version)
    if missing := [key for key in remove if key not in found]:
        raise ArgumentError(
            f"{version.model}@{version.number} has no tag {missing[0]!r}; it has {', '.join(found) or 'none'}"
        )
    before = {key: row.value for key, row in found.items()}
    for key in remove:
        session.delete(found.pop(key))
    for key, value in put.items():
        row = found.setdefault(key, VersionTag(model=version.model, number=version.number, key=key, value=value))
        if row.id is None or row.value != value:
            row.value, row.set_at = value, utc_now()
        session.add(row)
    session.flush()
    after = {key: found[key].value for key in sorted(found)}
    if after != before:
        append_decision(
            session,
            kind="tag",
            pipeline=version.model,
            outcome=f"{version.model}@{version.number}: {describe_tags(after) or 'no tags'}",
            reason=reason,
            actor=actor,
            evidence={"number": version.number, "before": before, "after": after},
        )
    return after


def find_tags(session: Session, model: str | None = None) -> dict[tuple[str, int], dict[str, str]]:
    """Find the tags of the versions of one model, or of all.

    Returns
    -------
    dict of (model, number) to a dict of key to value; the value of a free tag is empty.
    """
    query = select(VersionTag).order_by(VersionTag.key)
    tags: dict[tuple[str, int], dict[str, str]] = {}
    for row in session.exec(query if model is None else query.where(VersionTag.model == model)):
        tags.setdefault((row.model, row.number), {})[row.key] = row.value
    return tags


def has_tag(tags: Mapping[str, str], sought: str) -> bool:
    """Tell whether tags hold one as it was written: with a value, that value; without, any.

    Examples
    --------
    >>> has_tag({"region": "eu"}, "region"), has_tag({"region": "eu"}, "region=us")
    (True, False)
    """
    key, value = parse_tag(sought)
    return key in tags and value in ("", tags[key])


def describe_tags(tags: Mapping[str, str]) -> str:
    """Write tags as they are given.

    Examples
    --------
    >>> describe_tags({"keep": "", "region": "eu"})
    'keep, region=eu'
    """
    return ", ".join(f"{key}={value}" if value else key for key, value in tags.items())


def _rows(session: Session, version: ModelVersion) -> dict[str, VersionTag]:
    query = select(VersionTag).where(VersionTag.model == version.model, VersionTag.number == version.number)
    return {row.key: row for row in session.exec(query.order_by(VersionTag.key))}
