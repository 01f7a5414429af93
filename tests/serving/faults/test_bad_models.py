"""Claims about champions and challengers that cannot serve: a real service refuses each, and the old one answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from sqlmodel import Session

from base.rollout_spec import RolloutSpec
from base.settings import Settings
from base.signatures import signing_keys
from registry.manifest import ModelManifest
from registry.proofs import digest_loaded, digest_loading
from registry.rollouts import start_rollout
from registry.signed_versions import sign_manifest
from registry.store import Registry
from registry.tables import ModelVersion, ProofRow
from tests.serving.conftest import wait_until
from tests.serving.faults.running import Load, run_service
from tests.serving.models import promote, register_model

pytestmark = pytest.mark.slow

_CODE = """
import os, time


def add_hour(frame):
    {body}
    return frame.assign(hour=frame["at"].dt.hour)
"""
Break = Callable[[Registry, ModelVersion, Settings], None]


def _change(registry: Registry, version: ModelVersion, settings: Settings, manifest: ModelManifest) -> None:
    """Give a version another manifest, honestly signed, that no first load has seen."""

    def forget(session: Session, known: ModelManifest) -> None:
        if (row := session.get(ProofRow, (digest_loaded(known), digest_loading()))) is not None:
            session.delete(row)

    with registry.database.write() as session:
        forget(session, manifest)
        row = session.get_one(ModelVersion, version.id)
        row.manifest = sign_manifest(manifest, signing_keys(settings)).model_dump(mode="json")
        session.add(row)


def _with_code(body: str) -> Break:
    def change(registry: Registry, version: ModelVersion, settings: Settings) -> None:
        code = {"features.py": registry.artifacts.put_bytes(_CODE.format(body=body).encode(), suffix=".py")}
        manifest = ModelManifest.model_validate(version.manifest).model_copy(update={"code": code})
        _change(registry, version, settings, manifest)

    return change


def _file_of_noise(registry: Registry, version: ModelVersion, settings: Settings) -> None:
    """A model file that is stored as it was made, and is none."""
    noise = registry.artifacts.put_bytes(b"PK\x03\x04 no model at all", suffix=".skops")
    manifest = ModelManifest.model_validate(version.manifest).model_copy(update={"model_file": noise})
    _change(registry, version, settings, manifest)


def _rotten_file(registry: Registry, version: ModelVersion, settings: Settings) -> None:
    """A model file that is not what was stored any more."""
    manifest = ModelManifest.model_validate(version.manifest)
    own = registry.artifacts.put_bytes(registry.artifacts.read_bytes(manifest.model_file) + b" ", suffix=".skops")
    Path(registry.artifacts.url, own.key).write_bytes(b"rotten")
    _change(registry, version, settings, manifest.model_copy(update={"model_file": own}))


def _as_it_is(_registry: Registry, _version: ModelVersion, _settings: Settings) -> None:
    """It answers its examples otherwise than they say; its proof is believed, its warming is not."""


_BROKEN: list[tuple[str, Break, str]] = [
    ("rotten", _rotten_file, "digest"),
    ("noise", _file_of_noise, ""),
    ("wrong answers", _as_it_is, "answers"),
    ("hanging", _with_code("time.sleep(600)"), "EVERFIT_LOAD_SECONDS"),
    ("greedy", _with_code("bytearray(8 << 30)"), "MemoryError"),
    ("crashing", _with_code("os.abort()"), "SIGABRT"),
    ("failing", _with_code("raise ValueError('not today')"), "not today"),
]


def _start_canary(registry: Registry, number: int) -> None:
    with registry.database.write() as session:
        start_rollout(
            session,
            "prod",
            "trips",
            kind="canary",
            challengers=[number],
            spec=RolloutSpec(),
            actor="test",
            reason="a test wants it",
        )


def test_champions_and_challengers_that_cannot_serve_are_refused_while_the_old_one_answers_every_request(
    settings: Settings, registry: Registry
) -> None:
    promote(registry, register_model(registry))
    broken = []
    for name, break_it, told in _BROKEN:
        version = register_model(registry, inverted=True, wrong_examples=name == "wrong answers")
        break_it(registry, version, settings)
        broken.append((version, told))
    good = register_model(registry, inverted=True)
    reasons: list[str] = []

    def is_refused(number: int) -> bool:
        refused = service.readiness()[1]["refused"].get("trips", {"version": 0, "reason": ""})
        reasons.append(refused["reason"])
        return bool(refused["version"] == number)

    with (
        run_service(settings.home, load_seconds=15, follow_seconds=0.1) as service,
        Load(service, n_clients=1, pause_seconds=0.01) as load,
    ):
        for version, told in broken:
            promote(registry, version)
            wait_until(partial(is_refused, version.number), f"the refusal of version {version.number}")
            assert told in reasons[-1]
            assert service.readiness()[0] == 200
        assert (set(load.versions), set(load.statuses), load.lost) == ({1}, {200}, {})

        promote(registry, good)
        wait_until(lambda: load.versions[good.number], "the good one")
        _start_canary(registry, broken[0][0].number)
        n_before = len(load.ids)
        wait_until(lambda: "the champion answers its share" in service.log.read_text(), "the challenger's refusal")
        load.wait_for_answers(100)

    assert len(load.ids) > n_before
    assert (set(load.versions), set(load.statuses), load.lost) == ({1, good.number}, {200}, {})
