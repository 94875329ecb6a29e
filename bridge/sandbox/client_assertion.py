"""How the registered app proves itself at the pretend EHR: private_key_jwt (SMART App Launch 2.2; RFC 7523 3)."""

from __future__ import annotations

from typing import Any

from authlib.oauth2.rfc6749 import InvalidClientError  # type: ignore[import-untyped]
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from bridge.sandbox.authorization_state import ASSERTED, Client, State

SIGNED_BY = "ES384"
LONGEST_SECONDS = 300


class ClientAssertion(JWTBearerClientAssertion):  # type: ignore[misc]
    """Authlib's client method, stricter: one algorithm, five minutes at most, by the injected clock. Silent for an app
    that has registered no keys: it is a public client, whatever it sends."""

    CLIENT_AUTH_METHOD = ASSERTED

    def __init__(self, client: Client, state: State, token_endpoint: str) -> None:
        super().__init__()
        self._client = client
        self._state = state
        self._token_endpoint = token_endpoint

    def __call__(self, query_client: Any, oauth_request: Any) -> Client | None:
        if not self._client.jwks:
            return None
        authenticated: Client | None = super().__call__(query_client, oauth_request)
        return authenticated

    def resolve_client_public_key(self, client: Client) -> KeySet:
        return KeySet.import_key_set(client.jwks)  # type: ignore[arg-type]

    def process_assertion_claims(self, assertion: str, resolve_key: KeySet) -> dict[str, Any]:
        try:
            claims = jwt.decode(assertion, resolve_key, algorithms=[SIGNED_BY]).claims
            self._check(claims)
        except (JoseError, ValueError) as fault:
            raise InvalidClientError(description="the client assertion is refused") from fault
        if not self._state.first_use(claims["jti"]):
            raise InvalidClientError(description="the client assertion was used before")
        return claims

    def _check(self, claims: dict[str, Any]) -> None:
        now = int(self._state.clock.now().timestamp())
        jwt.JWTClaimsRegistry(
            now=now,
            iss={"essential": True, "value": self._client.client_id},
            sub={"essential": True, "value": self._client.client_id},
            aud={"essential": True, "value": self._token_endpoint},
            exp={"essential": True},
            jti={"essential": True},
        ).validate(claims)
        if claims["exp"] > now + LONGEST_SECONDS:
            raise ValueError("exp is more than five minutes away")
