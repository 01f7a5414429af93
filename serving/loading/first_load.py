"""The first load of a version, in a process of its own with limits: what it does there, it cannot do to a service.

:mod:`serving.loading.first_load_process` is that process. It loads the version as a service would, lets it answer
the rows whose answers are known, and writes down what came of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from base.artifacts import Artifact, ArtifactStore
from base.errors import EverfitError
from registry.manifest import ModelManifest
from serving.loading.proof import RESULT, Proof, StoredRows, needed_files, out_of_memory

if TYPE_CHECKING:
    from base.settings import Settings

MEMORY_BYTES = 4 << 30
"""Address space that the first load may take, unless the settings say otherwise."""

SECONDS = 60.0
"""How long the first load may take, unless the settings say otherwise."""

# What the process inherits; the secrets of this one are none of a model's business.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_ROOT = Path(__file__).resolve().parents[2]
_COMPLAINTS = "complaints.txt"
_MOST_RESULT_BYTES = 1 << 20


class VersionNotProven(EverfitError):
    """A version did not come through its first load, and may not serve."""

    def __init__(self, model: str, proof: Proof) -> None:
        super().__init__(f"model {model!r} did not come through its first load: {proof.error}")
        self.proof = proof


def prove_version(
    artifacts: ArtifactStore,
    manifest: ModelManifest,
    *,
    trusted: Sequence[str] = (),
    rows: StoredRows = "examples",
    memory_bytes: int = MEMORY_BYTES,
    seconds: float = SECONDS,
) -> Proof:
    """Load a version in a process of its own and compare its answers with those that training gave.

    Whatever a hostile or broken version does there (run out of memory, hang, crash the interpreter) is data in the
    proof; nothing is raised but by the lack of a stored file.

    Parameters
    ----------
    rows : "examples" or "all"
        ``all`` answers the sample of judged rows of the manifest's reference too.
    memory_bytes : int
        Address space of the process (RLIMIT_AS); libraries alone map about 1.5 GB.
    seconds : float
        Wall time and CPU time from the moment that the libraries are loaded.

    Raises
    ------
    ArtifactMissing, ArtifactCorrupt
        If one of the version's files is gone or not what was stored.
    """
    with FirstLoad() as process:
        return process.prove(
            artifacts, manifest, trusted=trusted, rows=rows, memory_bytes=memory_bytes, seconds=seconds
        )


def prove_with(
    settings: Settings, artifacts: ArtifactStore, manifest: ModelManifest, *, rows: StoredRows = "examples"
) -> Proof:
    """Do as :func:`prove_version` within the limits and under the allow-list of the settings."""
    return prove_version(
        artifacts,
        manifest,
        trusted=settings.trusted_types,
        rows=rows,
        memory_bytes=settings.load_memory_bytes,
        seconds=settings.load_seconds,
    )


class FirstLoad:
    """A child process that imports the libraries now and loads one version when it is told which.

    Importing takes most of the time: whoever knows early that a version will come starts it early.
    """

    # Imports on a busy machine; after them, the limit of the load itself counts.
    _START_SECONDS = 60.0

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    def start(self) -> None:
        """Let the child import; nothing to do where it does already."""
        if self._child is not None:
            return
        self._folder = Path(tempfile.mkdtemp(prefix="everfit-first-load-"))
        with (self._folder / _COMPLAINTS).open("wb") as complaints:
            self._child = subprocess.Popen(
                # -P: a file in the working directory must not hide a package.
                [sys.executable, "-P", "-m", "serving.loading.first_load_process"],
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                start_new_session=True,
            )

    def close(self) -> None:
        """End the child with all that it has started, and delete its folder."""
        if self._child is not None:
            _kill(self._child)
            self._child = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> FirstLoad:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def prove(
        self,
        artifacts: ArtifactStore,
        manifest: ModelManifest,
        *,
        trusted: Sequence[str] = (),
        rows: StoredRows = "examples",
        memory_bytes: int = MEMORY_BYTES,
        seconds: float = SECONDS,
    ) -> Proof:
        """Prove one version, as :func:`prove_version` does; once for each process."""
        self.start()
        child, folder = self._child, self._folder
        if child is None or folder is None:
            raise EverfitError("the process of the first load was closed before it was asked")
        try:
            for artifact in needed_files(manifest, rows):
                _link(artifacts, artifact, folder / "store")
            question = {
                "manifest": manifest.model_dump(mode="json"),
                "trusted": list(trusted),
                "rows": rows,
                "memory_bytes": memory_bytes,
                "seconds": seconds,
            }
            with suppress(subprocess.TimeoutExpired):
                child.communicate(json.dumps(question).encode(), timeout=self._START_SECONDS + seconds)
            is_late = child.poll() is None
            _kill(child)
            return _read_proof(folder, child.returncode, is_late=is_late, seconds=seconds, memory_bytes=memory_bytes)
        finally:
            self.close()


def _environment() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # Each thread of a library maps memory of its own, and the limit is on what is mapped.
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
    # An estimator of the user's own is imported from where this process imports it.
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return inherited | single | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}


def _link(artifacts: ArtifactStore, artifact: Artifact, store: Path) -> None:
    target = store / artifact.key
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_symlink():
        target.symlink_to(artifacts.local_path(artifact).absolute())


def _kill(child: subprocess.Popen[bytes]) -> None:
    # All of its session: what it has started must not outlive it.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.stdin is not None:
        with suppress(BrokenPipeError):
            child.stdin.close()
    child.wait()


def _read_proof(folder: Path, code: int, *, is_late: bool, seconds: float, memory_bytes: int) -> Proof:
    with suppress(FileNotFoundError, ValidationError, ValueError):
        file = folder / RESULT
        if not is_late and code == 0 and file.stat().st_size <= _MOST_RESULT_BYTES:
            return Proof.model_validate_json(file.read_bytes())
    last = _last_complaint(folder / _COMPLAINTS)
    if is_late or code in (-signal.SIGXCPU, -signal.SIGALRM):
        return Proof(
            agrees=False,
            error=f"it was not loaded and answering after {seconds:g} s (EVERFIT_LOAD_SECONDS)",
            error_kind="TimeoutError",
        )
    if "MemoryError" in last or code == -signal.SIGKILL:
        return Proof(agrees=False, error=out_of_memory(memory_bytes), error_kind="MemoryError")
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return Proof(agrees=False, error=f"the process {ended} ({last or 'without a word'})", error_kind="ProcessDied")


def _last_complaint(file: Path) -> str:
    with suppress(OSError), file.open("rb") as stream:
        stream.seek(max(file.stat().st_size - 4096, 0))
        lines = stream.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""
    return ""
