"""Whether a service asks for tokens, and what it says of that when it starts."""

from __future__ import annotations

from ipaddress import ip_address

from base.settings import Settings


def is_access_on(settings: Settings) -> bool:
    """Tell whether tokens are asked for: as ``EVERFIT_ACCESS`` says, or for ``auto`` unless bound to loopback.

    Examples
    --------
    >>> is_access_on(Settings(service_host="127.0.0.1")), is_access_on(Settings(service_host="0.0.0.0"))
    (False, True)
    """
    return settings.access == "on" or (settings.access == "auto" and not is_loopback(settings.service_host))


def is_loopback(host: str) -> bool:
    """Tell whether an address is heard on this machine alone.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.3.2.1", "::1", "0.0.0.0", "::", "db.example.org")]
    [True, True, True, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def describe_access(settings: Settings, *, n_tokens: int) -> str:
    """Say what holds, and how to change it."""
    host = settings.service_host
    if is_access_on(settings):
        if n_tokens:
            return f"access: tokens are asked for, {n_tokens} are good"
        return (
            "access: tokens are asked for, but there is none yet: only /healthz and /readyz answer; "
            "make one with `everfit tokens create NAME --role predict`"
        )
    if settings.access == "off":
        danger = "" if is_loopback(host) else f", and {host} is heard by other machines: anybody may ask"
        return f"access: off, as EVERFIT_ACCESS says{danger}"
    known = f"; {n_tokens} tokens are good, but not asked for" if n_tokens else ""
    return f"access: off, since {host} is heard on this machine alone{known}; EVERFIT_ACCESS=on asks for tokens"
