"""Claims about moving an alias by hand: a version that would not serve is not promoted, and doubts are told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete
from sqlmodel import Session

from base.approval_spec import ApprovalSpec
from base.artifacts import Artifact
from base.settings import Settings
from base.signatures import signing_keys
from base.times import utc_now
from registry.approvals import answer_approval, ask_approval
from registry.manifest import ModelManifest
from registry.models import find_alias
from registry.signed_versions import sign_manifest
from registry.store import Registry
from registry.tables import ModelVersion, ProofRow
from tests.console.conftest import Everfit
from tests.registry.histories import History
from tests.serving.models import promote, register_model

Damage = Callable[[Registry, ModelVersion], None]


def _file(registry: Registry, version: ModelVersion) -> Path:
    return registry.artifacts.local_path(Artifact.model_validate(version.manifest["model_file"]))


def _lose_a_file(registry: Registry, version: ModelVersion) -> None:
    _file(registry, version).unlink()


def _flip_a_byte(registry: Registry, version: ModelVersion) -> None:
    file = _file(registry, version)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _change(registry: Registry, version: ModelVersion, **manifest: object) -> None:
    with registry.database.write() as session:
        stored = session.get_one(ModelVersion, version.id)
        stored.manifest = {**stored.manifest, **manifest}
        session.add(stored)


def _lower_the_threshold(registry: Registry, version: ModelVersion) -> None:
    _change(registry, version, threshold=0.01)


def _break_the_manifest(registry: Registry, version: ModelVersion) -> None:
    _change(registry, version, plan="none")


def _forget_proofs(session: Session) -> None:
    session.connection().execute(delete(ProofRow))


def _champion(registry: Registry, model: str) -> int | None:
    with registry.database.read() as session:
        alias = find_alias(session, registry.environment, model)
    return None if alias is None else alias.number


@pytest.fixture
def history(registry: Registry) -> History:
    """Two versions of ``churn`` that were champions one after the other, and one that was not."""
    history = History(registry)
    versions = [history.train(history.snapshot(history.segment())) for _ in range(3)]
    for version in versions[:2]:
        history.promote(version)
    return history


def _version(history: History, number: int) -> ModelVersion:
    from registry.models import find_version

    with history.registry.database.read() as session:
        found = find_version(session, "churn", number)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_lose_a_file, "is not in the store"),
        (_flip_a_byte, "was changed after it was written"),
        (_lower_the_threshold, "is not what was signed"),
        (_break_the_manifest, "its manifest is not one (plan)"),
    ],
)
def test_a_version_that_is_not_what_was_registered_is_not_promoted(
    everfit: Everfit, history: History, damage: Damage, message: str
) -> None:
    damage(history.registry, _version(history, 3))

    finished = everfit("promote", "churn@3", "--reason", "x")

    assert finished.code == 4
    assert message in finished.err
    assert "churn@3 would not serve, so nothing was moved in prod" in finished.err
    assert "`everfit versions churn` lists the others" in finished.err
    assert _champion(history.registry, "churn") == 2


def test_nothing_is_rolled_back_to_what_is_gone(everfit: Everfit, history: History) -> None:
    _lose_a_file(history.registry, _version(history, 1))

    finished = everfit("rollback", "churn", "--reason", "x")

    assert finished.code == 4
    assert "churn@1 would not serve, so nothing was moved in prod" in finished.err
    assert _champion(history.registry, "churn") == 2


@pytest.mark.parametrize(
    ("libraries", "is_proven", "is_warned"),
    [({}, False, False), ({"numpy": "0.1"}, False, True), ({"numpy": "0.1"}, True, False)],
)
def test_a_rollback_loads_nothing_and_warns_of_libraries_that_the_version_never_met(
    everfit: Everfit, history: History, libraries: dict[str, str], is_proven: bool, is_warned: bool
) -> None:
    _change(history.registry, _version(history, 1), libraries=libraries)
    with history.registry.database.write() as session:
        if not is_proven:
            _forget_proofs(session)
        manifest = ModelManifest.model_validate(_version(history, 1).manifest)
        stored = session.get_one(ModelVersion, _version(history, 1).id)
        signed = sign_manifest(manifest, signing_keys(Settings(home=Path(history.registry.artifacts.url).parent)))
        stored.manifest = signed.model_dump(mode="json")
        session.add(stored)

    # These files are no models: whoever loads them fails.
    finished = everfit("rollback", "churn", "--reason", "complaints")

    assert finished.code == 0
    assert ("churn@1 was trained with other libraries" in finished.err) == is_warned
    assert _champion(history.registry, "churn") == 1


def test_a_version_of_before_is_promoted_without_a_word_when_it_was_proven(everfit: Everfit, history: History) -> None:
    finished = everfit("promote", "churn@3", "--reason", "x")

    assert (finished.code, finished.err) == (0, "")


def test_a_version_that_no_gate_has_judged_is_promoted_with_a_warning(everfit: Everfit, history: History) -> None:
    with history.registry.database.write() as session:
        session.get_one(ModelVersion, _version(history, 3).id).verdict = {}

    finished = everfit("promote", "churn@3", "--reason", "brought from elsewhere")

    assert finished.code == 0
    assert "no gate has judged version 3" in finished.err


@pytest.mark.parametrize(
    ("is_answered", "message"),
    [(False, "version 3 waits for approval by 1"), (True, "version 3, and their answer was: rejected")],
)
def test_whoever_passes_people_over_is_told_what_they_said(
    everfit: Everfit, history: History, is_answered: bool, message: str
) -> None:
    version = _version(history, 3)
    with history.registry.database.write() as session:
        ask_approval(
            session,
            ApprovalSpec(needed=1, expires=timedelta(days=1)),
            version,
            environment="prod",
            revision=2,
            requester="anna",
            reason="better",
            now=utc_now(),
        )
        if is_answered:
            answer_approval(session, version.run_id, actor="ben", answer="reject", reason="no", now=utc_now())

    assert message in everfit("promote", "churn@3", "--reason", "it burns").err


@pytest.mark.slow
def test_a_version_that_was_never_loaded_is_loaded_first_and_only_once(everfit: Everfit, registry: Registry) -> None:
    promote(registry, register_model(registry))
    register_model(registry, inverted=True)
    with registry.database.write() as session:
        _forget_proofs(session)

    first = everfit("promote", "trips@2", "--reason", "by hand")
    everfit("promote", "trips@1", "--reason", "back")
    again = everfit("promote", "trips@2", "--reason", "once more")

    assert (first.code, again.code) == (0, 0)
    assert "trips@2 was never loaded with these libraries" in first.err
    assert "never loaded" not in again.err
    assert _champion(registry, "trips") == 2


@pytest.mark.slow
def test_a_model_that_answers_otherwise_than_it_did_is_not_promoted(everfit: Everfit, registry: Registry) -> None:
    promote(registry, register_model(registry))
    register_model(registry, wrong_examples=True)
    with registry.database.write() as session:
        _forget_proofs(session)

    finished = everfit("promote", "trips@2", "--reason", "by hand")

    assert finished.code == 4
    assert "did not come through its first load" in finished.err
    assert _champion(registry, "trips") == 1
