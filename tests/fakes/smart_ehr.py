"""An EHR that can be made to misbehave: every answer of its SMART and FHIR sides may be replaced."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, jsonify, request
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from bridge.clock import ManualClock
from bridge.web.server import WebServer

CLIENT = "imaging-bridge"
MRN_SYSTEM = "urn:oid:1.2.3.4"
KEY = RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig"})
OTHER_KEY = RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig"})
EC_KEY = ECKey.generate_key("P-256", parameters={"kid": "ec", "use": "sig"})


@dataclass
class SmartEhr:
    """`codes` maps a code to (nonce, S256 challenge); `calls` lists the paths that were asked for."""

    clock: ManualClock
    patient: str = "p1"
    context: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    keys: list[Any] = field(default_factory=lambda: [KEY])
    sign: Callable[[dict[str, Any]], str | None] | None = None
    token_answer: Callable[[dict[str, Any]], Any] = lambda answer: answer
    statuses: dict[str, int] = field(default_factory=dict)
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def start(self) -> None:
        self._server = WebServer("127.0.0.1", 0, threads=4, drain_seconds=1)
        port = self._server.bind()
        self.origin = f"http://127.0.0.1:{port}"
        self.iss = f"{self.origin}/fhir"
        self.configuration = {
            "issuer": self.origin,
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "jwks_uri": f"{self.origin}/jwks",
            "code_challenge_methods_supported": ["S256"],
        }
        self.resources = {
            "Patient/p1": {
                "resourceType": "Patient",
                "id": "p1",
                "identifier": [{"system": MRN_SYSTEM, "value": "M1"}],
                "name": [{"family": "Planted", "given": ["Penelope"]}],
                "birthDate": "1980-02-03",
            }
        }
        self._server.start(self._app())

    def stop(self) -> None:
        self._server.stop()

    def put_study(self, id_: str, uid: str, patient: str = "p1") -> None:
        self.resources[f"ImagingStudy/{id_}"] = {
            "resourceType": "ImagingStudy",
            "id": id_,
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
            "subject": {"reference": f"Patient/{patient}"},
        }

    def claims(self, nonce: str) -> dict[str, Any]:
        now = int(self.clock.now().timestamp())
        return {
            "iss": self.origin,
            "sub": "dr-demo",
            "aud": CLIENT,
            "nonce": nonce,
            "iat": now,
            "exp": now + 300,
            "name": "Dr Demo",
        }

    def code_for(self, nonce: str, challenge: str) -> str:
        """What the browser would bring back from the sign-in page."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = nonce, challenge
        return code

    def _app(self) -> Flask:
        app = Flask("ehr", static_folder=None)

        @app.before_request
        def note() -> Response | None:
            self.calls.append(request.path)
            status = self.statuses.get(request.path)
            if status in (301, 302, 307):
                return Response(status=status, headers={"Location": f"{self.origin}/elsewhere"})
            return Response("{}", status) if status else None

        @app.get("/fhir/.well-known/smart-configuration")
        def discovery() -> Response:
            return jsonify(self.configuration)

        @app.get("/authorize")
        def authorize() -> Response:
            """For a real browser: always agrees, by way of a sign-in page elsewhere."""
            asked = request.args
            code = self.code_for(asked["nonce"], asked["code_challenge"])
            query = urlencode({"code": code, "state": asked["state"]})
            return Response(status=303, headers={"Location": f"{asked['redirect_uri']}?{query}"})

        @app.get("/jwks")
        def jwks() -> Response:
            return jsonify({"keys": [k.as_dict(private=False) for k in self.keys]})

        @app.post("/token")
        def token() -> Any:
            form = request.form.to_dict()
            self.forms.append(form)
            self.authorizations.append(request.headers.get("Authorization", ""))
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            nonce, challenge = self.codes.pop(form.get("code", ""), ("", ""))
            if challenge != base64.urlsafe_b64encode(digest).decode().rstrip("="):
                return jsonify({"error": "invalid_grant"}), 400
            access = secrets.token_urlsafe(24)
            self.tokens.append(access)
            claims = self.claims(nonce)
            id_token = self.sign(claims) if self.sign else jwt.encode({"alg": "RS256", "kid": "one"}, claims, KEY)
            answer = {"access_token": access, "token_type": "Bearer", "patient": self.patient, "id_token": id_token}
            return jsonify(self.token_answer({k: v for k, v in (answer | self.context).items() if v is not None}))

        @app.get("/fhir/<kind>/<id_>")
        def read(kind: str, id_: str) -> Any:
            if request.headers.get("Authorization") not in {f"Bearer {t}" for t in self.tokens}:
                return Response(status=401)
            found = self.resources.get(f"{kind}/{id_}")
            return jsonify(found) if found else Response(status=404)

        return app
