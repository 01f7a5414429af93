"""Write a contract as YAML that people read and change: one line for each column, with what was seen beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from base.atomic_files import write_atomically
from base.contract import ColumnRule, DataContract, RowRule
from base.yaml_text import yaml_comment, yaml_scalar

_WIDEST_RULE = 76

_HEADING = """\
# What every row must be; rows that are not are set aside with the reason, and too many of them stop a training.
# Rules: type (number, integer, text, boolean, time), nullable (true), minimum, maximum, earliest, latest, categories,
# max_length; severity (quarantine; refuse stops the run, warn only tells), sensitive, personal (hash or drop).
# Limits that the world may outgrow should go; add those that you know to hold for ever.
"""


def write_contract(
    contract: DataContract, file: Path, *, notes: Mapping[str, str] | None = None, advice: Sequence[str] = ()
) -> None:
    """Write a contract's file whole or not at all."""
    write_atomically(file, compose_contract(contract, notes=notes, advice=advice).encode())


def compose_contract(
    contract: DataContract, *, notes: Mapping[str, str] | None = None, advice: Sequence[str] = ()
) -> str:
    """Compose a contract's text; it is read back equal.

    Examples
    --------
    >>> contract = DataContract(columns={"fare": ColumnRule(type="number", minimum=0)})
    >>> print(compose_contract(contract, notes={"fare": "3 to 90"}).splitlines()[-1])
      fare: {type: number, minimum: 0}  # 3 to 90
    """
    rules = {name: f"  {yaml_scalar(name)}: {_describe(rule)}" for name, rule in contract.columns.items()}
    width = max((len(text) for text in rules.values() if len(text) <= _WIDEST_RULE), default=0)
    lines = ["columns:"]
    for name, text in rules.items():
        note = (notes or {}).get(name)
        lines.append(f"{text.ljust(width)}  # {yaml_comment(note)}" if note else text)
    if contract.unique:
        keys = [yaml_scalar(key) if isinstance(key, str) else _list(key) for key in contract.unique]
        lines += ["", "# No two rows have the same value here.", f"unique: [{', '.join(keys)}]"]
        lines += [f"unique_severity: {contract.unique_severity}"] if contract.unique_severity != "refuse" else []
    if contract.distinct_rows is not None:
        lines += ["", "# No row repeats another one.", f"distinct_rows: {contract.distinct_rows}"]
    if contract.rules:
        lines += ["", "# What must hold for a row.", "rules:", *map(_describe_row_rule, contract.rules)]
    if contract.expectations:
        lines += ["", "# Great Expectations by name.", "expectations:"]
        lines += [f"  - {rule.model_dump_json(exclude_defaults=True)}" for rule in contract.expectations]
    if advice:
        lines += ["", *(f"# {yaml_comment(text)}" for text in advice)]
    return _HEADING + "\n".join(lines) + "\n"


def _describe(rule: ColumnRule) -> str:
    parts = {
        "type": rule.type,
        "nullable": None if rule.nullable else "false",
        "minimum": None if rule.minimum is None else _number(rule.minimum),
        "maximum": None if rule.maximum is None else _number(rule.maximum),
        "earliest": None if rule.earliest is None else yaml_scalar(rule.earliest.isoformat()),
        "latest": None if rule.latest is None else yaml_scalar(rule.latest.isoformat()),
        "categories": None if rule.categories is None else _list(rule.categories),
        "max_length": None if rule.max_length is None else str(rule.max_length),
        "severity": None if rule.severity == "quarantine" else rule.severity,
        "sensitive": "true" if rule.sensitive else None,
        "personal": rule.personal,
    }
    return "{" + ", ".join(f"{key}: {value}" for key, value in parts.items() if value is not None) + "}"


def _describe_row_rule(rule: RowRule) -> str:
    severity = "" if rule.severity == "quarantine" else f", severity: {rule.severity}"
    return f"  - {{name: {_quote(rule.name)}, expression: {_quote(rule.expression)}{severity}}}"


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(yaml_scalar, texts))}]"


def _quote(text: str) -> str:
    """Write text in double quotes, since an expression may hold any sign that YAML reads otherwise."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'
