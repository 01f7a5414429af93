"""A feature function that looks at other rows is found, and one that looks at its own row passes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from base.errors import UserCodeError
from base.user_code import UserCode
from features.independence import LooksAtOtherRows, check_independence
from features.plan import apply_function

_FRAME = pd.DataFrame(
    {
        "at": pd.date_range("2013-01-01", periods=200, freq="h", tz="UTC"),
        "fare": np.random.default_rng(0).normal(10, 3, 200),
        "company": ["red", "blue", None, "green"] * 50,
    }
)


def _check(body: str, frame: pd.DataFrame = _FRAME) -> None:
    text = f"import numpy as np\nimport pandas as pd\ndef add(frame):\n    return frame.assign(x={body})\n"
    code = UserCode({"features.py": text.encode()})
    after = apply_function(frame, "features:add", code)
    check_independence("features:add", frame, after, partial(apply_function, path="features:add", code=code))


@pytest.mark.parametrize(
    "body",
    [
        "frame['fare'].mean()",
        "frame['fare'] / frame['fare'].max()",
        "frame['fare'].shift(-1)",
        "frame['fare'].shift(1)",
        "frame['fare'].rank()",
        "frame['fare'].cumsum()",
        "frame['fare'].rolling(3).mean()",
        "frame.groupby('company')['fare'].transform('mean')",
        "frame['at'].diff().dt.total_seconds()",
        "frame['at'].max()",
        "frame['company'].ffill()",
        "frame['company'].astype('category').cat.codes",
        "np.arange(len(frame))",
        "frame.index % 7",
        "len(frame)",
        "np.random.random(len(frame))",
        "frame['fare'] - frame['fare'].iloc[0]",
    ],
)
def test_a_feature_that_looks_at_other_rows_is_named(body: str) -> None:
    with pytest.raises(LooksAtOtherRows, match=r"'features:add' looks at other rows: column 'x' of row \d+ is"):
        _check(body)


@pytest.mark.parametrize(
    "body",
    [
        "np.log(frame['fare'].abs())",
        "frame['at'].dt.hour",
        "frame['at'] + pd.Timedelta('1h')",
        "frame['company'].str.upper()",
        "frame['company'].map({'red': 1})",
        "frame['company'].isin(['red'])",
        "frame['fare'].where(frame['fare'] > 10)",
        "frame['fare'].round().astype('Int64')",
        "frame.merge(pd.DataFrame({'company': ['red'], 'y': [1]}), how='left', on='company')['y']",
        "[None] * len(frame)",
        "3",
    ],
)
def test_a_feature_of_its_own_row_passes(body: str) -> None:
    _check(body)


def test_a_function_that_needs_many_rows_is_named() -> None:
    with pytest.raises(UserCodeError, match="works on all rows and not on a single one"):
        _check("0 / (len(frame) - 1)")


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_few_rows_are_judged_too(n_rows: int) -> None:
    _check("frame['fare'] * 2", _FRAME.head(n_rows))
