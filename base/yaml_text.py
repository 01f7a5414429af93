"""Text in hand-written YAML: plain where people would write it so, quoted where YAML would read something else."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"(?:\.{1,2}/|[A-Za-z_/])[\w./ ()*<>=+-]*")
_OTHER_VALUES = frozenset({"null", "true", "false", "yes", "no", "on", "off", "nan", "inf"})


def yaml_scalar(text: str) -> str:
    """Write text so that YAML reads it as that text, as a value, a key or in a list.

    Examples
    --------
    >>> print(yaml_scalar("tips > 0.2 * fare"), yaml_scalar("no"), yaml_scalar('say: "hi"'))
    tips > 0.2 * fare "no" "say: \\"hi\\""
    """
    if _PLAIN.fullmatch(text) and text.isprintable() and text.lower() not in _OTHER_VALUES and text[-1] not in " .":
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    # YAML's \U takes eight digits, so that one form serves every character that may not stand in a file.
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'


def yaml_comment(text: str) -> str:
    """Write text so that it stays within its comment's line."""
    return "".join(char if char.isprintable() else " " for char in text)
