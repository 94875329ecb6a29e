"""Discovery (SMART App Launch 2.2, conformance): asked only of issuers that the site lists, kept for an hour."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bridge.clock import Clock
from bridge.config import SmartIssuer
from bridge.errors import NotAllowed, RemoteRefused
from bridge.smart.fetch import get_json, host_of

KEEP_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """`issuer` is who signs the id_token; `names_issuer` says that callbacks carry `iss` (RFC 9207 3)."""

    issuer: str
    authorization: str
    token: str
    jwks: str
    names_issuer: bool


class Discovery:
    """The site's SMART issuers and their endpoints."""

    def __init__(self, issuers: tuple[SmartIssuer, ...], clock: Clock) -> None:
        self._issuers = {issuer.iss: issuer for issuer in issuers}
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, Endpoints]] = {}

    @property
    def first(self) -> SmartIssuer | None:
        """Where people sign in who did not come from a chart."""
        return next(iter(self._issuers.values()), None)

    def issuer(self, iss: str) -> SmartIssuer:
        """The configured issuer by exact equality; `NotAllowed` (`unknown-issuer`) before anything is sent."""
        try:
            return self._issuers[iss]
        except KeyError:
            raise NotAllowed("this issuer may not launch", where="iss", code="unknown-issuer") from None

    def endpoints(self, iss: str) -> Endpoints:
        """Raises `NotAllowed` for an unknown issuer, `RemoteError` when its configuration is absent or unfit."""
        self.issuer(iss)
        now = self._clock.monotonic()
        with self._lock:
            kept = self._found.get(iss)
        if kept and now - kept[0] < KEEP_SECONDS:
            return kept[1]
        found = read_configuration(iss, get_json(f"{iss}/.well-known/smart-configuration"))
        with self._lock:
            self._found[iss] = now, found
        return found


def read_configuration(iss: str, document: dict[str, Any]) -> Endpoints:
    """Raise `RemoteRefused` (`smart-configuration`) unless it offers S256, never plain, and trustworthy addresses."""

    def refuse(where: str, why: str) -> RemoteRefused:
        return RemoteRefused(f"{host_of(iss)}: {why}", where=where, code="smart-configuration")

    methods = document.get("code_challenge_methods_supported")
    if not isinstance(methods, list) or "S256" not in methods or "plain" in methods:
        raise refuse("code_challenge_methods_supported", "S256, and never plain, is required")
    addresses: dict[str, str] = {}
    for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"):
        address = document.get(name)
        if not isinstance(address, str) or not _trusted(address, iss):
            raise refuse(name, "not an https address, nor one of the issuer's own origin")
        addresses[name] = address
    return Endpoints(
        issuer=addresses["issuer"],
        authorization=addresses["authorization_endpoint"],
        token=addresses["token_endpoint"],
        jwks=addresses["jwks_uri"],
        names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _trusted(address: str, iss: str) -> bool:
    try:
        parts, home = urlsplit(address), urlsplit(iss)
        if parts.username is not None or parts.fragment or not parts.hostname:
            return False
        return parts.scheme == "https" or (parts.scheme, parts.hostname, parts.port) == (
            home.scheme,
            home.hostname,
            home.port,
        )
    except ValueError:
        return False
