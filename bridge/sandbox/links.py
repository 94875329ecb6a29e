"""A pretend portal that signs links for its own signed-in users, with a key made afresh at each start."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import requests
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from bridge.clock import Clock, SystemClock

_SECONDS = 10


class LinkSigner:
    """`issuer` is what the bridge's `[[launch.link]]` trusts, by the public keys in `jwks_file`."""

    def __init__(self, issuer: str, jwks_file: Path, *, clock: Clock | None = None) -> None:
        self.issuer = issuer
        self._clock = clock or SystemClock()
        self._key = ECKey.generate_key("P-256", {"kid": secrets.token_hex(8), "use": "sig", "alg": "ES256"})
        jwks_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        jwks_file.write_text(json.dumps(KeySet([self._key]).as_dict(private=False)))

    def token(self, study_uid: str, *, user: str = "dr.demo", lifetime: int = 240, jti: str = "") -> str:
        """A compact JWS for one user and one study (RFC 7515), good for `lifetime` seconds."""
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": self.issuer,
            "aud": "imaging-bridge",
            "sub": user,
            "name": "Dr Demo",
            "study": study_uid,
            "jti": jti or secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + lifetime,
        }
        return jwt.encode({"alg": "ES256", "kid": self._key.kid}, claims, self._key)

    def link(self, public_url: str, study_uid: str, *, user: str = "dr.demo") -> str:
        """Have the bridge make an opaque single-use link; raises `requests.HTTPError` when it refuses."""
        answer = requests.post(
            f"{public_url}/links",
            data=self.token(study_uid, user=user),
            headers={"Content-Type": "application/jose"},
            timeout=_SECONDS,
        )
        answer.raise_for_status()
        url: str = answer.json()["url"]
        return url
