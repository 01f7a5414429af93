"""Claims about TLS: a mistake in its files is named before anything listens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from base.errors import ArgumentError
from base.settings import Settings
from serving.operation.tls import tls_options

pytest.importorskip("cryptography", reason="cryptography is not installed: it makes the certificates")


def _make_pair(folder: Path, name: str) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def test_a_certificate_and_its_key_turn_tls_on(tmp_path: Path) -> None:
    certificate, key = _make_pair(tmp_path, "one")

    options = tls_options(Settings(tls_certificate=certificate, tls_key=key, tls_client_ca=certificate))

    assert options["ssl_certfile"] == str(certificate)
    assert "ssl_cert_reqs" in options
    assert tls_options(Settings()) == {}


def test_a_key_of_another_certificate_a_missing_file_and_no_pem_are_named(tmp_path: Path) -> None:
    certificate, _ = _make_pair(tmp_path, "one")
    _, other = _make_pair(tmp_path, "two")
    text = tmp_path / "text"
    text.write_text("no key")

    for key, told in (
        (other, "does not belong to the certificate"),
        (tmp_path / "gone", "EVERFIT_TLS_KEY is .*gone.*cannot be read"),
        (text, "cannot be used"),
    ):
        with pytest.raises(ArgumentError, match=told):
            tls_options(Settings(tls_certificate=certificate, tls_key=key))
    with pytest.raises(ArgumentError, match="EVERFIT_TLS_CERTIFICATE is not set"):
        tls_options(Settings(tls_key=other))
