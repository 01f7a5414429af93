"""Entities: what features are about, and the columns that name one of them."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from base.section import Section


class Entity(Section):
    """What a feature view describes, such as an airport, and the columns by which one is told from another.

    Examples
    --------
    >>> Entity(name="airport", keys=["origin"]).keys
    ('origin',)
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    keys: tuple[str, ...] = Field(min_length=1, description="Columns of the view's source, in order.")
    personal: tuple[str, ...] = Field(
        (), description="Keys that are hashed when events are stored, as the contract hashes those of the rows."
    )

    @field_validator("keys")
    @classmethod
    def _each_key_once(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(keys)) < len(keys):
            raise ValueError("expected each key once")
        return keys

    @model_validator(mode="after")
    def _personal_ones_are_keys(self) -> Entity:
        if unknown := [key for key in self.personal if key not in self.keys]:
            raise ValueError(f"personal names {unknown[0]!r}, expected keys: {', '.join(self.keys)}")
        return self
