"""Hints for the engineer: columns that look sensitive or personal by their names or values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from base.changes.profiles import ColumnProfile
from base.json_values import ColumnType
from base.rows.duck import quote_name, quote_text

if TYPE_CHECKING:
    import duckdb

_SENSITIVE = {
    "age": "age",
    "agep": "age",
    "birth|birthday|birthdate|birthyear|dob": "age",
    "gender|sex": "gender",
    "race|ethnicity|ethnic|rac1p|skin": "ethnicity",
    "religion|religious|faith": "religion",
    "nationality|citizenship|nativity": "origin",
    "disability|disabled|dis": "disability",
    "orientation|sexual": "sexual orientation",
    "pregnant|pregnancy|marital": "family",
    "diagnosis|disease": "health",
    "union|party|political": "convictions",
}
_PERSONAL = {
    "email|mail": "an e-mail address",
    "phone|telephone|mobile|fax": "a phone number",
    "firstname|lastname|surname|fullname|familyname": "a name",
    "first name|last name|family name|full name|customer name|user name": "a name",
    "street|address|postcode|zipcode|zip": "an address",
    "iban|account number|credit card|card number|cvv": "a bank account",
    "ssn|passport|social security|tax id|national id": "an identity number",
    "ip|ip address|ipaddress": "an internet address",
    "license plate|licence plate": "a number plate",
}
_VALUES = {
    "an e-mail address": r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$",
    "a phone number": r"^\+\d[\d ()/.-]{6,18}$",
    "a bank account": r"^[A-Z]{2}\d{2} ?[A-Z0-9]{4}( ?[A-Z0-9]{4}){2,6} ?[A-Z0-9]{0,4}$",
    "an internet address": r"^\d{1,3}(\.\d{1,3}){3}$",
}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LOOKED_AT = 10_000
_MOST_OF_THEM = 0.5


def find_hints(
    connection: duckdb.DuckDBPyConnection, view: str, columns: Mapping[str, ColumnProfile]
) -> dict[str, str]:
    """Suggest ``sensitive`` or ``personal`` where a column's name or values look so.

    Returns
    -------
    dict of column to a suggestion for people, who decide
    """
    hints = {}
    texts = [name for name, column in columns.items() if column.type == "text" and column.n_present]
    seen = _look_at_values(connection, view, texts)
    for name, column in columns.items():
        if what := seen.get(name) or name_personal(name, column.type):
            hints[name] = f"holds {what}, by the look of it? then personal: hash, or drop"
        elif what := name_sensitive(name):
            hints[name] = f"tells {what}, by its name? then sensitive: true keeps it from estimators"
    return hints


def name_sensitive(column: str) -> str | None:
    """Name what a column's name says of people that a model should not use, if it says any.

    Examples
    --------
    >>> name_sensitive("customerGender"), name_sensitive("age_years"), name_sensitive("mileage")
    ('gender', 'age', None)
    """
    return _find(column, _SENSITIVE)


def name_personal(column: str, kind: ColumnType) -> str | None:
    """Name what a column's name says that identifies a person, if it says any.

    Examples
    --------
    >>> name_personal("contact_email", "text"), name_personal("phone_calls", "integer")
    ('an e-mail address', None)
    """
    return _find(column, _PERSONAL) if kind == "text" else None


def _find(column: str, known: Mapping[str, str]) -> str | None:
    words = [word.lower() for word in _WORDS.findall(column)]
    said = f" {' '.join(words)} "
    compact = f" {''.join(re.findall(r'[a-z0-9]+', column.lower()))} "
    for keys, what in known.items():
        if any(f" {key} " in said or f" {key} " in compact for key in keys.split("|")):
            return what
    return None


def _look_at_values(connection: duckdb.DuckDBPyConnection, view: str, columns: list[str]) -> dict[str, str]:
    if not columns:
        return {}
    shares = [
        f"avg(CAST(regexp_matches({quote_name(name)}, {quote_text(pattern)}) AS INTEGER))"
        for name in columns
        for pattern in _VALUES.values()
    ]
    query = f"SELECT {', '.join(shares)} FROM (FROM {quote_name(view)} LIMIT {_LOOKED_AT})"
    row = connection.execute(query).fetchone() or ()
    pairs = [(name, what) for name in columns for what in _VALUES]
    return {
        name: what
        for (name, what), share in zip(pairs, row, strict=True)
        if share is not None and share > _MOST_OF_THEM
    }
