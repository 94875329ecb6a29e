"""TLS for feeds: 1.2 or later, forward secrecy and AEAD only (BCP 195), clients by certificate where a feed says so."""

from __future__ import annotations

import ssl
from pathlib import Path

from bridge.config import Feed
from bridge.errors import ConfigurationError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of 1.3 are all of this kind."""


def server_context(feed: Feed) -> ssl.SSLContext | None:
    """None for a feed in plain text. Raises ConfigurationError for files that cannot be used."""
    if not feed.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    assert feed.tls_certificate_file is not None
    name = "tls_certificate_file"
    try:
        context.load_cert_chain(feed.tls_certificate_file, feed.tls_key_file)
        if feed.tls_client_ca_file:
            name = "tls_client_ca_file"
            context.load_verify_locations(feed.tls_client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED if feed.tls_client_required else ssl.CERT_OPTIONAL
        if feed.tls_client_crl_file:
            name = "tls_client_crl_file"
            context.load_verify_locations(feed.tls_client_crl_file)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (OSError, ssl.SSLError) as fault:
        raise ConfigurationError([f"hl7.feed {feed.name}: {name}: {type(fault).__name__}"]) from None
    return context


def client_context(authority: Path, certificate: Path | None, key: Path | None, *, what: str) -> ssl.SSLContext:
    """For one who sends: the server is checked against `authority`. Raises ConfigurationError naming `what`."""
    try:
        context = ssl.create_default_context(cafile=str(authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as fault:  # ssl.SSLError too
        raise ConfigurationError([f"{what}: its TLS files: {fault.strerror}"]) from None
    return context
