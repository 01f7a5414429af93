"""`everfit export`: a version as one ONNX file, with a script that shows how to ask it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, EverfitError
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    import pandas as pd

    from console.output import Output
    from registry.manifest import ModelManifest
    from registry.store import Registry

_PATIENCE_SECONDS = 120
_SCRIPT = '''"""One row of {name}, answered by onnxruntime and numpy alone."""

from pathlib import Path

import numpy as np
import onnxruntime

# The features in their order; None is a missing value.{made}
NUMERIC = {numeric}
CATEGORICAL = {categorical}
MISSING_CATEGORY = {missing!r}
ROW = {row}
EXPECTED = {expected}  # {meaning}

session = onnxruntime.InferenceSession(Path(__file__).with_name({file!r}).read_bytes())
inputs = {{}}
if NUMERIC:
    numbers = [[np.nan if ROW[name] is None else ROW[name] for name in NUMERIC]]
    inputs["numeric"] = np.array(numbers, dtype=np.float32)
if CATEGORICAL:
    texts = [[MISSING_CATEGORY if ROW[name] is None else ROW[name] for name in CATEGORICAL]]
    inputs["categorical"] = np.array(texts, dtype=object)
answer = session.run(None, inputs)[0][0]
print("answer", np.round(answer, 6).tolist(), "expected", np.round(EXPECTED, 6).tolist())
if not np.allclose(answer, EXPECTED, rtol=1e-4, atol=1e-4):
    raise SystemExit("the answer is not what {name} gave in training")
'''


class ExampleFailed(EverfitError):
    """The example that was written beside an exported model does not run."""


def export_command(name: str, *, onnx: str, output: Output) -> None:
    """Write a version's ONNX form and an example that asks it; run the example once, in a process of its own.

    Raises
    ------
    ArgumentError
        If the file's name or folder is none.
    NoCompiledForm
        If the version has no ONNX form that agrees with it.
    ExampleFailed
        If the example does not answer as the version does.
    """
    file = _check_file(onnx)
    from base.atomic_files import write_atomically
    from registry.aliases import resolve_present
    from serving.loading.servability import Admission

    settings = read_settings()
    registry = open_registry(settings)
    with registry.database.read() as session:
        version = resolve_present(session, registry.environment, name)
    manifest = Admission(registry, settings).admit(version)
    called = f"{version.model}@{version.number}"
    rows = _judged_rows(registry, manifest)
    data = _find_onnx(registry, manifest, rows, settings.trusted_types, called)
    script = file.with_name(f"{file.stem}_example.py")
    text = _write_script(registry, manifest, settings.trusted_types, rows, called, file.name)
    write_atomically(file, data)
    write_atomically(script, text.encode())
    said = _run(script)
    output.say(f"{called} is in {file} ({len(data):,} bytes); {script} asks it: {said}")
    output.result({"version": called, "onnx": str(file), "size_bytes": len(data), "example": str(script), "said": said})


def _check_file(name: str) -> Path:
    file = Path(name).absolute()
    if file.suffix.lower() != ".onnx":
        raise ArgumentError(f"--onnx {name!r} has the ending {file.suffix!r}, expected .onnx")
    if not file.parent.is_dir():
        raise ArgumentError(f"--onnx {name!r}: there is no folder {str(file.parent)!r}; make it first")
    return file


def _judged_rows(registry: Registry, manifest: ModelManifest) -> pd.DataFrame:
    import pyarrow.parquet as pq

    rows: pd.DataFrame = pq.read_table(registry.artifacts.local_path(manifest.reference)).to_pandas()
    return rows


def _find_onnx(
    registry: Registry, manifest: ModelManifest, rows: pd.DataFrame, trusted: tuple[str, ...], called: str
) -> bytes:
    from base.model_files import load_model
    from tasks.onnx_export import NoCompiledForm, compile_version

    if manifest.onnx is not None:
        return registry.artifacts.read_bytes(manifest.onnx)
    try:
        # It was too large to be compiled on the way, or comes from before there was this; else the reason stands.
        return compile_version(
            manifest, load_model(registry.artifacts.read_bytes(manifest.model_file), trusted=trusted), rows
        )
    except NoCompiledForm as error:
        raise NoCompiledForm(
            f"{called} has no ONNX form that answers as it does: {error}; nothing was written"
        ) from error


def _write_script(
    registry: Registry,
    manifest: ModelManifest,
    trusted: tuple[str, ...],
    rows: pd.DataFrame,
    called: str,
    file: str,
) -> str:
    from base.compiled.columns import missing_text, read_columns
    from base.model_files import load_model

    plan = manifest.plan
    model: Any = load_model(registry.artifacts.read_bytes(manifest.model_file), trusted=trusted)
    row = rows.head(1)[list(plan.features)]
    answers = model.predict(row) if manifest.classes is None else model.predict_proba(row)
    expected = json.loads(json.dumps(answers[0].tolist()))
    encoding = dict(model.steps)["encode"]
    makers = [*plan.functions, *(["fitted features"] if plan.states is not None else [])]
    return _SCRIPT.format(
        name=called,
        made=f" They come as made by {json.dumps(makers)}." if makers else "",
        numeric=json.dumps(list(plan.numeric)),
        categorical=json.dumps(list(plan.categorical)),
        missing=missing_text(read_columns(encoding, plan.numeric, plan.categorical)),
        row=repr({str(name): _plain(value) for name, value in row.iloc[0].items()}),
        expected=expected,
        meaning=_describe_answer(manifest),
        file=file,
    )


def _describe_answer(manifest: ModelManifest) -> str:
    # What came with the data is quoted: a line break in a class would be a line of the script.
    if manifest.classes is None:
        return json.dumps(manifest.target)
    return f"the probabilities of {json.dumps(manifest.target)} = {json.dumps(list(manifest.classes))}"


def _plain(value: Any) -> object:
    if value is None or (isinstance(value, float) and math.isnan(value)) or value != value:  # noqa: PLR0124
        return None
    return value if isinstance(value, str) else float(value)


def _run(script: Path) -> str:
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    finished = subprocess.run(
        # -I: what it imports is what is installed, and nothing that lies about.
        [sys.executable, "-I", str(script)],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        env=environment,
        check=False,
    )
    if finished.returncode != 0:
        last = (finished.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ExampleFailed(f"the example {script} ended with code {finished.returncode}: {last}")
    return finished.stdout.strip()
