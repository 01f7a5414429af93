"""Claims about answers by column: rows that several versions answered stand in their order."""

from __future__ import annotations

import math

import numpy as np

from base.times import utc_now
from registry.store import Registry
from registry.tables import ModelVersion
from serving.answers import Answers, Part
from serving.loading.served import Served
from serving.protocols.answer_columns import columns_of
from serving.protocols.arrow_answer import AnswerStream
from serving.protocols.infer_answer import write_infer_answer
from serving.protocols.infer_body import InferRequest
from serving.scoring.asked import Answer
from tests.serving.models import load_version, register_model


def _part(registry: Registry, version: ModelVersion, values: list[list[float]], positions: list[int]) -> Part:
    scorer = load_version(registry, version)
    # Nobody asks a queue here.
    served = Served(version, scorer, None, utc_now())  # type: ignore[arg-type]
    return Part(served, Answer([f"id {place}" for place in positions], np.array(values), scorer), positions)


def test_rows_that_several_versions_answered_stand_in_their_order(registry: Registry) -> None:
    first, second = register_model(registry), register_model(registry, inverted=True)
    answers = Answers(
        3, [_part(registry, first, [[0.9, 0.1], [0.2, 0.8]], [0, 2]), _part(registry, second, [[0.4, 0.6]], [1])]
    )

    columns = columns_of(answers)
    written, _ = write_infer_answer("trips", InferRequest([], None, False, None), answers)

    assert (columns.ids, columns.predictions, columns.versions) == (
        ["id 0", "id 1", "id 2"],
        ["near", "far", "far"],
        [1, 2, 1],
    )
    assert columns.probabilities is not None
    assert columns.probabilities.tolist() == [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]
    assert b"model_version" not in written
    assert AnswerStream(answers.served.manifest).write(answers)


def test_what_a_version_does_not_know_has_no_probability(registry: Registry) -> None:
    first, second = register_model(registry), register_model(registry, kind="three classes")
    answers = Answers(2, [_part(registry, first, [[0.9, 0.1]], [1]), _part(registry, second, [[0.1, 0.2, 0.7]], [0])])

    columns = columns_of(answers)

    assert columns.predictions == ["2", "near"]
    assert columns.classes == ["near", "far", "0", "1", "2"]
    assert columns.probabilities is not None
    assert [math.isnan(share) for share in columns.probabilities[0]] == [True, True, False, False, False]
