"""The first load of a version, in a process of its own with limits: what it does there, it cannot do to a service.

``python -m serving.first_load`` is that process. It loads the version as a service would, lets it answer the rows
whose answers are known, and writes down what came of it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from base.artifacts import Artifact, ArtifactStore
from base.errors import EverfitError
from registry.manifest import ModelManifest

if TYPE_CHECKING:
    from base.settings import Settings
    from serving.scorer import Scorer

MEMORY_BYTES = 4 << 30
"""Address space that the first load may take, unless the settings say otherwise."""

SECONDS = 60.0
"""How long the first load may take, unless the settings say otherwise."""

StoredRows = Literal["examples", "all"]
"""Which rows are answered: the examples, or the sample of judged rows that drift is measured against as well."""

# What the process inherits; the secrets of this one are none of a model's business.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_ROOT = Path(__file__).resolve().parents[1]
_RESULT = "proof.json"
_COMPLAINTS = "complaints.txt"
_MOST_RESULT_BYTES = 1 << 20
_MOST_WRITTEN_BYTES = 256 << 20
# Each row alone, as a request of one row is answered.
_TIMED_ANSWERS = 60
_TIMED_SECONDS = 0.8


class Proof(BaseModel):
    """What the first load of a version found.

    ``agrees`` is the answer to "may it serve?": it could be loaded and gives the answers that training gave.
    ``error`` says why not. ``max_difference`` is the largest one between an answer and the recorded one, over
    ``n_rows`` stored rows. ``one_row_p95_ms`` is the time that a request's row takes alone, features included, and
    ``size_bytes`` that of the files that are loaded.
    """

    model_config = ConfigDict(frozen=True)

    agrees: bool
    error: str | None = None
    error_kind: str | None = None
    n_rows: int = 0
    max_difference: float | None = None
    n_different: int = 0
    is_row_wise: bool | None = None
    load_seconds: float | None = None
    peak_memory_bytes: int | None = None
    one_row_p50_ms: float | None = None
    one_row_p95_ms: float | None = None
    size_bytes: int | None = None
    libraries: dict[str, str] = {}


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
                [sys.executable, "-P", "-m", "serving.first_load"],
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
            for artifact in _needed(manifest, rows):
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


def _needed(manifest: ModelManifest, rows: StoredRows) -> list[Artifact]:
    states = [] if manifest.plan.states is None else [manifest.plan.states]
    reference = [manifest.reference] if rows == "all" else []
    return [manifest.model_file, manifest.examples, *manifest.code.values(), *states, *reference]


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
        file = folder / _RESULT
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
        return Proof(agrees=False, error=_out_of_memory(memory_bytes), error_kind="MemoryError")
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return Proof(agrees=False, error=f"the process {ended} ({last or 'without a word'})", error_kind="ProcessDied")


def _out_of_memory(memory_bytes: int) -> str:
    return f"it needs more than {memory_bytes / 2**20:,.0f} MB of address space (EVERFIT_LOAD_MEMORY_BYTES)"


def _last_complaint(file: Path) -> str:
    with suppress(OSError), file.open("rb") as stream:
        stream.seek(max(file.stat().st_size - 4096, 0))
        lines = stream.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""
    return ""


def _answer() -> None:
    """Be the child: import, read the question, keep to the limits, write the proof."""
    import pyarrow.parquet  # noqa: F401
    import skops.io  # noqa: F401
    from sklearn import ensemble  # noqa: F401

    import serving.scorer  # noqa: F401

    question = json.loads(sys.stdin.buffer.read())
    _limit(question["memory_bytes"], question["seconds"])
    proof = _prove(question)
    Path(_RESULT).write_text(proof.model_dump_json())


def _limit(memory_bytes: int, seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_seconds = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_WRITTEN_BYTES, _MOST_WRITTEN_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The default of this signal ends the process, also in code that never comes back to the interpreter.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _prove(question: dict[str, Any]) -> Proof:
    from base.fingerprint import installed_versions

    manifest = ModelManifest.model_validate(question["manifest"])
    libraries = installed_versions(manifest.libraries)
    try:
        return _measure(manifest, question["rows"], tuple(question["trusted"])).model_copy(
            update={"libraries": libraries}
        )
    except MemoryError:
        return Proof(
            agrees=False,
            error=_out_of_memory(question["memory_bytes"]),
            error_kind="MemoryError",
            libraries=libraries,
        )
    except RecursionError:
        return Proof(agrees=False, error="it is nested without end", error_kind="RecursionError", libraries=libraries)
    except EverfitError as error:
        return Proof(agrees=False, error=str(error), error_kind=type(error).__name__, libraries=libraries)
    except Exception as error:
        described = f"{type(error).__name__}: {error}"[:1000]
        return Proof(agrees=False, error=described, error_kind=type(error).__name__, libraries=libraries)


def _measure(manifest: ModelManifest, rows: StoredRows, trusted: tuple[str, ...]) -> Proof:
    from serving.scorer import ModelDisagrees, load_scorer, load_unproven, read_examples
    from serving.stored_rows import compare_examples, compare_reference

    artifacts = ArtifactStore(str(Path("store").absolute()))
    error = None
    started = time.perf_counter()
    try:
        scorer = load_scorer(artifacts, manifest, trusted=trusted)
    except ModelDisagrees as disagreement:
        # By how much it differs is asked for, too.
        error, scorer = str(disagreement), load_unproven(artifacts, manifest, trusted=trusted)
    load_seconds = time.perf_counter() - started
    comparisons = [compare_examples(scorer, artifacts)]
    if rows == "all":
        comparisons.append(compare_reference(scorer, artifacts))
    if error is None:
        error = next((f"it {each.describe()}" for each in comparisons if not each.agrees), None)
    taken = _time_rows(scorer, read_examples(artifacts, manifest.examples).rows)
    return Proof(
        agrees=error is None,
        error=error,
        error_kind=None if error is None else "ModelDisagrees",
        n_rows=sum(each.n_rows for each in comparisons),
        n_different=sum(each.n_different for each in comparisons),
        max_difference=max(each.max_difference for each in comparisons),
        is_row_wise=scorer.is_row_wise,
        load_seconds=load_seconds,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        one_row_p50_ms=_quantile(taken, 0.5),
        one_row_p95_ms=_quantile(taken, 0.95),
        size_bytes=sum(artifact.size_bytes for artifact in _needed(manifest, "examples")),
    )


def _time_rows(scorer: Scorer, rows: Sequence[dict[str, Any]]) -> list[float]:
    taken: list[float] = []
    give_up = time.perf_counter() + _TIMED_SECONDS
    while rows and len(taken) < _TIMED_ANSWERS and time.perf_counter() < give_up:
        started = time.perf_counter()
        scorer.score_rows([rows[len(taken) % len(rows)]])
        taken.append(time.perf_counter() - started)
    return sorted(taken)


def _quantile(taken: Sequence[float], share: float) -> float | None:
    """Take a quantile of sorted seconds, in milliseconds."""
    return 1e3 * taken[min(int(share * len(taken)), len(taken) - 1)] if taken else None


if __name__ == "__main__":
    _answer()
