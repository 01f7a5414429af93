"""`everfit card`: a version's model card, as Markdown or as a self-contained page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from base.atomic_files import write_atomically
from base.errors import ArgumentError
from base.pages import page
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output

_SUFFIXES = (".md", ".html")
_STYLE = "body > table { margin-bottom: 1em } h2 { border-top: 1px solid var(--rule); padding-top: .8em }"


def card_command(model: str, *, output_file: str | None, output: Output) -> None:
    """Print or write the card of a version.

    Raises
    ------
    VersionNotFound
        If there is no such version.
    ArgumentError
        If the file's name ends neither in .md nor in .html.
    """
    file = None if output_file is None else Path(output_file)
    if file is not None and file.suffix not in _SUFFIXES:
        raise ArgumentError(f"--output {output_file!r}: expected a name that ends in .md or .html")
    from registry.model_card import compose_card, gather_facts
    from registry.models import resolve_version

    registry = open_registry(read_settings())
    with registry.database.read() as session:
        version = resolve_version(session, registry.environment, model)
        text = compose_card(gather_facts(session, version))
        name = f"{version.model}, version {version.number}"
    if file is None:
        output.say(text)
    else:
        write_atomically(file, (render_card(text, name) if file.suffix == ".html" else text).encode())
        output.say(f"{file} is the model card of {name}")
    output.result({"version": name, "card": text, "file": None if file is None else str(file.absolute())})


def render_card(text: str, name: str) -> str:
    """Render a card as a self-contained page; HTML in what people wrote is shown as text, not taken as markup.

    Examples
    --------
    >>> "&lt;script&gt;" in render_card("# bike\\n\\n<script>alert(1)</script>", "bike")
    True
    """
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    # A table without names for its columns needs no empty line above it.
    body = re.sub(r"<thead>\s*<tr>\s*(?:<th></th>\s*)+</tr>\s*</thead>", "", markdown.render(text))
    return page(f"Model card: {name}", body, style=_STYLE)
