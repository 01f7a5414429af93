"""A reference to a stored file, and what can be wrong with one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from base.errors import EverfitError


class Artifact(BaseModel):
    """A reference to a stored file: its content's digest and its size; the name ends as the file would."""

    model_config = ConfigDict(frozen=True)

    # A reference comes from a document; none may lead out of the store.
    digest: str = Field(pattern=r"^[0-9a-f]{2,}$")
    size_bytes: int = Field(ge=0)
    suffix: str = Field("", pattern=r"^[^/\\\x00]*$")

    @property
    def key(self) -> str:
        """Where the file lies below the store's root.

        Examples
        --------
        >>> Artifact(digest="ab12", size_bytes=3, suffix=".json").key
        'sha256/ab/ab12.json'
        """
        return f"sha256/{self.digest[:2]}/{self.digest}{self.suffix}"


class ArtifactMissing(EverfitError):
    """A stored file that something refers to is gone."""

    def __init__(self, artifact: Artifact, store: str) -> None:
        super().__init__(
            f"artifact {artifact.key!r} is not in the store {store!r}; "
            "restore it from a backup, or run the pipeline again"
        )
        self.artifact = artifact


class ArtifactCorrupt(EverfitError):
    """A stored file is not what was written."""

    def __init__(self, artifact: Artifact, found: str) -> None:
        super().__init__(
            f"artifact {artifact.key!r} was changed after it was written: its content's digest is {found!r}; "
            "restore it from a backup, or delete it and run the pipeline again"
        )
        self.artifact = artifact
        self.found = found


class ArtifactNotStored(EverfitError):
    """A file could not be written into the store."""

    def __init__(self, store: str, problem: str, way_out: str) -> None:
        super().__init__(f"nothing was written into the store {store!r}: {problem}; {way_out}")
