"""Signatures: an explicit list of algorithms, keys only from where the site or the issuer publishes them."""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from bridge.clock import Clock
from bridge.errors import NotAllowed, RemoteError, RemoteUnavailable

ALGORITHMS = {"RS256": "RSA", "RS384": "RSA", "ES256": "EC", "ES384": "EC"}
CURVES = {"ES256": "P-256", "ES384": "P-384"}
# A signer must not choose its own key, nor demand an extension that we would ignore (RFC 7515 4.1).
FORBIDDEN_HEADERS = frozenset({"jwk", "jku", "x5u", "crit"})
MAX_TOKEN_CHARACTERS = 16384
RETRY_SECONDS = 60.0
FRESH_SECONDS = 3600.0
KEEP_SECONDS = 24 * 3600.0


def read_keys(document: dict[str, Any]) -> tuple[Key, ...]:
    """The usable public keys of a JSON Web Key Set (RFC 7517 5); what is not understood, or symmetric, is left out."""
    keys = []
    entries = document.get("keys")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC") or entry.get("use", "sig") != "sig":
            continue
        try:
            keys.append(JWKRegistry.import_key(entry))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return tuple(keys)


def peek(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as they are claimed, before any check; `NotAllowed` (`token`) when it is no compact JWS."""
    try:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise ValueError
        head, body, _ = token.split(".")
        header, claims = (json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (head, body))
    except (ValueError, RecursionError):
        raise NotAllowed("not a compact JWS", where="token", code="token") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise NotAllowed("not a JSON Web Token", where="token", code="token")
    return header, claims


def verify(token: str, keys: Iterable[Key]) -> dict[str, Any]:
    """The claims of a JWS signed by one of `keys`; `NotAllowed` (`token`) otherwise. Claims are not judged here."""
    header, _ = peek(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise NotAllowed("algorithm not allowed", where="alg", code="token")
    if bad := FORBIDDEN_HEADERS & header.keys():
        raise NotAllowed("header not allowed", where=min(bad), code="token")
    for key in keys:
        if kid is not None and key.kid is not None and key.kid != kid:
            continue
        if key.key_type != ALGORITHMS[algorithm] or key.get("alg", algorithm) != algorithm:
            continue
        if key.get("crv") != CURVES.get(algorithm):
            continue
        try:
            return jwt.decode(token, key, algorithms=[algorithm]).claims
        except (JoseError, ValueError, TypeError):
            continue
    raise NotAllowed("signature not valid", where="token", code="token")


class KeyRing:
    """An issuer's published keys: asked for hourly, and at most once a minute for an unknown one; an outage of the
    issuer is survived for a day."""

    def __init__(self, fetch: Callable[[], dict[str, Any]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: tuple[Key, ...] = ()
        self._read_at: float | None = None
        self._asked_at = 0.0

    def verify(self, token: str) -> dict[str, Any]:
        """As `verify`; a token that no known key has signed may be signed by a newer one."""
        keys = self._current(again=False)
        try:
            return verify(token, keys)
        except NotAllowed:
            newer = self._current(again=True)
            if newer is keys:
                raise
            return verify(token, newer)

    def _current(self, *, again: bool) -> tuple[Key, ...]:
        with self._lock:
            now = self._clock.monotonic()
            if self._read_at is not None and now - self._asked_at < RETRY_SECONDS:
                due = False
            else:
                due = again or self._read_at is None or now - self._read_at >= FRESH_SECONDS
            if due:
                self._asked_at = now
                try:
                    self._keys, self._read_at = read_keys(self._fetch()), now
                except RemoteError:
                    if self._read_at is None:
                        raise
            if self._read_at is None or now - self._read_at >= KEEP_SECONDS:
                raise RemoteUnavailable("the issuer's keys cannot be read", where="jwks_uri")
            return self._keys
