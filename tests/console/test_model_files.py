"""Claims about `everfit rehearse`, `everfit export` and `everfit signing-key`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from base.artifacts import ArtifactStore
from base.settings import Settings
from console.cli import run
from registry.manifest import ModelManifest
from registry.store import Registry
from registry.tables import ModelVersion
from serving.loading.proof import Proof
from tasks.onnx_export import PROBABILITY_TOLERANCE, add_onnx, compare, compile_deployed
from tests.pipelines import define, make_pipeline, make_trips, train
from tests.serving.models import promote, register_model

BOOSTING = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 5}}


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVERFIT_HOME", str(settings.home))
    return settings.home


def _ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_trained_version_has_an_onnx_form_and_leaves_with_an_example_that_runs(
    home: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    definition = define(train={"estimators": [BOOSTING]})
    trained = train(make_pipeline(tmp_path / "trips", make_trips(), definition), settings)
    artifacts = ArtifactStore.from_settings(settings)
    compiled = compile_deployed(trained.manifest, trained.judged.data, artifacts, trusted=())

    code, told = _ask(capsys, "export", "trips@1", "--onnx", str(tmp_path / "edge.onnx"))

    assert (code, compiled.onnx_reason) == (0, None)
    assert compiled.onnx is not None
    assert (tmp_path / "edge.onnx").read_bytes() == artifacts.read_bytes(compiled.onnx)
    assert told["example"] == str(tmp_path / "edge_example.py")
    assert told["said"].startswith("answer [")


def test_a_version_without_an_onnx_form_is_not_exported(
    home: Path, registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register_model(registry)

    code, told = _ask(capsys, "export", "trips@1", "--onnx", str(tmp_path / "edge.onnx"))

    assert (code, (tmp_path / "edge.onnx").exists()) == (4, False)
    assert told["kind"] == "NoCompiledForm"
    assert "trips@1 has no ONNX form that answers as it does" in told["error"]


@pytest.mark.parametrize("file", ["edge.pkl", "nowhere/edge.onnx"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_read(
    home: Path, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = _ask(capsys, "export", "trips", "--onnx", str(tmp_path / file))

    assert (code, told["kind"]) == (2, "ArgumentError")


def test_a_rehearsal_tells_champions_that_would_break_and_ends_with_4(
    home: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {
        "trips": Proof(agrees=True, n_rows=5032, max_difference=0.0),
        "fares": Proof(agrees=False, n_rows=5032, max_difference=0.25, n_different=3, error="it answers otherwise"),
    }
    monkeypatch.setattr("serving.loading.first_load.prove_with", lambda _s, _a, manifest, **_: found[manifest.model])
    promote(registry, register_model(registry))
    register_model(registry, name="fares")

    before = _ask(capsys, "rehearse", "--all")
    promote(registry, register_model(registry, name="fares"))
    after = _ask(capsys, "rehearse")

    assert [(each["model"], each["finding"]) for each in after[1]["versions"]] == [
        ("fares", "differs"),
        ("trips", "identical"),
    ]
    assert (before[0], before[1]["broken_champions"]) == (0, [])
    assert (after[0], after[1]["broken_champions"]) == (4, ["fares@2"])


def test_a_rehearsal_of_a_tampered_version_cannot_load_it(
    home: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    version = register_model(registry)
    promote(registry, version)
    with registry.database.write() as session:
        row = session.get_one(ModelVersion, version.id)
        row.manifest = dict(row.manifest) | {"seed": 99}
        session.add(row)

    code, told = _ask(capsys, "rehearse", "trips")

    assert code == 4
    assert told["versions"][0]["finding"] == "cannot load"
    assert "is not what was signed" in told["versions"][0]["problem"]


def test_a_new_signing_key_leaves_what_was_signed_loadable(
    home: Path, registry: Registry, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    version = register_model(registry)
    old = _ask(capsys, "signing-key")[1]

    new = _ask(capsys, "signing-key", "--new")[1]

    assert new["believed"] == [new["signs"], old["signs"]]
    assert run(["predict", "trips@1", "--rows", '{"distance": 3}']) == 0
    assert version.number == 1


def test_a_forest_that_would_take_long_is_left_for_later(settings: Settings, registry: Registry) -> None:
    manifest = ModelManifest.model_validate(register_model(registry).manifest)

    added = add_onnx(manifest, None, None, registry.artifacts, largest_bytes=10)  # type: ignore[arg-type]

    assert added.onnx is None
    assert "`everfit export trips` compiles it when asked" in (added.onnx_reason or "")


def test_a_compiled_form_that_disagrees_is_not_kept(registry: Registry) -> None:
    import numpy as np

    manifest = ModelManifest.model_validate(register_model(registry).manifest)
    expected = np.array([[0.5, 0.5], [0.8, 0.2]])

    near = compare(manifest, expected + np.array([[0, 5e-5], [0, 0]]), expected)
    far = compare(manifest, expected + np.array([[0, 0], [0, 2 * PROBABILITY_TOLERANCE]]), expected)
    other_class = compare(manifest, expected - np.array([[0, 1e-9], [0, 0]]), expected)

    assert (near.holds, far.holds, other_class.holds) == (True, False, False)
    assert "gives 1 of them another class" in other_class.describe()
