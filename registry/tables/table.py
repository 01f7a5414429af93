"""What every table of the registry is."""

from __future__ import annotations

from sqlmodel import SQLModel


class Table(SQLModel):
    """A row of the registry; what checks and writes one as a document is built when somebody first asks for it.

    Nobody does: a row comes from the database or from code, and is written to the database. A process that serves would
    otherwise build it for every table before its first answer.
    """

    model_config = {"defer_build": True}
