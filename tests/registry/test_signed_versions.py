"""Claims about signed versions: whoever changes the registry's rows without the key changes nothing that is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from base.settings import Settings
from base.signatures import SignatureRefused, signing_keys
from registry.manifest import ModelManifest
from registry.signed_versions import read_version
from registry.store import Registry
from registry.tables import ModelVersion
from tests.serving.models import register_model


@pytest.fixture
def version(registry: Registry) -> ModelVersion:
    return register_model(registry)


def _tampered(version: ModelVersion, **changes: Any) -> ModelVersion:
    return ModelVersion.model_validate(version.model_dump() | {"manifest": dict(version.manifest) | changes})


def test_a_version_is_read_as_it_was_signed(version: ModelVersion, settings: Settings) -> None:
    manifest = read_version(version, signing_keys(settings))

    assert manifest == ModelManifest.model_validate(version.manifest)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"threshold": 0.01}, "is not what was signed"),
        ({"trusted": ["os.system"], "seed": 7}, "is not what was signed"),
        ({"model_file": {"digest": "ab" * 32, "size_bytes": 3, "suffix": ".skops"}}, "is not what was signed"),
        ({"code": {}}, "is not what was signed"),
        ({"run": None}, "is not what was signed"),
        ({"signature": None}, "is not signed"),
        ({"signature": "forged"}, "which is none"),
    ],
)
def test_a_changed_manifest_is_refused(
    version: ModelVersion, settings: Settings, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(SignatureRefused, match=f"version trips@1 .*{said}"):
        read_version(_tampered(version, **changes), signing_keys(settings))


def test_the_manifest_of_another_version_is_refused_in_this_ones_place(
    version: ModelVersion, registry: Registry, settings: Settings
) -> None:
    other = register_model(registry, inverted=True)

    with pytest.raises(SignatureRefused, match=r"trips@1 holds the manifest of model 'trips' from run"):
        read_version(_tampered(version, **other.manifest), signing_keys(settings))


def test_an_unsigned_version_passes_only_where_that_is_allowed(version: ModelVersion, settings: Settings) -> None:
    unsigned, wrong = _tampered(version, signature=None), _tampered(version, threshold=0.01)

    assert read_version(unsigned, signing_keys(settings), required=False).signature is None
    with pytest.raises(SignatureRefused):
        read_version(wrong, signing_keys(settings), required=False)


def test_a_field_that_a_later_release_adds_changes_no_signature(version: ModelVersion, settings: Settings) -> None:
    older = dict(version.manifest)
    for name in ("onnx", "onnx_reason", "report", "personal_key"):
        assert older.pop(name) is None

    read_version(ModelVersion.model_validate(version.model_dump() | {"manifest": older}), signing_keys(settings))
