"""Parse the language of row rules: columns, numbers, texts, arithmetic, comparisons, null tests, and / or / not."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

CONSTANTS: dict[str, bool | None] = {"null": None, "true": True, "false": False}
"""Words that are no columns unless they stand in backticks."""

_LONGEST = 2_000
_QUOTED = re.compile(r"`([^`]+)`")
# Identifiers that stand for quoted names while Python parses; nobody names a column with these characters.
_FIRST_STAND_IN = 0x20000


@dataclass(frozen=True)
class ParsedRule:
    """A rule's tree, and the columns whose names stood in backticks."""

    text: str
    body: ast.expr
    quoted: dict[str, str]

    def column(self, node: ast.Name) -> str:
        """The column that a name means."""
        return self.quoted.get(node.id, node.id)

    def is_constant(self, node: ast.Name) -> bool:
        """Tell whether a name is a word of the language."""
        return node.id not in self.quoted and node.id.lower() in CONSTANTS

    def refuse(self, node: ast.expr, found: str, expected: str) -> ValueError:
        """Make the error that says what is wrong at a node, with its position."""
        # Python counts bytes.
        before = _replace_quoted(self.text)[0].encode()[: node.col_offset]
        return ValueError(f"{self.text!r}, character {len(before.decode()) + 1}: found {found}, expected {expected}")


def parse_rule(text: str) -> ParsedRule:
    """Parse an expression's text; what its parts mean is not looked at.

    Raises
    ------
    ValueError
        If it is no expression, with the position.

    Examples
    --------
    >>> parse_rule("adults = 2")
    Traceback (most recent call last):
    ValueError: 'adults = 2', character 8: expected an expression such as 'a + b > 0' (== compares)
    """
    text = " ".join(text.split("\n")).strip()
    if len(text) > _LONGEST:
        raise ValueError(f"the expression has {len(text):,} characters, expected at most {_LONGEST:,}")
    plain, quoted = _replace_quoted(text)
    try:
        return ParsedRule(text, ast.parse(plain, mode="eval").body, quoted)
    except SyntaxError as error:
        place = f"{text!r}, character {error.offset or 1}"
        raise ValueError(f"{place}: expected an expression such as 'a + b > 0' (== compares)") from error
    except (RecursionError, MemoryError, ValueError) as error:
        raise ValueError(f"{text[:60]!r} cannot be read as an expression; expected one such as 'a + b > 0'") from error


def columns_of_rule(text: str) -> tuple[str, ...]:
    """List the columns that an expression names, in alphabetical order.

    Raises
    ------
    ValueError
        If it is no expression.

    Examples
    --------
    >>> columns_of_rule("adults + `children (n)` > 0 and arrival is not null")
    ('adults', 'arrival', 'children (n)')
    """
    rule = parse_rule(text)
    nodes = (node for node in ast.walk(rule.body) if isinstance(node, ast.Name))
    return tuple(sorted({rule.column(node) for node in nodes if not rule.is_constant(node)}))


def _replace_quoted(text: str) -> tuple[str, dict[str, str]]:
    quoted: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        # As long as what it stands for, so that positions stay true.
        name = chr(_FIRST_STAND_IN + len(quoted)) + "_" * (len(match[0]) - 1)
        quoted[name] = match[1]
        return name

    return _QUOTED.sub(stand_in, text), quoted
