"""What ties requests to one browser: cookies, and proof that a form was ours."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from flask import Response, request

from bridge.errors import NotAllowed

OPAQUE = re.compile(r"[A-Za-z0-9_-]{22,128}")
FORM = "csrf"


def new_opaque() -> str:
    """256 random bits as text that fits a path."""
    return secrets.token_urlsafe(32)


class Cookie:
    """One HttpOnly cookie of one origin, for the life of the browser: `__Host-` and Secure behind https.

    SameSite=Lax: the EHR's redirects are top-level GETs, which carry it; foreign forms and frames do not.
    """

    def __init__(self, name: str, url: str) -> None:
        self.secure = url.startswith("https:")
        self.name = f"__Host-{name}" if self.secure else name

    def get(self) -> str:
        return request.cookies.get(self.name, "")

    def set(self, response: Response, value: str) -> None:
        response.set_cookie(self.name, value, path="/", secure=self.secure, httponly=True, samesite="Lax")

    def drop(self, response: Response) -> None:
        response.delete_cookie(self.name, path="/", secure=self.secure, httponly=True, samesite="Lax")


def browser_id(cookie: Cookie) -> str:
    """This browser's id, or a fresh one to be set with the answer."""
    value = cookie.get()
    return value if OPAQUE.fullmatch(value) else new_opaque()


def csrf_token(secret: str, form: str) -> str:
    """Proof for one form, derived from the cookie that only our pages and the browser know."""
    return hmac.new(secret.encode(), form.encode(), hashlib.sha256).hexdigest()


def check_csrf(secret: str, form: str) -> None:
    """Raise `NotAllowed` (`csrf`) unless the form was one of ours. `Origin` says nothing under no-referrer."""
    foreign = request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")
    given = request.form.get(FORM, "")
    if foreign or not secret or not hmac.compare_digest(given.encode(), csrf_token(secret, form).encode()):
        raise NotAllowed("the form is not one of ours", where=FORM, code="csrf")
