"""What a checkpoint of Great Expectations 1.x found, as ``result.describe()`` writes it; or one validation of it."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field

from serving.hooks.forms.checked import check_document
from serving.hooks.wish import Wish, cut_reason, join_some

NAME = "great_expectations"
_MOST_TOLD = 20


class _Expectation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    success: bool
    # As describe() writes them, or to_json_dict().
    kind: str = Field(
        "an expectation",
        validation_alias=AliasChoices("expectation_type", AliasPath("expectation_config", "type")),
    )
    column: str | None = Field(
        None,
        validation_alias=AliasChoices(
            AliasPath("kwargs", "column"), AliasPath("expectation_config", "kwargs", "column")
        ),
    )

    @property
    def words(self) -> str:
        return self.kind if self.column is None else f"{self.kind} of {self.column}"


class _Validation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    success: bool
    expectations: tuple[_Expectation, ...] = Field((), validation_alias=AliasChoices("expectations", "results"))


class _Checkpoint(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    success: bool
    validation_results: tuple[_Validation, ...]


def is_great_expectations(document: dict[str, Any]) -> bool:
    """Tell whether a document is the result of a checkpoint or of a validation."""
    return "success" in document and ("validation_results" in document or "results" in document)


def read_great_expectations(document: dict[str, Any]) -> Wish:
    """Read a result: broken data are no reason to train, and are recorded; whole data ask for nothing.

    Raises
    ------
    FaultsFound
        422, where it has another form.
    """
    whole = document if "validation_results" in document else {**document, "validation_results": [document]}
    checkpoint = check_document(_Checkpoint, whole)
    judged = [one for validation in checkpoint.validation_results for one in validation.expectations]
    failed = [one.words for one in judged if not one.success]
    facts = {"expectations": len(judged), "failed": failed[:_MOST_TOLD]}
    if checkpoint.success:
        return Wish(form=NAME, reason=f"all of {len(judged)} expectations were met", asks=False, facts=facts)
    reason = f"{len(failed)} of {len(judged)} expectations failed: {join_some(failed)}" if failed else "it failed"
    return Wish(form=NAME, reason=cut_reason(reason), blocked=cut_reason(f"broken data: {reason}"), facts=facts)
