"""Claims about the first load: it happens apart, within limits, and what goes wrong there is told, not suffered."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from base.artifacts import ArtifactCorrupt, ArtifactStore
from base.settings import Settings
from registry.manifest import ModelManifest
from registry.proofs import find_proof
from registry.store import Registry
from registry.tables import ModelVersion, ProofRow
from serving.loading.first_load import VersionNotProven, prove_version
from serving.loading.proof import Proof
from serving.loading.servability import Admission, ensure_proven
from tests.serving.conftest import open_client, wait_until
from tests.serving.models import promote, register_model

pytestmark = pytest.mark.slow

_CODE = """
import os, subprocess, time


def add_hour(frame):
    {body}
    return frame.assign(hour=frame["at"].dt.hour)
"""


def _with_code(artifacts: ArtifactStore, manifest: ModelManifest, body: str) -> ModelManifest:
    code = {"features.py": artifacts.put_bytes(_CODE.format(body=body).encode(), suffix=".py")}
    return manifest.model_copy(update={"code": code})


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Proof]:
    """What became of versions of all kinds, each in a process of its own, at the same time."""
    from registry.store import open_registry

    folder = tmp_path_factory.mktemp("proofs")
    registry = open_registry(Settings(home=folder / "home"))
    artifacts = registry.artifacts
    manifest = ModelManifest.model_validate(register_model(registry).manifest)
    os.environ["EVERFIT_PERSONAL_KEY"] = "a secret of this process"
    asked: dict[str, tuple[ModelManifest, dict[str, Any]]] = {
        "honest": (_with_code(artifacts, manifest, "assert 'EVERFIT_PERSONAL_KEY' not in os.environ"), {}),
        "hanging": (
            _with_code(artifacts, manifest, "subprocess.Popen(['sleep', '987654']); time.sleep(60)"),
            {"seconds": 1.0},
        ),
        "greedy": (_with_code(artifacts, manifest, "bytearray(3 << 30)"), {"memory_bytes": 2 << 30}),
        "crashing": (_with_code(artifacts, manifest, "os.abort()"), {}),
    }
    with ThreadPoolExecutor(3) as pool:
        found = dict(
            zip(asked, pool.map(lambda one: prove_version(artifacts, one[0], **one[1]), asked.values()), strict=True)
        )
    del os.environ["EVERFIT_PERSONAL_KEY"]
    registry.database.close()
    return found


def test_an_honest_version_agrees_and_is_measured_and_sees_no_secret(proofs: dict[str, Proof]) -> None:
    proof = proofs["honest"]

    assert (proof.agrees, proof.error, proof.n_rows, proof.max_difference) == (True, None, 5, 0.0)
    assert 0 < (proof.one_row_p50_ms or 0) <= (proof.one_row_p95_ms or 0)
    assert (proof.peak_memory_bytes or 0) > 50 << 20
    assert (proof.size_bytes or 0) > 1000
    assert proof.is_row_wise


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("hanging", "TimeoutError", "after 1 s"),
        ("greedy", "UserCodeError", "MemoryError"),
        ("crashing", "ProcessDied", "SIGABRT"),
    ],
)
def test_what_cannot_serve_is_told_as_data(proofs: dict[str, Proof], name: str, kind: str, said: str) -> None:
    proof = proofs[name]

    assert (proof.agrees, proof.error_kind) == (False, kind)
    assert said in str(proof.error)


def test_nothing_that_it_started_remains(proofs: dict[str, Proof]) -> None:
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _is_readable(path)]

    assert proofs["hanging"].error_kind == "TimeoutError"
    assert not any(b"987654" in command for command in commands)


def _is_readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def _set_proof(monkeypatch: pytest.MonkeyPatch, proof: Proof) -> list[str]:
    asked: list[str] = []

    def prove(_self: object, _artifacts: object, _manifest: ModelManifest, *, rows: str, **_: object) -> Proof:
        asked.append(rows)
        return proof

    monkeypatch.setattr("serving.loading.first_load.FirstLoad.start", lambda _self: None)
    monkeypatch.setattr("serving.loading.first_load.FirstLoad.prove", prove)
    return asked


@pytest.fixture
def unproven(registry: Registry) -> ModelVersion:
    """A version that was registered, and never loaded here."""
    version = register_model(registry)
    with registry.database.write() as session:
        session.delete(session.get_one(ProofRow, _key(ModelManifest.model_validate(version.manifest))))
    return version


def _key(manifest: ModelManifest) -> tuple[str, str]:
    from registry.proofs import digest_loaded, digest_loading

    return digest_loaded(manifest), digest_loading()


def test_a_proof_is_found_once_and_remembered(
    unproven: ModelVersion, registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _set_proof(monkeypatch, Proof(agrees=True, n_rows=5))
    manifest = ModelManifest.model_validate(unproven.manifest)

    proofs = [ensure_proven(registry, manifest, settings) for _ in range(3)]

    assert asked == ["examples"]
    assert [proof.n_rows for proof in proofs] == [5, 5, 5]


def test_a_version_of_other_libraries_answers_its_judged_rows_too(
    unproven: ModelVersion, registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _set_proof(monkeypatch, Proof(agrees=True))
    manifest = ModelManifest.model_validate(unproven.manifest)

    ensure_proven(registry, manifest.model_copy(update={"libraries": {"scikit-learn": "0.1"}}), settings)

    assert asked == ["all"]


def test_what_failed_is_not_remembered(
    unproven: ModelVersion, registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _set_proof(monkeypatch, Proof(agrees=False, error="it is slow today"))
    manifest = ModelManifest.model_validate(unproven.manifest)

    for _ in range(2):
        with pytest.raises(VersionNotProven, match="it is slow today"):
            ensure_proven(registry, manifest, settings)
    with registry.database.read() as session:
        assert find_proof(session, manifest) is None
    assert len(asked) == 2


def test_a_service_refuses_a_tampered_champion_and_serves_on(
    registry: Registry, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    promote(registry, register_model(registry))
    with open_client(settings, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        tampered = register_model(registry, inverted=True)
        with registry.database.write() as session:
            row = session.get_one(ModelVersion, tampered.id)
            row.manifest = dict(row.manifest) | {"threshold": 0.0}
            session.add(row)
        with caplog.at_level(logging.ERROR):
            promote(registry, tampered)
            wait_until(lambda: "is refused" in caplog.text, "the refusal")

        assert "version trips@2 is not what was signed" in caplog.text
        assert client.get("/v1/models").json()["models"][0]["version"] == 1


def test_a_file_that_was_changed_on_disk_is_refused_by_its_digest(
    unproven: ModelVersion, registry: Registry, settings: Settings
) -> None:
    manifest = ModelManifest.model_validate(unproven.manifest)
    Path(registry.artifacts.url, manifest.model_file.key).write_bytes(b"changed")

    with pytest.raises(ArtifactCorrupt, match=r"its content's digest is '[0-9a-f]{64}'"):
        Admission(registry, settings).admit(unproven)
