"""Claims about reproduction: the same things give the same model, and what moved is the first to differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.settings import Settings
from registry.manifest import ModelManifest
from registry.store import open_registry
from tasks.reproduction import ReproductionRequest, reproduce_version
from tests.pipelines import make_pipeline, make_trips, train

pytestmark = pytest.mark.slow


@pytest.fixture
def request_of_a_version(tmp_path: Path, settings: Settings) -> ReproductionRequest:
    """What a small training was made of; its folder says something else by now."""
    pipeline = make_pipeline(tmp_path / "trips", make_trips())
    trained = train(pipeline, settings)
    (tmp_path / "trips" / "features.py").write_text("def add_hour(frame):\n    return frame.assign(hour=0)\n")
    judged, manifest = trained.judged, ModelManifest.model_validate(trained.manifest)
    assert pipeline.contract is not None
    return ReproductionRequest(
        artifacts=open_registry(settings).artifacts.url,
        home=settings.home,
        spec=pipeline.spec.model_dump(mode="json"),
        contract=pipeline.contract.model_dump(mode="json"),
        code=manifest.code,
        snapshot=judged.snapshot,
        validated=judged.validated,
        data=judged.data,
        recipe=judged.candidates.recipe,
        judged=judged.candidates.model,
    )


def test_a_version_is_reproduced_whatever_its_folder_says_now(
    request_of_a_version: ReproductionRequest, tmp_path: Path
) -> None:
    result = reproduce_version(request_of_a_version, Settings(home=tmp_path / "clean"))

    assert result.problem is None
    assert {each.what: each.identical for each in result.compared} == {
        "validated rows": True,
        "prepared rows": True,
        "judged model": True,
        "predictions": True,
    }


def test_another_recipe_differs_at_the_model_and_says_by_how_much(
    request_of_a_version: ReproductionRequest, tmp_path: Path
) -> None:
    recipe = request_of_a_version.recipe
    other = recipe.model_copy(update={"parameters": recipe.parameters | {"max_depth": 1}})

    result = reproduce_version(
        request_of_a_version.model_copy(update={"recipe": other}), Settings(home=tmp_path / "clean")
    )

    first = next(each for each in result.compared if not each.identical)
    assert first.what == "judged model"
    assert "rows differ, by at most" in result.compared[-1].told
    assert not result.compared[-1].told.endswith("by at most 0")


def test_a_snapshot_that_is_gone_is_named(request_of_a_version: ReproductionRequest, tmp_path: Path) -> None:
    segment = request_of_a_version.snapshot.rows.segments[0].artifact
    (Path(request_of_a_version.artifacts) / segment.key).unlink()

    result = reproduce_version(request_of_a_version, Settings(home=tmp_path / "clean"))

    assert result.missing
    assert segment.digest[:12] in str(result.problem)
