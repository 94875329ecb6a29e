"""Both origins of a bridge with a fake desk, an EHR that launches, and a browser with one jar a host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Blueprint, Flask, Response, jsonify
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey

from bridge.clock import ManualClock
from bridge.config import Settings
from bridge.smart.client import SmartClient
from bridge.web.factory import create_public_app, create_viewer_app
from bridge.web.ports import CurrentSession, Deps
from tests.fakes.launch_desk import FakeDesk, Line
from tests.fakes.smart_ehr import CLIENT, MRN_SYSTEM, SmartEhr

PUBLIC, VIEWER = "https://bridge.example", "https://images.example"
PORTAL = "https://portal.example"
PORTAL_KEY = ECKey.generate_key("P-384", parameters={"kid": "portal", "use": "sig"})
PAGE = {"Accept": "text/html"}
CT, MR, FOREIGN = "1.2.840.1", "1.2.840.2", "1.2.840.99"
START = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)


def who_blueprint(current: CurrentSession) -> Blueprint:
    """Stands for the DICOMweb gate: says which launch a request belongs to."""
    pages = Blueprint("who", __name__)

    @pages.get("/dicom-web/studies/<uid>")
    @pages.get("/dicom-web/studies")
    def who(uid: str = "") -> Any:
        session = current()
        return jsonify({"session": session.id if session else None})

    return pages


@dataclass
class Site:
    ehr: SmartEhr
    desk: FakeDesk
    clock: ManualClock
    deps: Deps
    browser: Browser
    viewer: Browser

    def launch(self, browser: FlaskClient | None = None, **more: str) -> dict[str, str]:
        """`GET /launch`; the parameters that the authorisation endpoint gets."""
        query = urlencode({"iss": self.ehr.iss, "launch": "handle", **more})
        answer = (browser or self.browser).get(f"/launch?{query}", headers=PAGE)
        assert answer.status_code == 303, answer.text
        return authorization(answer.headers["Location"])

    def answer(self, asked: dict[str, str], **more: str) -> dict[str, str]:
        """The callback's parameters after the user agreed."""
        code = self.ehr.code_for(asked["nonce"], asked["code_challenge"])
        return {"code": code, "state": asked["state"], **more}

    def callback(self, query: dict[str, str], browser: FlaskClient | None = None, accept: str = "text/html") -> Any:
        return (browser or self.browser).get(f"/launch/callback?{urlencode(query)}", headers={"Accept": accept})

    def whole_launch(self) -> Any:
        return self.callback(self.answer(self.launch()))

    def enter(self, answer: Any, viewer: FlaskClient | None = None) -> Any:
        """Follow the hand-over to the viewer's origin."""
        assert answer.status_code == 303, answer.text
        parts = urlsplit(answer.headers["Location"])
        assert f"{parts.scheme}://{parts.netloc}" == VIEWER
        return (viewer or self.viewer).get(f"{parts.path}?{parts.query}", headers=PAGE)

    def link_token(self, key: Any = PORTAL_KEY, header: dict[str, Any] | None = None, **claims: Any) -> str:
        now = int(self.clock.now().timestamp())
        whole = {
            "iss": PORTAL,
            "aud": "imaging-bridge",
            "sub": "u1",
            "name": "Dr Link",
            "jti": f"j{len(self.desk.jtis)}",
            "iat": now,
            "exp": now + 60,
            "study": CT,
        } | claims
        whole = {k: v for k, v in whole.items() if v is not None}
        return jwt.encode(header or {"alg": "ES384", "kid": "portal"}, whole, key, algorithms=["ES384", "HS256"])

    def make_link(self, token: str) -> Any:
        return self.browser.post("/links", data=token, content_type="application/jose")


def authorization(url: str) -> dict[str, str]:
    fields = parse_qs(urlsplit(url).query, strict_parsing=True)
    assert all(len(v) == 1 for v in fields.values())
    return {k: v[0] for k, v in fields.items()}


@contextmanager
def launch_site(folder: Path, **web: Any) -> Iterator[Site]:
    clock = ManualClock(START)
    ehr = SmartEhr(clock)
    ehr.start()
    try:
        jwks = folder / "portal.json"
        jwks.write_text(json.dumps({"keys": [PORTAL_KEY.as_dict(private=False)]}))
        settings = Settings.model_validate(
            {
                "issuer": [{"name": "HOSP", "system": MRN_SYSTEM}],
                "web": {"public_url": PUBLIC, "viewer_url": VIEWER} | web,
                "launch": {
                    "smart": [{"iss": ehr.iss, "client_id": CLIENT}],
                    "link": [{"iss": PORTAL, "jwks_file": str(jwks)}],
                },
            }
        )
        desk = FakeDesk(clock)
        desk.patients[("M1", "HOSP")] = [Line(CT, description="CT head")]
        desk.patients[("M2", "HOSP")] = [Line(FOREIGN)]
        smart = SmartClient(
            settings.launch.smart,
            settings.issuers,
            redirect_uri=f"{settings.web.public_url}/launch/callback",
            clock=clock,
        )
        deps = Deps(settings, desk, clock, smart, ready=lambda: {"database": True}, viewer=(who_blueprint,))
        public, viewer = create_public_app(deps), create_viewer_app(deps)
        yield Site(
            ehr, desk, clock, deps, client(public, settings.web.public_url), client(viewer, settings.web.viewer_url)
        )
    finally:
        ehr.stop()


class Browser(FlaskClient):
    """A test client that stays on one origin."""

    home = ""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("base_url", self.home)
        return super().open(*args, **kwargs)


def client(app: Flask, url: str) -> Browser:
    browser = Browser(app, Response, use_cookies=True)
    browser.home = url
    return browser
