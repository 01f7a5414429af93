"""The process of a first load: it imports, reads which version, keeps to its limits, loads it, and writes the proof.

``python -m serving.loading.first_load_process`` is started by :class:`serving.loading.first_load.FirstLoad` alone.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from base.artifacts import ArtifactStore
from base.errors import EverfitError
from registry.manifest import ModelManifest
from serving.loading.proof import RESULT, Proof, StoredRows, needed_files, out_of_memory

_MOST_WRITTEN_BYTES = 256 << 20


def _answer() -> None:
    """Be the child: import, read the question, keep to the limits, write the proof."""
    import pyarrow.parquet  # noqa: F401
    import skops.io  # noqa: F401
    from sklearn import ensemble  # noqa: F401

    import serving.scoring.scorer  # noqa: F401

    question = json.loads(sys.stdin.buffer.read())
    _limit(question["memory_bytes"], question["seconds"])
    proof = _prove(question)
    Path(RESULT).write_text(proof.model_dump_json())


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
            error=out_of_memory(question["memory_bytes"]),
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
    from serving.loading.stored_rows import compare_examples, compare_reference
    from serving.loading.timing import time_rows
    from serving.scoring.examples import read_examples
    from serving.scoring.loaded import ModelDisagrees, load_compiled, load_scorer, load_unproven

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
    compiled_error = None
    if manifest.onnx is not None and error is None:
        try:
            # What serves is what is timed.
            scorer = load_compiled(artifacts, manifest, trusted=trusted)
        except Exception as refused:
            compiled_error = f"{type(refused).__name__}: {refused}"[:1000]
    taken = time_rows(scorer.score_rows, read_examples(artifacts, manifest.examples).rows)
    return Proof(
        agrees=error is None,
        error=error,
        error_kind=None if error is None else "ModelDisagrees",
        n_rows=sum(each.n_rows for each in comparisons),
        n_different=sum(each.n_different for each in comparisons),
        max_difference=max(each.max_difference for each in comparisons),
        is_row_wise=scorer.is_row_wise,
        compiled_agrees=None if manifest.onnx is None else error is None and compiled_error is None,
        compiled_error=compiled_error,
        load_seconds=load_seconds,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        one_row_p50_ms=taken.p50_ms,
        one_row_p95_ms=taken.p95_ms,
        n_timed_rows=taken.n_rows,
        n_timed_passes=taken.n_passes,
        size_bytes=sum(artifact.size_bytes for artifact in needed_files(manifest, "examples")),
    )


if __name__ == "__main__":
    _answer()
