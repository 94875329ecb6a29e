"""Who signed in: the id_token (OpenID Connect Core 3.1.3.7; SMART App Launch 2.2, scopes for identity)."""

from __future__ import annotations

from typing import Any

from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry

from bridge.clock import Clock
from bridge.domain.access import User
from bridge.errors import NotAllowed
from bridge.smart.keys import KeyRing

SKEW_SECONDS = 60
MAX_TEXT = 200


def read_user(id_token: object, *, ring: KeyRing, issuer: str, client_id: str, nonce: str, clock: Clock) -> User:
    """The person, after every check; `NotAllowed` (`id-token`), or `RemoteError` when the keys cannot be had."""
    if not isinstance(id_token, str) or not id_token:
        raise NotAllowed("the token answer has no id_token", where="id_token", code="id-token")
    try:
        claims = ring.verify(id_token)
        check_claims(claims, issuer=issuer, client_id=client_id, nonce=nonce, clock=clock)
    except NotAllowed as refusal:
        raise NotAllowed(str(refusal), where=refusal.where, code="id-token") from None
    return User(issuer=issuer, subject=claims["sub"], name=name_of(claims))


def check_claims(claims: dict[str, Any], *, issuer: str, client_id: str, nonce: str, clock: Clock) -> None:
    registry = JWTClaimsRegistry(
        now=int(clock.now().timestamp()),
        leeway=SKEW_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        nonce={"essential": True, "value": nonce},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    judge(registry, claims)
    audience, party = claims["aud"], claims.get("azp")
    if party != client_id and (party is not None or (isinstance(audience, list) and len(audience) > 1)):
        raise NotAllowed("claim not valid", where="azp", code="token")


def judge(registry: JWTClaimsRegistry, claims: dict[str, Any]) -> None:
    """Let `registry` judge; `NotAllowed` (`token`) names the claim, never its value."""
    try:
        registry.validate(claims)
    except JoseError as fault:
        raise NotAllowed("claim not valid", where=getattr(fault, "claim", "") or "claims", code="token") from None
    if len(claims["sub"]) > MAX_TEXT:
        raise NotAllowed("claim too long", where="sub", code="token")


def name_of(claims: dict[str, Any]) -> str:
    for claim in ("name", "preferred_username"):
        value = claims.get(claim)
        if isinstance(value, str) and value.strip():
            return value.strip()[:MAX_TEXT]
    return ""
