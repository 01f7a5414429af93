"""Values that a version's signature calls impossible, and rows of the log that show what is strange in a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.contract_rules import ColumnRule
from base.request_contract import RequestContract
from monitoring.drift import DriftReport
from serving.log.frames import shown_name

Mask = npt.NDArray[np.bool_]

# A few rows show what is wrong; who wants all of them asks the log.
_MOST_EXAMPLES = 5
_NOTABLE_SHARE = 0.02


def find_impossible(traffic: pd.DataFrame, contract: RequestContract) -> dict[str, Mask]:
    """Find the served rows whose values are out of range or no allowed category, by column.

    Columns without one are left out. The service has refused what breaks the signature, unless a rule's severity is
    ``warn``, another version's signature allowed it, or the rows came in by another way. A missing value is no matter
    of the contract here: gaps are measured beside the reference's. Of a personal column only hashes are in the log.

    Parameters
    ----------
    traffic : DataFrame of shape (n_rows, …)
        As :func:`serving.log.traffic.read_traffic` gives it.

    Examples
    --------
    >>> contract = RequestContract(columns={"age": ColumnRule(type="number", maximum=120, severity="warn")})
    >>> find_impossible(pd.DataFrame({"age": [30.0, 300.0, None]}), contract)["age"].tolist()
    [False, True, False]
    """
    found = {}
    for name, rule in contract.columns.items():
        shown = shown_name(name)
        if rule.personal is None and shown in traffic and (mask := _break_rule(traffic[shown], rule)).any():
            found[name] = mask
    return found


def find_examples(
    report: DriftReport, features: pd.DataFrame, ids: pd.Series[Any], impossible: Mapping[str, Mask]
) -> dict[str, tuple[str, ...]]:
    """Name a few rows that show what is strange in a column: an impossible value, a gap, a new category, another unit.

    Parameters
    ----------
    ids : Series of shape (n_rows,)
        Of the rows of *features*.
    impossible : mapping of str to array of shape (n_rows,)
        As :func:`find_impossible` gives it.
    """
    found = {column: tuple(ids[mask].head(_MOST_EXAMPLES)) for column, mask in impossible.items()}
    for finding in report.features:
        if finding.column not in features or finding.column in found:
            continue
        column = features[finding.column]
        if finding.missing_current - finding.missing_reference > _NOTABLE_SHARE:
            chosen = column.isna()
        elif finding.new_share > _NOTABLE_SHARE:
            chosen = column.astype(str).isin(finding.new_categories)
        elif finding.unit_ratio is not None:
            chosen = column.notna()
        else:
            continue
        found[finding.column] = tuple(ids[chosen.to_numpy(dtype=bool)].head(_MOST_EXAMPLES))
    return found


def _break_rule(values: pd.Series[Any], rule: ColumnRule) -> Mask:
    broken = np.zeros(len(values), dtype=bool)
    if rule.minimum is not None or rule.maximum is not None:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        broken |= numbers < (-np.inf if rule.minimum is None else rule.minimum)
        broken |= numbers > (np.inf if rule.maximum is None else rule.maximum)
    if rule.earliest is not None or rule.latest is not None:
        moments = pd.to_datetime(values, errors="coerce", utc=True)
        if rule.earliest is not None:
            broken |= (moments < pd.Timestamp(rule.earliest)).to_numpy(dtype=bool)
        if rule.latest is not None:
            broken |= (moments > pd.Timestamp(rule.latest)).to_numpy(dtype=bool)
    if rule.categories is not None:
        broken |= (values.notna() & ~values.isin(rule.categories)).to_numpy(dtype=bool)
    if rule.max_length is not None:
        broken |= (values.str.len() > rule.max_length).fillna(False).to_numpy(dtype=bool)
    return broken
