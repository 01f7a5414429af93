"""Answers with their explanations: ``?explain=true`` and ``?explain=all``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal
from urllib.parse import parse_qs

import orjson

from serving.answers import Answers
from serving.explanations.explanation import NotExplained, RowExplanation, write_explanation
from serving.service import Service
from serving.web.problems import BodyRefused, describe_faults

Explain = Literal["predicted", "all"]
"""Which class of a row is explained, where there are more than two."""

_CHOICES: dict[str, Explain | None] = {"true": "predicted", "all": "all", "false": None}


def wants_explanations(query: bytes) -> Explain | None:
    """Tell whether a query asks for explanations, and of which classes.

    Raises
    ------
    BodyRefused
        422 for a value that is none.

    Examples
    --------
    >>> wants_explanations(b"explain=true"), wants_explanations(b"explain=all"), wants_explanations(b"a=explain")
    ('predicted', 'all', None)
    """
    # Most requests have no query at all.
    if b"explain" not in query:
        return None
    found = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("explain")
    if found is None:
        return None
    value = found[-1]
    if value not in _CHOICES:
        raise BodyRefused(422, f"the query has explain={value[:50]!r}, expected true, all or false")
    return _CHOICES[value]


async def write_explained(
    service: Service, name: str, rows: Sequence[dict[str, Any]], answers: Answers, explain: Explain
) -> bytes:
    """Write answers as the service's own protocol has them, each with its explanation."""
    explained: list[RowExplanation] = [NotExplained("no version answered it")] * answers.n_rows
    for part in answers.parts:
        places = list(part.places(answers.n_rows))
        own = [rows[place] for place in places]
        found = await service.explanations.explain(part.served, own, part.answer.values, per_class=explain == "all")
        for place, one in zip(places, found, strict=True):
            explained[place] = one
    return await service.run(partial(_write, name, answers, explained), n_rows=len(rows))


def _write(name: str, answers: Answers, explained: Sequence[RowExplanation]) -> bytes:
    documents = answers.documents()
    for document, found in zip(documents, explained, strict=True):
        document["explanation"] = write_explanation(found)
    whole: dict[str, Any] = {"model": name, "version": answers.version, "predictions": documents}
    if answers.warnings:
        whole["warnings"] = describe_faults(answers.warnings)
    return orjson.dumps(whole)
