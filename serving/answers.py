"""What a request for predictions gets, whatever protocol it came by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from base.errors import Fault
from serving.loading.served import Served
from serving.scoring.asked import Answer


class Part(msgspec.Struct, frozen=True, gc=False):
    """The rows of a request that one version answered; ``positions`` None: all of them."""

    served: Served
    answer: Answer
    positions: Sequence[int] | None = None

    def places(self, n_rows: int) -> Sequence[int]:
        """Where in the request the rows stand."""
        return range(n_rows) if self.positions is None else self.positions


class Answers(msgspec.Struct, frozen=True, gc=False):
    """What a request gets: an identifier, a prediction and the version that gave it for each row, in their order."""

    n_rows: int
    parts: Sequence[Part]
    warnings: Sequence[Fault] = ()

    @property
    def served(self) -> Served:
        """The version that answered, or the first of several."""
        return self.parts[0].served

    @property
    def version(self) -> int | None:
        """The version that answered all rows, or None where there are several."""
        numbers = {part.served.number for part in self.parts}
        return numbers.pop() if len(numbers) == 1 else None

    def documents(self) -> list[dict[str, Any]]:
        """The answers as the service's own protocol gives them; each with its version where there are several."""
        if len(self.parts) == 1:
            answer = self.parts[0].answer
            return answer.scorer.write(answer.ids, answer.values)
        found: list[dict[str, Any]] = [{}] * self.n_rows
        for part in self.parts:
            documents = part.answer.scorer.write(part.answer.ids, part.answer.values)
            for place, document in zip(part.places(self.n_rows), documents, strict=True):
                found[place] = {"id": document.pop("id"), "version": part.served.number, **document}
        return found
