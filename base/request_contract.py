"""The serving side of a contract: what a request's rows must be, and which columns are known but no inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from base.contract import ColumnRule, DataContract
from base.errors import Fault
from base.json_values import cut_text


class RequestContract(DataContract):
    """A model's signature: no target, nothing that is excluded, no rule that one row cannot keep or break.

    ``not_inputs`` are columns of the training data that a request must not bring, each with the reason.

    Examples
    --------
    >>> contract = RequestContract(
    ...     columns={"fare": ColumnRule(type="number")}, not_inputs={"tips": "the definition excludes it"}
    ... )
    >>> for fault in contract.find_faults([{"fare": 3, "tips": 1, "fair": 4}]):
    ...     print(fault)
    row 0, column 'tips': found a column that is not an input: the definition excludes it, expected a row without it
    row 0, column 'fair': found an unknown column, expected only known columns; did you mean 'fare'?
    """

    not_inputs: dict[str, str] = Field({}, description="Columns that are no inputs, with the reasons.")

    def _name_unknown(self, column: str, index: int) -> Fault:
        reason = self.not_inputs.get(column)
        if reason is None:
            return super()._name_unknown(column, index)
        found = f"a column that is not an input: {reason}"
        return Fault(cut_text(column), found, "a row without it", row=index)


def as_request_contract(value: Any) -> Any:
    """Take a plain contract as a signature, as manifests of before have it."""
    if isinstance(value, DataContract) and not isinstance(value, RequestContract):
        return RequestContract(columns=value.columns, rules=value.rules)
    return value


def restrict_to_inputs(
    contract: DataContract | None, inputs: Mapping[str, ColumnRule], not_inputs: Mapping[str, str]
) -> RequestContract:
    """Make the signature over a model's inputs; row rules stay where all their columns are inputs.

    Parameters
    ----------
    inputs : mapping of column to rule
        What a request may bring.
    not_inputs : mapping of column to reason
        Why other columns are none; a column of the contract without a reason is one that the model does not use.
    """
    known = {} if contract is None else contract.columns
    reasons = dict.fromkeys(known, "the model does not use it") | dict(not_inputs)
    return RequestContract(
        columns=dict(inputs),
        rules=tuple(rule for rule in contract.rules if set(rule.columns) <= inputs.keys()) if contract else (),
        not_inputs={name: reason for name, reason in reasons.items() if name not in inputs},
    )
