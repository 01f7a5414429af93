"""`everfit tag`: what people say about a version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from base.actors import name_person
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output


def tag_command(version: str, *, put: Sequence[str], remove: Sequence[str], reason: str, output: Output) -> None:
    """Set and remove tags of a version; without either, list them.

    Raises
    ------
    ArgumentError
        If a tag is none, is to be set and removed at once, or there is no such version.
    """
    from base.errors import ArgumentError
    from registry.models import resolve_version
    from registry.tags import change_tags, describe_tags, parse_tag

    wanted = dict(map(parse_tag, put))
    if both := wanted.keys() & set(remove):
        raise ArgumentError(f"tag {min(both)!r} is to be set and removed at once; do one of them")
    registry = open_registry(read_settings())
    with registry.database.write() as session:
        found = resolve_version(session, registry.environment, version)
        tags = change_tags(session, found, put=wanted, remove=remove, actor=name_person(), reason=reason.strip())
    output.say(f"{found.model}@{found.number}: {describe_tags(tags) or 'no tags'}")
    output.result({"model": found.model, "version": found.number, "tags": tags})
