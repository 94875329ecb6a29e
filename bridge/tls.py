"""TLS for whoever listens: 1.2 or later, forward secrecy and AEAD only (BCP 195), clients by certificate."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import ConfigurationError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of 1.3 are all of this kind."""


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """Our certificate and key (None = in the same file); the authorities of clients, and what they have revoked."""

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None
    client_crl: Path | None = None
    client_required: bool = True


def server_context(files: ServerFiles, *, what: str) -> ssl.SSLContext:
    """Raises `ConfigurationError`, naming `what` and the setting, for files that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    name = "tls_certificate_file"
    try:
        context.load_cert_chain(files.certificate, files.key)
        if files.client_ca:
            name = "tls_client_ca_file"
            context.load_verify_locations(files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if files.client_required else ssl.CERT_OPTIONAL
        if files.client_crl:
            name = "tls_client_crl_file"
            context.load_verify_locations(files.client_crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (OSError, ssl.SSLError) as fault:
        raise ConfigurationError([f"{what}: {name}: {type(fault).__name__}"]) from None
    return context
