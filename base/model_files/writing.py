"""Write a fitted estimator as a file that holds no function."""

from __future__ import annotations

import zipfile

from base.model_files.input_checks import find_input_checks


def dump_model(model: object, *, compression: int = 6) -> bytes:
    """Write a fitted estimator as a compressed skops file.

    A gradient boosting with ``categorical_features`` holds a functools.partial of scikit-learn's own making,
    which is left out and put back by :func:`load_model`: a file that may hold one could call any function.

    Parameters
    ----------
    compression : int, default=6
        From 1, quickly, to 9, tightly.
    """
    import skops.io

    checks = [(each, each.func) for each in find_input_checks(model)]
    try:
        for each, _ in checks:
            each.func = None
        data: bytes = skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED, compresslevel=compression)
    finally:
        for each, function in checks:
            each.func = function
    return data
