"""What a definition's sources hold now: their files by digest, and the sides to join."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from base.extract_spec import ExtractSpec
from base.fingerprint import digest_document, digest_file
from base.section import is_function
from base.sources.files import FileStates, SourceFile, describe_files, digest_states, find_files
from base.sources.joining import Side
from base.sources.reading import Content, Site, read_rows


@dataclass(frozen=True)
class Found:
    """The files of a definition's sources as they are now; a source that is no file has none."""

    main: list[SourceFile] | None
    states: FileStates | None
    sides: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str | None:
        """Digest of all there is, or None where only reading would tell."""
        if self.states is None or None in self.sides.values():
            return None
        # One source alone is its files' content, wherever it lies.
        return (
            digest_document({"main": digest_states(self.states), **self.sides})
            if self.sides
            else digest_states(self.states)
        )


def look_at_sources(spec: ExtractSpec, site: Site, known: FileStates | None) -> Found:
    """Find the files of all sources and digest them; those that did not change since are not read for it."""
    main, states = None, None
    if _is_files(spec.main_source.source):
        main = find_files(spec.main_source.source, site.folder, site.settings)
        states = describe_files(main, known)
    sides: dict[str, Any] = {}
    for name, side in spec.sides.items():
        sides[name] = None
        if _is_files(side.source):
            sides[name] = digest_states(describe_files(find_files(side.source, site.folder, site.settings)))
    return Found(main, states, sides)


def read_sides(spec: ExtractSpec, site: Site, into: Path, found: Found) -> tuple[list[Side], dict[str, str]]:
    """Read the sources that are joined to the main one, and digest what they hold."""
    sides, digests = [], {}
    for join in spec.join:
        folder = into / join.source
        folder.mkdir()
        content = read_rows(spec.sources[join.source], site, folder)
        sides.append(Side(join.source, content, join.on))
        digests[join.source] = found.sides.get(join.source) or _digest_content(content, folder)
    return sides, digests


def _digest_content(content: Content, folder: Path) -> str:
    if isinstance(content, Path):
        return digest_file(content)
    import pyarrow.parquet as pq

    # The rows of a query have no order of their own.
    ordered = (
        content.sort_by([(name, "ascending") for name in content.column_names]) if content.num_columns else content
    )
    pq.write_table(ordered, folder / "side.parquet")
    return digest_file(folder / "side.parquet")


def _is_files(source: str) -> bool:
    return bool(source) and not is_function(source)
