"""Expressions that must hold for a row, such as ``adults + children > 0``: one text, judged in SQL and in Python alike.

The language is a small part of Python's: columns (in backticks where a name is no identifier), numbers, texts,
``true`` and ``false``; ``+ - * /``, comparisons, ``in (…)``, ``is null``, ``and``, ``or``, ``not``. As in SQL,
what is compared or computed with a null is unknown, and a row breaks its rule only when the answer is a plain no.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from base.errors import nearest
from base.json_values import ColumnType
from base.rows.duck import quote_name, quote_text
from base.times import parse_moment
from base.validation.row_language import CONSTANTS, ParsedRule, columns_of_rule, parse_rule

Kind = Literal["number", "text", "boolean", "time"]
Evaluate = Callable[[Mapping[str, Any]], Any]

_DEEPEST = 40
_ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
}
_COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("=", operator.eq),
    ast.NotEq: ("<>", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_SQL_TYPES: dict[Kind, str] = {"number": "DOUBLE", "text": "VARCHAR", "boolean": "BOOLEAN", "time": "TIMESTAMPTZ"}
_KINDS: dict[ColumnType, Kind] = {
    "number": "number",
    "integer": "number",
    "text": "text",
    "boolean": "boolean",
    "time": "time",
}


@dataclass(frozen=True)
class RowExpression:
    """A compiled expression: ``sql`` for DuckDB, ``evaluate`` for one JSON row; both give true, false or null."""

    text: str
    columns: tuple[str, ...]
    sql: str
    evaluate: Evaluate


@dataclass(frozen=True)
class _Part:
    kind: Kind | None  # None: null, which fits everywhere
    sql: str
    evaluate: Evaluate
    literal: str | None = None


def compile_expression(text: str, types: Mapping[str, ColumnType]) -> RowExpression:
    """Compile an expression over columns of known types.

    Raises
    ------
    ValueError
        If it is no expression of this language, names no known column, or compares what cannot be compared;
        with the position.

    Examples
    --------
    >>> rule = compile_expression("0 < adults + children", {"adults": "integer", "children": "number"})
    >>> print(rule.sql)
    (CAST(0.0 AS DOUBLE) < (CAST("adults" AS DOUBLE) + CAST("children" AS DOUBLE)))
    >>> [rule.evaluate({"adults": adults, "children": 0}) for adults in (2, 0, None)]
    [True, False, None]
    >>> compile_expression("adults > 'two'", {"adults": "integer"})
    Traceback (most recent call last):
    ValueError: "adults > 'two'", character 10: found a text, expected a number, as on the left of it
    """
    return _compile(text, tuple(sorted(types.items())))


@lru_cache(maxsize=512)
def _compile(text: str, types: tuple[tuple[str, ColumnType], ...]) -> RowExpression:
    rule = parse_rule(text)
    part = _Compiler(rule, dict(types)).condition(rule.body, 0)
    return RowExpression(rule.text, columns_of_rule(text), part.sql, part.evaluate)


class _Compiler:
    """Walks the tree once; every part knows its kind, its SQL and how Python computes it."""

    def __init__(self, rule: ParsedRule, types: Mapping[str, ColumnType]) -> None:
        self._rule = rule
        self._types = types
        self._refuse = rule.refuse

    def condition(self, node: ast.expr, depth: int) -> _Part:
        part = self._part(node, depth)
        if part.kind not in ("boolean", None):
            raise self._refuse(node, f"a {part.kind}", "a condition, such as a comparison")
        return part

    def _part(self, node: ast.expr, depth: int) -> _Part:
        if depth > _DEEPEST:
            raise ValueError(f"{self._rule.text[:60]!r} is nested deeper than {_DEEPEST}; cut it into several rules")
        if isinstance(node, ast.Constant):
            return self._constant(node, node.value)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(value, depth + 1) for value in node.values]
            return _any(parts) if isinstance(node.op, ast.Or) else _all(parts)
        if isinstance(node, ast.UnaryOp):
            return self._unary(node, depth)
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node, depth)
        if isinstance(node, ast.Compare):
            return self._compare(node, depth)
        found = "a function call" if isinstance(node, ast.Call) else type(node).__name__.lower()
        raise self._refuse(node, found, "columns, numbers, texts, + - * /, comparisons, in, is null, and, or, not")

    def _constant(self, node: ast.expr, value: object) -> _Part:
        if value is None:
            return _Part(None, "NULL", lambda _row: None)
        if isinstance(value, bool):
            return _Part("boolean", str(value).upper(), lambda _row: value)
        if isinstance(value, int | float) and abs(value) < 1e300:
            number = float(value)
            # A bare number with a point would be a decimal, which counts otherwise than a double.
            return _Part("number", f"CAST({number!r} AS DOUBLE)", lambda _row: number)
        if isinstance(value, str) and "\0" not in value and value.isprintable():
            return _Part("text", quote_text(value), lambda _row: value, literal=value)
        raise self._refuse(node, "this value", "a finite number, a printable text, true, false or null")

    def _name(self, node: ast.Name) -> _Part:
        name = self._rule.column(node)
        if self._rule.is_constant(node):
            return self._constant(node, CONSTANTS[name.lower()])
        if name not in self._types:
            raise self._refuse(node, repr(name), f"a column{nearest(name, self._types)}")
        kind = _KINDS[self._types[name]]
        sql = f"CAST({quote_name(name)} AS {_SQL_TYPES[kind]})"
        if kind == "number":
            return _Part(kind, sql, lambda row: None if (value := row.get(name)) is None else float(value))
        if kind == "time":
            return _Part(kind, sql, lambda row: None if (value := row.get(name)) is None else parse_moment(value))
        return _Part(kind, sql, lambda row: row.get(name))

    def _unary(self, node: ast.UnaryOp, depth: int) -> _Part:
        if isinstance(node.op, ast.Not):
            part = self.condition(node.operand, depth + 1)
            return _Part("boolean", f"(NOT {part.sql})", _apply(operator.not_, part))
        if not isinstance(node.op, ast.USub):
            raise self._refuse(node, type(node.op).__name__.lower(), "- or not")
        part = self._number(node.operand, depth + 1)
        return _Part("number", f"(-{part.sql})", _apply(operator.neg, part))

    def _arithmetic(self, node: ast.BinOp, depth: int) -> _Part:
        if type(node.op) not in _ARITHMETIC:
            raise self._refuse(node, f"the operation {type(node.op).__name__.lower()}", "+, -, * or /")
        sign, compute = _ARITHMETIC[type(node.op)]
        left, right = self._number(node.left, depth + 1), self._number(node.right, depth + 1)
        if sign == "/":
            return _Part("number", f"({left.sql} / NULLIF({right.sql}, 0))", _apply(_divide, left, right))
        return _Part("number", f"({left.sql} {sign} {right.sql})", _apply(compute, left, right))

    def _number(self, node: ast.expr, depth: int) -> _Part:
        part = self._part(node, depth)
        if part.kind not in ("number", None):
            raise self._refuse(node, f"a {part.kind}", "a number to compute with")
        return part

    def _compare(self, node: ast.Compare, depth: int) -> _Part:
        left_node, left = node.left, self._part(node.left, depth + 1)
        parts = []
        for sign, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(sign, ast.In | ast.NotIn):
                if len(node.ops) > 1:
                    raise self._refuse(right_node, "a chain with 'in'", "it alone; join comparisons with 'and'")
                return self._membership(left, right_node, is_in=isinstance(sign, ast.In), depth=depth)
            right = self._part(right_node, depth + 1)
            if isinstance(sign, ast.Is | ast.IsNot):
                parts.append(self._null_test(left, right_node, right, is_null=isinstance(sign, ast.Is)))
            else:
                word, compare = _COMPARISONS[type(sign)]
                one, other = self._same_kind(left_node, left, right_node, right)
                parts.append(_Part("boolean", f"({one.sql} {word} {other.sql})", _apply(compare, one, other)))
            left_node, left = right_node, right
        return parts[0] if len(parts) == 1 else _all(parts)

    def _null_test(self, left: _Part, node: ast.expr, right: _Part, *, is_null: bool) -> _Part:
        if right.kind is not None:
            raise self._refuse(node, "a value", "null after 'is' (== compares)")
        sql = f"({left.sql} IS {'' if is_null else 'NOT '}NULL)"
        return _Part("boolean", sql, lambda row: (left.evaluate(row) is None) is is_null)

    def _membership(self, left: _Part, node: ast.expr, *, is_in: bool, depth: int) -> _Part:
        if not isinstance(node, ast.Tuple | ast.List | ast.Set) or not node.elts:
            raise self._refuse(node, "something else", "a list of values after 'in', such as ('a', 'b')")
        pairs = [self._same_kind(item, left, item, self._part(item, depth + 1)) for item in node.elts]
        word, compare = ("=", operator.eq) if is_in else ("<>", operator.ne)
        checks = [_Part("boolean", f"({a.sql} {word} {b.sql})", _apply(compare, a, b)) for a, b in pairs]
        return _any(checks) if is_in else _all(checks)

    def _same_kind(self, left: ast.expr, one: _Part, right: ast.expr, other: _Part) -> tuple[_Part, _Part]:
        if one.kind == "time" and other.literal is not None:
            other = self._moment(right, other.literal)
        elif other.kind == "time" and one.literal is not None:
            one = self._moment(left, one.literal)
        if one.kind != other.kind and None not in (one.kind, other.kind):
            raise self._refuse(right, f"a {other.kind}", f"a {one.kind}, as on the left of it")
        return one, other

    def _moment(self, node: ast.expr, text: str) -> _Part:
        try:
            moment = parse_moment(text)
        except ValueError as error:
            raise self._refuse(node, repr(text), "a moment such as '2013-04-01'") from error
        return _Part("time", f"CAST({quote_text(moment.isoformat())} AS TIMESTAMPTZ)", lambda _row: moment)


def _apply(compute: Callable[..., Any], *parts: _Part) -> Evaluate:
    """Compute with what the parts give; with a null among it, null."""
    evaluates = [part.evaluate for part in parts]

    def evaluate(row: Mapping[str, Any]) -> Any:
        values = [one(row) for one in evaluates]
        return None if None in values else compute(*values)

    return evaluate


def _divide(dividend: float, divisor: float) -> float | None:
    return dividend / divisor if divisor else None


def _any(parts: list[_Part]) -> _Part:
    return _Part("boolean", f"({' OR '.join(part.sql for part in parts)})", _decide(parts, winner=True))


def _all(parts: list[_Part]) -> _Part:
    return _Part("boolean", f"({' AND '.join(part.sql for part in parts)})", _decide(parts, winner=False))


def _decide(parts: list[_Part], *, winner: bool) -> Evaluate:
    def evaluate(row: Mapping[str, Any]) -> bool | None:
        values = [part.evaluate(row) for part in parts]
        return winner if winner in values else None if None in values else not winner

    return evaluate
