"""Claims about how far a window lies outside the reference."""

from __future__ import annotations

import numpy as np
import pandas as pd

from monitoring.performance.error_model import learn_codes
from monitoring.performance.support import measure_support


def test_a_column_with_values_in_few_rows_breaks_nothing() -> None:
    draw = np.random.default_rng(0)
    reference = pd.DataFrame({"age": draw.normal(size=300), "rare": [1.0, *[np.nan] * 299]})
    window = pd.DataFrame({"age": draw.normal(size=100), "rare": np.full(100, np.nan)})
    codes = learn_codes(reference, numeric=["age", "rare"], categorical=[])

    found = measure_support(codes, reference, np.zeros(300), window, np.zeros(100))

    assert 0.2 < found.separability < 0.8
