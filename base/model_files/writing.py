"""Write a fitted estimator as a file that holds no function."""

from __future__ import annotations

import zipfile

from base.model_files.input_checks import find_input_checks
from base.model_files.kept import find_kept_models


def dump_model(model: object) -> bytes:
    """Write a fitted estimator as a compressed skops file.

    A gradient boosting with ``categorical_features`` holds a functools.partial of scikit-learn's own making,
    which is left out and put back by :func:`load_model`: a file that may hold one could call any function.
    """
    kept = find_kept_models()
    data = None if kept is None else kept.file_of(model)
    if data is None:
        # What is kept for a while is not packed tightly: that takes longer than the fit of a small model.
        data = _write_model(model, 6 if kept is None else 1)
        if kept is not None:
            kept.keep_file(model, data)
    return data


def _write_model(model: object, level: int) -> bytes:
    import skops.io

    checks = [(each, each.func) for each in find_input_checks(model)]
    try:
        for each, _ in checks:
            each.func = None
        data: bytes = skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED, compresslevel=level)
    finally:
        for each, function in checks:
            each.func = function
    return data
