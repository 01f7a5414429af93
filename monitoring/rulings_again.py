"""The arbiter asked again: a ruling of the ledger, decided once more by the rule and the limits of its day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from base.times import parse_moment
from base.triggers_spec import TriggersSpec
from monitoring.arbiter import Circumstances, Wish, rule
from monitoring.first_arbiter import Circumstances as FirstCircumstances
from monitoring.first_arbiter import rule as first_rule


def rule_again(written: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Rule again on what the ledger names.

    Parameters
    ----------
    written : mapping
        The rule as the ledger holds it: name, version, parameters.
    inputs : mapping
        What it was given.

    Returns
    -------
    dict, or None
        ``outcome``, and from version 2 on ``not_before`` and ``into``; None where the inputs were not yet kept.
    """
    if written["version"] == 1:
        return _rule_first(written["parameters"], inputs)
    ruling = rule(
        Wish.model_validate(inputs["wish"]),
        Circumstances.model_validate(inputs["circumstances"]),
        TriggersSpec.model_validate(written["parameters"]),
    )
    return ruling.model_dump(mode="json", include={"outcome", "not_before", "into"})


def _rule_first(parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    if inputs.get("as_of") is None:
        return None
    last = inputs["last_training"]
    seen = FirstCircumstances(
        now=parse_moment(inputs["as_of"]),
        under_way=inputs["under_way"],
        last_training=None if last is None else parse_moment(last),
        cooldown=timedelta(seconds=parameters["cooldown_seconds"]),
    )
    return {"outcome": first_rule(inputs["alarm"] if inputs["trigger"] else None, seen).outcome}
