"""What the first load of a version is asked, and what it found."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from base.artifacts import Artifact
from registry.manifest import ModelManifest

RESULT = "proof.json"
"""The file in which the process of a first load leaves its proof."""

StoredRows = Literal["examples", "all"]
"""Which rows are answered: the examples, or the sample of judged rows that drift is measured against as well."""


class Proof(BaseModel):
    """What the first load of a version found.

    ``agrees`` is the answer to "may it serve?": it could be loaded and gives the answers that training gave.
    ``error`` says why not. ``compiled_agrees`` says the same of its compiled form, None where it has none.
    ``max_difference`` is the largest one between an answer and the recorded one, over ``n_rows`` stored rows.
    ``one_row_p95_ms`` is the time that a request's row takes alone, features included, by what serves: over
    ``n_timed_rows`` rows, of each its best of ``n_timed_passes``. ``size_bytes`` is that of the files that are loaded.
    """

    model_config = ConfigDict(frozen=True)

    agrees: bool
    error: str | None = None
    error_kind: str | None = None
    n_rows: int = 0
    max_difference: float | None = None
    n_different: int = 0
    is_row_wise: bool | None = None
    compiled_agrees: bool | None = None
    compiled_error: str | None = None
    load_seconds: float | None = None
    peak_memory_bytes: int | None = None
    one_row_p50_ms: float | None = None
    one_row_p95_ms: float | None = None
    n_timed_rows: int = 0
    n_timed_passes: int = 0
    size_bytes: int | None = None
    libraries: dict[str, str] = {}


def needed_files(manifest: ModelManifest, rows: StoredRows) -> list[Artifact]:
    """List the stored files that are loaded to answer *rows*."""
    states = [] if manifest.plan.states is None else [manifest.plan.states]
    reference = [manifest.reference] if rows == "all" else []
    compiled = [] if manifest.onnx is None else [manifest.onnx]
    return [manifest.model_file, manifest.examples, *manifest.code.values(), *states, *compiled, *reference]


def out_of_memory(memory_bytes: int) -> str:
    """Say that the limit of memory was reached."""
    return f"it needs more than {memory_bytes / 2**20:,.0f} MB of address space (EVERFIT_LOAD_MEMORY_BYTES)"
