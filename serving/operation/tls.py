"""TLS by settings: certificate and key are tried before the service binds, so that a mistake is named."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from base.errors import ArgumentError
from base.settings import Settings


def tls_options(settings: Settings) -> dict[str, Any]:
    """Return what uvicorn needs to serve by TLS; nothing where no certificate is set.

    Raises
    ------
    ArgumentError
        If a file is missing or is no PEM file, or the key does not match the certificate.
    """
    certificate = settings.tls_certificate
    if certificate is None:
        if settings.tls_key is not None or settings.tls_client_ca is not None:
            raise ArgumentError("EVERFIT_TLS_CERTIFICATE is not set, but EVERFIT_TLS_KEY or EVERFIT_TLS_CLIENT_CA is")
        return {}
    for name, file in (
        ("EVERFIT_TLS_CERTIFICATE", certificate),
        ("EVERFIT_TLS_KEY", settings.tls_key),
        ("EVERFIT_TLS_CLIENT_CA", settings.tls_client_ca),
    ):
        if file is not None:
            _check_readable(name, file)
    password = None if settings.tls_key_password is None else settings.tls_key_password.get_secret_value()
    _check_pair(certificate, settings.tls_key, password)
    options: dict[str, Any] = {
        "ssl_certfile": str(certificate),
        "ssl_keyfile": None if settings.tls_key is None else str(settings.tls_key),
        "ssl_keyfile_password": password,
    }
    if settings.tls_client_ca is not None:
        try:
            ssl.create_default_context(cafile=str(settings.tls_client_ca))
        except ssl.SSLError as error:
            raise ArgumentError(
                f"EVERFIT_TLS_CLIENT_CA is {str(settings.tls_client_ca)!r}, which holds no certificate; "
                "expected a PEM file of the authorities whose clients may ask"
            ) from error
        options |= {"ssl_ca_certs": str(settings.tls_client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return options


def _check_readable(name: str, file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise ArgumentError(f"{name} is {str(file)!r}, which cannot be read: {error.strerror}") from error


def _check_pair(certificate: Path, key: Path | None, password: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    where = f"{str(key or certificate)!r}"
    try:
        # Never None: OpenSSL would ask whoever sits at the terminal.
        context.load_cert_chain(certificate, key, password=password or "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ArgumentError(
                f"the key in {where} does not belong to the certificate in {str(certificate)!r}; "
                "see EVERFIT_TLS_KEY and EVERFIT_TLS_CERTIFICATE"
            ) from error
        raise ArgumentError(
            f"the certificate in {str(certificate)!r} and the key in {where} cannot be used "
            f"({error.reason or 'no PEM file, or a wrong password'}); expected PEM files, "
            "and EVERFIT_TLS_KEY_PASSWORD where the key has a password"
        ) from error
