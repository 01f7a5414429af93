"""What a pipeline's contract says of columns that feature views give: marks are held, and what cannot be is refused."""

from __future__ import annotations

from base.contract import ColumnRule
from base.errors import DefinitionError
from base.pipeline import Pipeline
from features.views import JoinedView

_SAYABLE = {"type", "sensitive", "personal"}


def mark_view(joined: JoinedView, pipeline: Pipeline) -> JoinedView:
    """Mark the columns that no model may see: those that the view calls sensitive, and those that the contract does.

    Raises
    ------
    DefinitionError
        If the contract says what nobody could hold: a range of a view's column, or that values are personal which
        the view stores as they are; or if a key is hashed on one side only, or may not be sent with a request.
    """
    rules = {} if pipeline.contract is None else pipeline.contract.columns
    view = joined.view
    for key, column in joined.keys.items():
        _check_key(joined, key, column, rules.get(column), pipeline)
    sensitive = []
    for feature, column in joined.columns.items():
        rule = rules.get(column)
        if rule is not None:
            _check_rule(joined, feature, column, rule, pipeline)
        if view.features[feature].sensitive or (rule is not None and rule.sensitive):
            sensitive.append(column)
    given = set(joined.columns.values())
    for row_rule in () if pipeline.contract is None else pipeline.contract.rules:
        if named := sorted(given & set(row_rule.columns)):
            raise _wrong(
                pipeline,
                f"rule {row_rule.name!r} names column {named[0]!r}, which feature view {view.name!r} gives after the "
                "rows are judged; judge it in the view's transformation",
            )
    return joined.model_copy(update={"sensitive": tuple(sensitive)})


def _check_key(joined: JoinedView, key: str, column: str, rule: ColumnRule | None, pipeline: Pipeline) -> None:
    name, is_hashed = joined.view.name, key in joined.view.entity.personal
    if rule is not None and rule.sensitive:
        raise _wrong(
            pipeline,
            f"column {column!r} is marked sensitive, so that no request carries it, but feature view {name!r} is "
            "looked up by it; take another key, or leave the view out",
        )
    if rule is not None and rule.personal == "drop":
        raise _wrong(
            pipeline,
            f"column {column!r} is dropped as personal, but feature view {name!r} is looked up by it; hash it "
            "(personal: hash)",
        )
    if is_hashed is not (rule is not None and rule.personal == "hash"):
        stored, rows = ("hashed", "not") if is_hashed else ("stored as it is", "hashed")
        raise _wrong(
            pipeline,
            f"key {key!r} of feature view {name!r} is {stored}, and column {column!r} of the rows is {rows}, so that "
            f"nothing would be found; write 'personal: hash' for the column in the contract and 'personal: [{key}]' in "
            "the view's entity, or neither",
        )


def _check_rule(joined: JoinedView, feature: str, column: str, rule: ColumnRule, pipeline: Pipeline) -> None:
    name, declared = joined.view.name, joined.view.features[feature]
    if unheld := sorted(rule.model_dump(exclude_defaults=True).keys() - _SAYABLE):
        raise _wrong(
            pipeline,
            f"column {column!r} is given by feature view {name!r} after the rows are judged, so that {unheld[0]!r} "
            f"cannot be held; of such a column a contract says {', '.join(sorted(_SAYABLE))}",
        )
    if rule.personal is not None and declared.personal is None:
        raise _wrong(
            pipeline,
            f"column {column!r} is marked personal, but feature view {name!r} stores it as it is; write 'personal: "
            f"{rule.personal}' for feature {feature!r} where the view is declared, and materialise it again",
        )
    if rule.type != declared.type and {rule.type, declared.type} != {"number", "integer"}:
        raise _wrong(
            pipeline, f"column {column!r} is {rule.type}, but feature view {name!r} gives it as {declared.type}"
        )


def _wrong(pipeline: Pipeline, problem: str) -> DefinitionError:
    contract = pipeline.spec.validate_data.contract
    return DefinitionError(problem, file=str(pipeline.file if contract is None else pipeline.folder / contract))
