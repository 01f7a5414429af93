"""What a command works on: the settings of this installation, and its registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import ArgumentError, nearest
from base.settings import SECRET_SETTINGS, Settings

if TYPE_CHECKING:
    from registry.store import Registry


def read_settings() -> Settings:
    """Read the settings.

    Raises
    ------
    ArgumentError
        If one has a wrong value; it names the environment variable.
    """
    from pydantic import ValidationError

    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"setting EVERFIT_{'.'.join(map(str, fault['loc'])).upper()} "
            f"is {'not what it should be' if fault['loc'][0] in SECRET_SETTINGS else repr(fault['input'])}, "
            f"expected {fault['msg'].removeprefix('Input should be ').removeprefix('Value error, expected ')}"
            for fault in error.errors(include_url=False)
        )
        raise ArgumentError(f"{faults}; it stands in the environment or in .env") from error


def read_environment(settings: Settings, given: str | None) -> str:
    """Return the environment that a command works on: the one given, or that of the settings.

    Raises
    ------
    ArgumentError
        If there is no such environment.
    """
    if given is None:
        return settings.environment
    from typing import get_args

    known = get_args(Settings.model_fields["environment"].annotation)
    if given not in known:
        raise ArgumentError(f"--environment is {given!r}, expected {', '.join(known)}{nearest(given, known)}")
    return given


def is_registry_new(settings: Settings) -> bool:
    """Tell whether no training has ever written to the registry of these settings."""
    url = settings.database
    return url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists()


def open_registry(settings: Settings) -> Registry:
    """Open the registry, for a command that needs one to be there.

    Raises
    ------
    ArgumentError
        If there is none yet: reading must not leave an empty one behind in any folder it was tried in.
    """
    if is_registry_new(settings):
        raise ArgumentError(
            f"there is no registry in {str(settings.home.absolute())!r}: nothing was trained here yet; "
            "run `everfit train` first, or set EVERFIT_HOME to where it was"
        )
    from registry import store

    return store.open_registry(settings)
