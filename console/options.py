"""What all commands share: their options, their help, and the shape of a group of them."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result, or the error, as one JSON document.")]
Model = Annotated[str, typer.Argument(help="A model's name, such as bike.", metavar="MODEL")]

# Help in colours would import another 80 ms of libraries, a third of the time in which --help shall answer.
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def example(*lines: str) -> str:
    """Write the examples below a command's help."""
    # The \b keeps the lines as they are; help text is reflowed otherwise.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def command_group(name: str | None = None, *, about: str | None = None) -> typer.Typer:
    """Make a group of commands: ``everfit NAME COMMAND``, or without a name commands of ``everfit`` itself."""
    return typer.Typer(name=name, help=about, no_args_is_help=True, rich_markup_mode=None, context_settings=CONTEXT)
