"""Read a fitted estimator, if the file is what it should be and all its types are on the allow-list."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from base.model_files.allow_list import NEVER_TRUSTED, TRUSTED_TYPES
from base.model_files.archive import ModelFileRefused, check_archive
from base.model_files.input_checks import find_input_checks, make_input_check

__all__ = ["ModelFileRefused", "load_model"]


def load_model(data: bytes, *, trusted: Iterable[str] = ()) -> Any:
    """Read a fitted estimator, if all its types are on the allow-list.

    Parameters
    ----------
    trusted : iterable of str
        Types allowed beside :data:`TRUSTED_TYPES`, from the settings.

    Raises
    ------
    ModelFileRefused
        Naming the types that are not allowed, or that the file is broken.
    """
    import warnings

    import skops.io
    from sklearn.exceptions import InconsistentVersionWarning

    # Said once for each estimator within; what another release of scikit-learn answers is compared before it serves.
    warnings.filterwarnings("ignore", category=InconsistentVersionWarning)
    allowed = TRUSTED_TYPES | frozenset(trusted)
    if never := sorted(name for name in allowed if name.startswith(NEVER_TRUSTED)):
        raise ModelFileRefused(f"{', '.join(never)} can run any code; take it out of EVERFIT_TRUSTED_TYPES", never)
    check_archive(data)
    try:
        needed = set(skops.io.get_untrusted_types(file=io.BytesIO(data)))
    except Exception as error:
        raise ModelFileRefused(f"it is no skops file ({type(error).__name__}: {error})") from error
    foreign = sorted(needed - allowed)
    if unknown := [name for name in foreign if not _has_package(name)]:
        raise ModelFileRefused(
            f"it holds {', '.join(unknown)}, which no library that is installed here gives; it was written with other "
            "ones: load it with those, or train it again with these",
            foreign,
        )
    if foreign:
        raise ModelFileRefused(
            f"it holds {', '.join(foreign)}, which may not be loaded; "
            "if you trust them, name them in EVERFIT_TRUSTED_TYPES",
            foreign,
        )
    try:
        model = skops.io.load(io.BytesIO(data), trusted=sorted(needed))
    except Exception as error:
        raise ModelFileRefused(f"it cannot be read ({type(error).__name__}: {error})") from error
    for each in find_input_checks(model):
        each.func = make_input_check()
    return model


def _has_package(name: str) -> bool:
    """Tell whether there is a package of a type's name; it is looked for, and not imported."""
    from importlib.util import find_spec

    try:
        return find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False
