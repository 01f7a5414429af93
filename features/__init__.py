"""Floor 2: what a row of raw columns becomes before an estimator sees it."""
