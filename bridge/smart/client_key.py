"""The bridge's own key for asymmetric client authentication (SMART App Launch 2.2, private_key_jwt; RFC 7523).

The private key stays in a file of mode 0600 that `bridge init` makes; the EHR is given the address of the public set.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from bridge.clock import Clock
from bridge.errors import ConfigurationError

ALGORITHM = "ES384"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SECONDS = 240
"""Below the five minutes that SMART allows."""


def new_key() -> str:
    """A fresh private key as a JSON Web Key."""
    key = ECKey.generate_key("P-384", {"kid": secrets.token_hex(8), "use": "sig", "alg": ALGORITHM})
    return json.dumps(key.as_dict(private=True), indent=1)


def public_set(files: Iterable[Path]) -> dict[str, Any]:
    """The JSON Web Key Set to register with an EHR: the public halves of the keys, each once."""
    return {"keys": [read_key(file).as_dict(private=False) for file in dict.fromkeys(files)]}


def assertion(file: Path, client_id: str, token_endpoint: str, clock: Clock) -> str:
    """A client assertion for one token request: `jti` is never used twice."""
    key, now = read_key(file), int(clock.now().timestamp())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": token_endpoint,
        "iat": now,
        "exp": now + SECONDS,
        "jti": secrets.token_urlsafe(24),
    }
    return jwt.encode({"alg": ALGORITHM, "typ": "JWT", "kid": key.kid}, claims, key, algorithms=[ALGORITHM])


def read_key(file: Path) -> ECKey:
    """Read at each use, so that a changed file needs no restart. Raises `ConfigurationError`."""
    try:
        key = ECKey.import_key(json.loads(file.read_text()))
    except (OSError, ValueError, JoseError):
        raise ConfigurationError(["launch.smart.client_key_file: cannot be read, or is no P-384 key"]) from None
    if not key.is_private or key.curve_name != "P-384":
        raise ConfigurationError(["launch.smart.client_key_file: is no private P-384 key"])
    return key
