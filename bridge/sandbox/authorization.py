"""The pretend EHR's authorisation server: SMART App Launch 2.2, EHR launch, by Authlib's Flask server.

One client: public, or by private_key_jwt once its keys are registered. Authorisation code with PKCE (S256 only), OpenID
Connect `id_token` signed RS256 with a key made at start. All state is in memory. There is no password: "Dr Demo" is
always signed in, which every page says.
"""

from __future__ import annotations

import secrets
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer  # type: ignore[import-untyped]
from authlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant  # type: ignore[import-untyped]
from authlib.oauth2.rfc7636 import CodeChallenge  # type: ignore[import-untyped]
from authlib.oidc.core import OpenIDCode  # type: ignore[import-untyped]
from flask import Blueprint, Flask, Response, jsonify, request
from joserfc.jwk import RSAKey

from bridge.sandbox.authorization_state import (
    ASSERTED,
    CODE_SECONDS,
    DR_DEMO,
    ID_TOKEN_SECONDS,
    TOKEN_SECONDS,
    Client,
    Code,
    State,
    Token,
    User,
    token_fields,
)
from bridge.sandbox.client_assertion import SIGNED_BY, ClientAssertion


class SmartServer(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server with what SMART adds: the FHIR base (`aud`), the signing key, launch handles."""

    def __init__(self, app: Flask, *, issuer: str, fhir_base: str, client: Client, state: State) -> None:
        app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"authorization_code": TOKEN_SECONDS}
        super().__init__(app)
        self.issuer = issuer
        self.fhir_base = fhir_base
        self.client = client
        self.state = state
        self.key = RSAKey.generate_key(2048, parameters={"use": "sig", "alg": "RS256", "kid": secrets.token_hex(8)})
        self.introspection_secret = secrets.token_urlsafe(24)
        self.register_client_auth_method(ASSERTED, ClientAssertion(client, state, f"{issuer}/token"))
        self.register_grant(SmartGrant, [S256Only(required=True), SmartOpenId(self)])

    def query_client(self, client_id: str) -> Client | None:
        return self.client if client_id == self.client.client_id else None

    def save_token(self, token: dict[str, Any], oauth_request: Any) -> None:
        expires_at = int(self.state.clock.now().timestamp()) + TOKEN_SECONDS
        context = oauth_request.authorization_code.context
        self.state.tokens[token["access_token"]] = Token(self.client.client_id, token["scope"], context, expires_at)

    def fhir_user(self, user: User) -> str:
        return f"{self.fhir_base}/Practitioner/{user.practitioner_id}"


class S256Only(CodeChallenge):  # type: ignore[misc]
    """PKCE as SMART wants it: required, and never `plain`."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012 (Authlib's name and form)

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data = grant.request.payload.data
        if not data.get("code_challenge") or data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("PKCE with code_challenge_method=S256 is required")
        super().validate_code_challenge(grant, redirect_uri)


SIGN_IN_SCOPES = frozenset(("openid", "fhirUser", "profile"))


class SmartGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    """The authorisation code grant (App Launch 2.2): `aud` and `state` are required. With `launch` it is an EHR launch;
    without, a standalone one that tells who the user is and nothing more: no patient was chosen."""

    TOKEN_ENDPOINT_AUTH_METHODS = [ASSERTED, "none"]  # noqa: RUF012
    server: SmartServer

    def validate_authorization_request(self) -> str:
        redirect_uri: str = super().validate_authorization_request()
        data = self.request.payload.data
        if data.get("aud") != self.server.fhir_base:
            raise InvalidRequestError("aud is not this FHIR server", redirect_uri=redirect_uri)
        if not data.get("state"):
            raise InvalidRequestError("state is missing", redirect_uri=redirect_uri)
        scopes = set(self.request.scope.split())
        if data.get("launch") and "launch" not in scopes:
            raise InvalidScopeError("scope launch is required", redirect_uri=redirect_uri)
        if "launch" not in scopes and not scopes <= SIGN_IN_SCOPES:
            raise InvalidScopeError("without a launch there is no patient to read", redirect_uri=redirect_uri)
        return redirect_uri

    def save_authorization_code(self, code: str, oauth_request: Any) -> None:
        data, state = oauth_request.payload.data, self.server.state
        redirect_uri = oauth_request.payload.redirect_uri
        # Taken last, so that a refused request leaves the handle alive, and two equal requests cannot both pass.
        launched = "launch" in oauth_request.scope.split()
        context = state.take_launch(data.get("launch", "")) if launched else None
        if launched and context is None:
            raise InvalidRequestError("launch is unknown, used or expired", redirect_uri=redirect_uri)
        if nonce := data.get("nonce"):
            state.nonces.add(nonce)
        state.codes[code] = Code(
            client_id=self.server.client.client_id,
            redirect_uri=redirect_uri,
            scope=oauth_request.scope,
            nonce=nonce,
            code_challenge=data["code_challenge"],
            context=context,
            auth_time=int(state.clock.now().timestamp()),
            expires=state.clock.monotonic() + CODE_SECONDS,
        )

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        # Taken at the first try: a wrong verifier burns the code.
        return self.server.state.take_code(code)

    def delete_authorization_code(self, code: Code) -> None:
        """Already taken."""

    def authenticate_user(self, code: Code) -> User:
        return DR_DEMO

    def create_token_response(self) -> tuple[int, dict[str, object], list[tuple[str, str]]]:
        status, token, headers = super().create_token_response()
        return status, {**token, **token_fields(self.request.authorization_code.context)}, headers


class SmartOpenId(OpenIDCode):  # type: ignore[misc]
    """The `id_token` (OpenID Connect Core 3.1.3.3) with SMART's `fhirUser`."""

    def __init__(self, server: SmartServer) -> None:
        super().__init__(require_nonce=False)
        self._server = server

    def resolve_client_private_key(self, client: Client) -> RSAKey:
        return self._server.key

    def get_client_algorithm(self, client: Client) -> str:
        return "RS256"

    def get_encode_header(self, client: Client) -> dict[str, str]:
        return {"alg": "RS256", "kid": str(self._server.key.kid)}

    def get_client_claims(self, client: Client) -> dict[str, object]:
        now = int(self._server.state.clock.now().timestamp())
        return {
            "iss": self._server.issuer,
            "aud": client.client_id,
            "iat": now,
            "exp": now + ID_TOKEN_SECONDS,
        }

    def exists_nonce(self, nonce: str, oauth_request: Any) -> bool:
        return nonce in self._server.state.nonces

    def generate_user_info(self, user: User, scope: str) -> dict[str, str]:
        claims = {"sub": user.sub, "name": user.name, "preferred_username": user.sub}
        if "fhirUser" in scope.split():
            claims["fhirUser"] = self._server.fhir_user(user)
        return claims


def authorization_pages(server: SmartServer) -> Blueprint:
    """Discovery, `/authorize`, `/token`, `/jwks` and `/introspect`."""
    pages = Blueprint("authorization", __name__)

    @pages.route("/authorize", methods=["GET", "POST"])
    def authorize() -> Response:
        oauth_request = server.create_oauth2_request(None)
        try:
            grant = server.get_authorization_grant(oauth_request)
            grant.validate_no_multiple_request_parameter(oauth_request)
        except OAuth2Error as error:
            error.state = oauth_request.payload.state
            refused: Response = server.handle_error_response(oauth_request, error)
            return refused
        answer: Response = server.create_authorization_response(oauth_request, grant_user=DR_DEMO, grant=grant)
        return answer

    @pages.post("/token")
    def token() -> Response:
        answer: Response = server.create_token_response()
        return answer

    @pages.get("/jwks")
    def jwks() -> Response:
        return jsonify({"keys": [server.key.as_dict(private=False)]})

    @pages.post("/introspect")
    def introspect() -> Response:
        """RFC 7662 2; the caller (a FHIR server that takes our tokens) by HTTP Basic, else 401."""
        caller = request.authorization
        given = (caller.password or "") if caller and caller.username == server.client.client_id else ""
        if not secrets.compare_digest(given.encode(), server.introspection_secret.encode()):
            return Response(status=401, headers={"WWW-Authenticate": "Basic"})
        return jsonify(introspection(server, request.form.get("token", "")))

    @pages.get("/fhir/.well-known/smart-configuration")
    @pages.get("/.well-known/openid-configuration")
    def configuration() -> Response:
        response = jsonify(discovery(server.issuer, server.client))
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    @pages.after_request
    def never_stored(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        return response

    return pages


def introspection(server: SmartServer, access_token: str) -> dict[str, object]:
    """The answer of RFC 7662 2.2 with SMART's launch context; `active: false` and nothing else for a dead token."""
    found = server.state.live_token(access_token)
    if found is None:
        return {"active": False}
    return {
        "active": True,
        "scope": found.scope,
        "client_id": found.client_id,
        "exp": found.expires_at,
        "iss": server.issuer,
        "sub": DR_DEMO.sub,
        "fhirUser": server.fhir_user(DR_DEMO),
        **token_fields(found.context),
    }


def discovery(issuer: str, client: Client) -> dict[str, object]:
    """`.well-known/smart-configuration` (App Launch 2.2, conformance); it serves as OpenID configuration too."""
    asserted = client.auth_method == ASSERTED
    found: dict[str, object] = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "introspection_endpoint": f"{issuer}/introspect",
        "token_endpoint_auth_methods_supported": [client.auth_method],
        "grant_types_supported": ["authorization_code"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": sorted(client.scopes),
        "code_challenge_methods_supported": ["S256"],
        "capabilities": [
            "launch-ehr",
            "launch-standalone",
            "authorize-post",
            "client-confidential-asymmetric" if asserted else "client-public",
            "sso-openid-connect",
            "context-banner",
            "context-ehr-patient",
            "permission-patient",
            "permission-user",
            "permission-v1",
            "permission-v2",
        ],
    }
    if asserted:
        found["token_endpoint_auth_signing_alg_values_supported"] = [SIGNED_BY]
    return found
