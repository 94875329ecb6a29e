"""The SMART client: the address that the browser is sent to, and what comes of the code it brings back.

Tokens live in this module for the length of one call: they are never stored, logged or sent to the browser.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import requests
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]

from bridge.clock import Clock
from bridge.config import SmartIssuer
from bridge.domain.access import User
from bridge.domain.identity import Issuers
from bridge.errors import ConfigurationError, NotAllowed, RemoteRefused, RemoteUnavailable
from bridge.smart.client_key import ASSERTION_TYPE, assertion
from bridge.smart.context import Subject, read_context, read_subject
from bridge.smart.discovery import Discovery, Endpoints
from bridge.smart.fetch import READ_SECONDS, get_json, guard, host_of
from bridge.smart.identity import read_user
from bridge.smart.keys import KeyRing

SIGN_IN_SCOPES = "openid fhirUser"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who came, and what for: `subject` is None when they only signed in."""

    user: User
    subject: Subject | None


class SmartClient:
    """All of the site's SMART issuers. `redirect_uri` is the one that is registered with each."""

    def __init__(self, smart: tuple[SmartIssuer, ...], issuers: Issuers, *, redirect_uri: str, clock: Clock) -> None:
        self._discovery = Discovery(smart, clock)
        self._issuers = issuers
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._lock = threading.Lock()
        self._rings: dict[str, KeyRing] = {}

    @property
    def sign_in_issuer(self) -> str:
        """The `iss` where people sign in who did not come from a chart; '' = nowhere."""
        return self._discovery.first.iss if self._discovery.first else ""

    def check_issuer(self, iss: str) -> None:
        """Raise `NotAllowed` (`unknown-issuer`) unless the site lists it; nothing is sent."""
        self._discovery.issuer(iss)

    def authorization_url(self, iss: str, *, launch: str, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser; with an empty `launch` it is a plain sign-in (SMART standalone launch).

        Raises `NotAllowed` for an unknown issuer, before anything is sent, and `RemoteError` by discovery.
        """
        issuer, endpoints = self._discovery.issuer(iss), self._discovery.endpoints(iss)
        more = {"launch": launch} if launch else {}
        with self._session(issuer, issuer.scopes if launch else SIGN_IN_SCOPES) as session:
            url, _ = session.create_authorization_url(
                endpoints.authorization, state=state, code_verifier=verifier, aud=iss, nonce=nonce, **more
            )
        return str(url)

    def check_answerer(self, iss: str, answerer: str | None) -> None:
        """RFC 9207 2.4: a callback that names its issuer must name this one; `NotAllowed` (`mix-up`)."""
        endpoints = self._discovery.endpoints(iss)
        if answerer != endpoints.issuer and (answerer is not None or endpoints.names_issuer):
            raise NotAllowed("the answer is another issuer's", where="iss", code="mix-up")

    def finish(self, iss: str, *, launch: str, code: str, nonce: str, verifier: str) -> Arrival:
        """Change the code for tokens, check who it is, read what the launch is about.

        Raises `NotAllowed` (`id-token`, `no-patient`, `patient-differs`, ...), `RemoteRefused`, `RemoteUnavailable`.
        """
        issuer, endpoints = self._discovery.issuer(iss), self._discovery.endpoints(iss)
        answer = self._exchange(issuer, endpoints, code, verifier)
        user = read_user(
            answer.get("id_token"),
            ring=self._ring(endpoints.jwks),
            issuer=endpoints.issuer,
            client_id=issuer.client_id,
            nonce=nonce,
            clock=self._clock,
        )
        if not launch:
            return Arrival(user, None)
        return Arrival(user, read_subject(read_context(answer, iss), iss, answer["access_token"], self._issuers))

    def _exchange(self, issuer: SmartIssuer, endpoints: Endpoints, code: str, verifier: str) -> dict[str, Any]:
        where = host_of(endpoints.token)
        # Authlib puts client_id in the body for a public client, and uses HTTP Basic with a secret (SMART 2.2, client
        # authentication: symmetric).
        with self._session(issuer, "") as session:
            try:
                answer = session.fetch_token(
                    endpoints.token,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                    redirect_uri=self._redirect_uri,
                    allow_redirects=False,
                    timeout=READ_SECONDS,
                    **self._assertion(issuer, endpoints.token),
                )
            except OAuthError:
                raise RemoteRefused("the code was refused", where=where, code="code-refused") from None
            except requests.HTTPError as fault:
                status = fault.response.status_code
                if status == 429 or status >= 500:
                    raise RemoteUnavailable(f"answered {status}", where=where, status=status) from None
                raise RemoteRefused(f"answered {status}", where=where, status=status, code="code-refused") from None
            except requests.RequestException as fault:
                raise RemoteUnavailable(f"no answer: {type(fault).__name__}", where=where) from None
            except ValueError:
                raise RemoteRefused("the answer is no token", where=where, code="code-refused") from None
        if not isinstance(answer.get("access_token"), str) or str(answer.get("token_type")).lower() != "bearer":
            raise RemoteRefused("the answer holds no bearer token", where=where, code="code-refused")
        return dict(answer)

    def _assertion(self, issuer: SmartIssuer, token_endpoint: str) -> dict[str, str]:
        """What private_key_jwt adds to the body; nothing for a public client or one with a secret."""
        if issuer.client_key_file is None:
            return {}
        signed = assertion(issuer.client_key_file, issuer.client_id, token_endpoint, self._clock)
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}

    def _session(self, issuer: SmartIssuer, scope: str) -> OAuth2Session:
        session = OAuth2Session(
            issuer.client_id,
            _secret(issuer),
            scope=scope,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
        )
        return guard(session)

    def _ring(self, jwks_uri: str) -> KeyRing:
        with self._lock:
            if jwks_uri not in self._rings:
                self._rings[jwks_uri] = KeyRing(lambda: get_json(jwks_uri), self._clock)
            return self._rings[jwks_uri]


def _secret(issuer: SmartIssuer) -> str | None:
    """Read at each use, so that a changed file needs no restart."""
    if issuer.client_secret_file is None:
        return None
    try:
        secret = issuer.client_secret_file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        secret = ""
    if not secret:
        raise ConfigurationError(["launch.smart.client_secret_file: cannot be read, or empty"])
    return secret
