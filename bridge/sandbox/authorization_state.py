"""What the pretend EHR's authorisation server remembers: its user, its one client, launches, codes and tokens."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin  # type: ignore[import-untyped]

from bridge.clock import Clock

ASSERTED = "private_key_jwt"
LAUNCH_SECONDS = 300
CODE_SECONDS = 60
TOKEN_SECONDS = 3600
ID_TOKEN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class User:
    """Who is signed in to the pretend EHR."""

    sub: str
    name: str
    practitioner_id: str


DR_DEMO = User(sub="dr-demo", name="Dr Demo", practitioner_id="dr-demo")


@dataclass(frozen=True, slots=True)
class LaunchContext:
    """What a launch is about: bare ids on this server."""

    patient_id: str
    study_id: str | None = None


def token_fields(context: LaunchContext | None) -> dict[str, object]:
    """The launch context parameters of the token response (App Launch 2.2, scopes and context); none for a sign-in."""
    if context is None:
        return {}
    fields: dict[str, object] = {"patient": context.patient_id, "need_patient_banner": True}
    if context.study_id:
        fields["fhirContext"] = [{"reference": f"ImagingStudy/{context.study_id}"}]
    return fields


@dataclass(slots=True)
class Client(ClientMixin):  # type: ignore[misc]
    """The one registered app; redirect URIs and keys may be set after start, when they are known. With keys (a JSON Web
    Key Set) it must authenticate by private_key_jwt; without, it is a public client."""

    client_id: str
    redirect_uris: list[str]
    scopes: frozenset[str]
    jwks: dict[str, Any] | None = None

    @property
    def auth_method(self) -> str:
        return ASSERTED if self.jwks else "none"

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        return None  # SMART: redirect_uri is required and matched exactly

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """The asked scopes that are allowed; None (invalid_scope) when none is left."""
        return " ".join(s for s in (scope or "").split() if s in self.scopes) or None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.auth_method

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass(frozen=True, slots=True)
class Code(AuthorizationCodeMixin):  # type: ignore[misc]
    client_id: str
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str
    context: LaunchContext | None
    auth_time: int
    expires: float
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.auth_time

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Token:
    client_id: str
    scope: str
    context: LaunchContext | None
    expires_at: int


@dataclass(slots=True)
class State:
    """Launch handles, codes, nonces and tokens. Handles and codes are single use: taking one removes it."""

    clock: Clock
    launches: dict[str, tuple[LaunchContext, float]] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    nonces: set[str] = field(default_factory=set)
    assertions: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def new_launch(self, context: LaunchContext) -> str:
        handle = secrets.token_urlsafe(32)
        with self.lock:
            self.launches[handle] = (context, self.clock.monotonic() + LAUNCH_SECONDS)
        return handle

    def take_launch(self, handle: str) -> LaunchContext | None:
        with self.lock:
            context, expires = self.launches.pop(handle, (None, 0.0))
        return context if self.clock.monotonic() < expires else None

    def take_code(self, code: str) -> Code | None:
        with self.lock:
            found = self.codes.pop(code, None)
        return found if found and self.clock.monotonic() < found.expires else None

    def first_use(self, jti: str) -> bool:
        """Whether no client assertion had this `jti` before."""
        with self.lock:
            new = jti not in self.assertions
            self.assertions.add(jti)
        return new

    def live_token(self, access_token: str) -> Token | None:
        token = self.tokens.get(access_token)
        return token if token and self.clock.now().timestamp() < token.expires_at else None
