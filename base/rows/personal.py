"""Personal columns: dropped, or replaced by a keyed hash, before anything is stored."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from base.contract import ColumnRule, DataContract
from base.errors import ArgumentError
from base.key_files import KEY_BYTES, draw_key, is_key
from base.settings import Settings
from base.times import parse_moment

if TYPE_CHECKING:
    import pyarrow as pa

_HASH_BYTES = 16
_SHORTEST_SECRET = 16
_KEY_FILE = "personal.key"


def personal_key(settings: Settings) -> bytes:
    """Return the installation's secret key, by which personal values are hashed.

    It is ``EVERFIT_PERSONAL_KEY`` where that is set; else it is drawn once and kept in the home folder, readable
    by its owner alone. Two processes that draw it at the same moment end with the same key. Machines that share a
    database must share the key too: with another one, the same person gets another hash.

    Raises
    ------
    ArgumentError
        If the key is too short to be a secret, or the key's file is damaged.
    """
    if settings.personal_key is not None:
        secret = settings.personal_key.get_secret_value()
        if len(secret) < _SHORTEST_SECRET:
            raise ArgumentError(
                f"EVERFIT_PERSONAL_KEY has {len(secret)} characters, expected at least {_SHORTEST_SECRET}; "
                "take a random one, such as `openssl rand -hex 32` prints"
            )
        return hashlib.sha256(secret.encode()).digest()
    file = settings.home.absolute() / _KEY_FILE
    if not file.exists():
        draw_key(file)
    text = file.read_text().strip()
    if not is_key(text):
        raise ArgumentError(
            f"file {str(file)!r} holds no key, expected {2 * KEY_BYTES} hexadecimal digits; restore it from a backup: "
            "with a new key, the values that are hashed already are never met again"
        )
    return bytes.fromhex(text)


def name_key(key: bytes) -> str:
    """Name a key without telling it: hashes can be compared where the names are equal.

    Examples
    --------
    >>> name_key(b"one" * 10) == name_key(b"one" * 10) != name_key(b"two" * 10)
    True
    """
    return hashlib.blake2b(b"everfit personal key", key=key, digest_size=8).hexdigest()


def hash_value(value: object, key: bytes) -> str | None:
    """Hash one value under a key (BLAKE2b, 128 bits); what is missing stays missing.

    Equal values give equal hashes in every column, so that joins and categories still work; a number is hashed
    by its value, whatever type it is stored in, and a moment in UTC.

    Examples
    --------
    >>> hash_value(9, b"key") == hash_value(9.0, b"key") == hash_value("9", b"key")
    True
    >>> hash_value(None, b"key") is None
    True
    """
    text = _write(value)
    if text is None:
        return None
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=_HASH_BYTES).hexdigest()


def protect_columns(table: pa.Table, contract: DataContract | None, key: bytes) -> pa.Table:
    """Drop and hash the columns that the contract calls personal; the others are not touched."""
    import pyarrow as pa

    for name, kind in _personal(contract).items():
        index = table.schema.get_field_index(name)
        if index < 0:
            continue
        if kind == "drop":
            table = table.remove_column(index)
        else:
            hashed = _hash_column(table.column(index), key)
            # What a reader left in the field's metadata may name values.
            table = table.set_column(index, pa.field(name, pa.string()), hashed)
    return table


def protect_rows(rows: Sequence[Mapping[str, Any]], contract: DataContract, key: bytes) -> list[dict[str, Any]]:
    """Drop and hash the personal values of JSON rows, as :func:`protect_columns` does with stored ones.

    The rows have passed the contract: a moment is hashed as a moment, however the client wrote it.
    """
    personal = _personal(contract)
    dropped = {name for name, kind in personal.items() if kind == "drop"}
    protected = []
    for row in rows:
        safe = {name: value for name, value in row.items() if name not in dropped}
        for name in personal.keys() & safe.keys():
            value = safe[name]
            if contract.columns[name].type == "time" and isinstance(value, str):
                value = parse_moment(value)
            safe[name] = hash_value(value, key)
        protected.append(safe)
    return protected


def protected_contract(contract: DataContract) -> DataContract | None:
    """Say what each row must be once it is protected: dropped columns are gone, hashes are text.

    What one row cannot tell is left out, and so are rules over columns whose values are no longer there.

    Returns
    -------
    DataContract or None
        None where every column is dropped.
    """
    columns = {
        name: rule
        if rule.personal is None
        else ColumnRule(type="text", nullable=rule.nullable, severity=rule.severity, sensitive=rule.sensitive)
        for name, rule in contract.columns.items()
        if rule.personal != "drop"
    }
    rules = tuple(rule for rule in contract.rules if not _personal(contract).keys() & set(rule.columns))
    return DataContract(columns=columns, rules=rules) if columns else None


def has_personal(contract: DataContract | None) -> bool:
    """Tell whether a contract calls any column personal."""
    return bool(_personal(contract))


def _personal(contract: DataContract | None) -> dict[str, str]:
    rules = {} if contract is None else contract.columns
    return {name: rule.personal for name, rule in rules.items() if rule.personal is not None}


def _hash_column(column: pa.ChunkedArray, key: bytes) -> pa.ChunkedArray:
    import pyarrow as pa

    if pa.types.is_nested(column.type):
        return pa.chunked_array([_hash_each(column.to_pylist(), key)], pa.string())
    # Each distinct value of a chunk is hashed once; people come back.
    chunks = []
    for chunk in column.chunks:
        encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        chunks.append(_hash_each(encoded.dictionary.to_pylist(), key).take(encoded.indices))
    return pa.chunked_array(chunks, pa.string())


def _hash_each(values: Iterable[object], key: bytes) -> pa.Array:
    import pyarrow as pa

    return pa.array([hash_value(value, key) for value in values], pa.string())


def _write(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment.isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
