"""The profile that a version carries of its reference."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from base.settings import Settings
from monitoring.drift import ReferenceProfile, compare_labels, measure_drift, profile_reference
from registry.manifest import ModelManifest
from registry.needed_files import find_needed
from registry.store import Registry, open_registry
from tasks.frames import load_frame
from tests.pipelines import Trained, make_pipeline, make_trips, train
from tests.serving.models import register_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Registry]:
    folder = tmp_path_factory.mktemp("profile")
    settings = Settings(home=folder / "home")
    return train(make_pipeline(folder / "trips", make_trips(600)), settings), open_registry(settings)


def test_a_version_carries_the_profile_of_its_reference(trained: tuple[Trained, Registry]) -> None:
    model, registry = trained
    manifest = model.manifest

    stored = profile_reference(manifest, registry.artifacts)

    assert manifest.profile is not None
    reference = load_frame(registry.artifacts, manifest.reference)
    roles = {column.name: column.role for column in stored.columns}
    assert roles == dict.fromkeys(manifest.plan.features, "feature") | {"prediction": "prediction", "late": "label"}
    assert stored.n_rows == len(reference)
    label = next(column for column in stored.columns if column.role == "label")
    assert label.levels is not None
    n_late = int(reference["__target__"].sum())
    assert label.levels.counts == {"True": n_late, "False": len(reference) - n_late}


def test_a_version_without_a_profile_gets_the_same_one_from_its_reference(trained: tuple[Trained, Registry]) -> None:
    model, registry = trained
    older = ModelManifest.model_validate(model.manifest.model_dump(mode="json", exclude={"profile"}))

    assert older.profile is None
    assert profile_reference(older, registry.artifacts) == profile_reference(model.manifest, registry.artifacts)


def test_the_profile_of_a_version_is_never_cleaned_away(trained: tuple[Trained, Registry]) -> None:
    model, registry = trained

    with registry.database.read() as session:
        needed = find_needed(session)

    assert model.manifest.profile is not None
    assert model.manifest.profile.digest in needed


def test_the_reference_has_not_drifted_from_its_own_profile(trained: tuple[Trained, Registry]) -> None:
    model, registry = trained
    reference = load_frame(registry.artifacts, model.manifest.reference)

    profile = profile_reference(model.manifest, registry.artifacts)
    features = reference[list(model.manifest.plan.features)]
    report = measure_drift(profile, features, predictions=reference["__prediction__"]).report
    report = compare_labels(report, profile, reference["__target__"].map({0: False, 1: True}).astype(object))

    assert report.drifted == ()
    assert report.not_measured == {}
    assert {column.role for column in report.columns} == {"feature", "prediction", "label"}
    assert {column.p_value for column in report.columns} == {1.0}


def test_a_reference_without_targets_has_no_label(registry: Registry) -> None:
    version = register_model(registry)
    manifest = ModelManifest.model_validate(version.manifest)

    profile = profile_reference(manifest, registry.artifacts)

    assert {column.role for column in profile.columns} == {"feature", "prediction"}


def test_a_profile_of_a_later_form_is_refused(tmp_path: Path) -> None:
    document = pd.Series({"format": 2, "n_rows": 0, "columns": [], "sample": {}}).to_json()

    with pytest.raises(ValueError, match="format"):
        ReferenceProfile.model_validate_json(document)
