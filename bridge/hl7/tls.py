"""TLS for feeds and destinations (BCP 195): a feed's clients by certificate where it says so."""

from __future__ import annotations

import ssl
from pathlib import Path

from bridge import tls
from bridge.config import Feed
from bridge.errors import ConfigurationError


def server_context(feed: Feed) -> ssl.SSLContext | None:
    """None for a feed in plain text. Raises ConfigurationError for files that cannot be used."""
    if feed.tls_certificate_file is None:
        return None
    files = tls.ServerFiles(
        feed.tls_certificate_file,
        feed.tls_key_file,
        feed.tls_client_ca_file,
        feed.tls_client_crl_file,
        feed.tls_client_required,
    )
    return tls.server_context(files, what=f"hl7.feed {feed.name}")


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
