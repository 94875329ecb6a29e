"""Signed links: a system that the site trusts vouches, by a compact JWS (RFC 7515), for a user and a study."""

from __future__ import annotations

import json
from dataclasses import dataclass

from joserfc.jwk import Key
from joserfc.jwt import JWTClaimsRegistry

from bridge.clock import Clock
from bridge.config import LinkIssuer
from bridge.domain.access import User
from bridge.errors import ConfigurationError, NotAllowed
from bridge.smart.identity import MAX_TEXT, SKEW_SECONDS, judge, name_of
from bridge.smart.keys import peek, read_keys, verify
from bridge.uids import is_uid

LONGEST_SECONDS = 300


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """What the issuer has decided: this user may see this study, once. `jti` is the token's own id."""

    issuer: str
    user: User
    study_instance_uid: str
    jti: str


def read_link_request(token: str, issuers: tuple[LinkIssuer, ...], clock: Clock) -> LinkRequest:
    """Check signature, `iss`, `aud`, `exp` (at most 5 minutes ahead), `iat`, `jti`, `sub` and `study`.

    Raises `NotAllowed` (`token`) naming the claim at fault, `ConfigurationError` when the keys cannot be read.
    """
    claimed = peek(token)[1].get("iss")
    issuer = next((i for i in issuers if i.iss == claimed), None)
    if issuer is None:
        raise NotAllowed("this issuer may not make links", where="iss", code="token")
    claims = verify(token, _keys(issuer))
    now = int(clock.now().timestamp())
    judge(
        JWTClaimsRegistry(
            now=now,
            leeway=SKEW_SECONDS,
            iss={"essential": True, "value": issuer.iss},
            aud={"essential": True, "value": issuer.audience},
            exp={"essential": True},
            iat={"essential": True},
            jti={"essential": True},
            sub={"essential": True},
            study={"essential": True},
        ),
        claims,
    )
    if claims["exp"] > now + LONGEST_SECONDS + SKEW_SECONDS:
        raise NotAllowed("good for more than 5 minutes", where="exp", code="token")
    study, jti = claims["study"], claims["jti"]
    if not isinstance(study, str) or not is_uid(study):
        raise NotAllowed("not a Study Instance UID", where="study", code="token")
    if len(jti) > MAX_TEXT:
        raise NotAllowed("claim too long", where="jti", code="token")
    return LinkRequest(issuer.iss, User(issuer.iss, claims["sub"], name_of(claims)), study, jti)


def _keys(issuer: LinkIssuer) -> tuple[Key, ...]:
    """Read at each use, so that a changed file needs no restart."""
    try:
        document = json.loads(issuer.jwks_file.read_bytes())
    except (OSError, ValueError):
        document = None
    keys = read_keys(document) if isinstance(document, dict) else ()
    if not keys:
        raise ConfigurationError(["launch.link.jwks_file: cannot be read, or holds no usable key"])
    return keys
