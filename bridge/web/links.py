"""Links: trusted systems ask for one (`POST /links`), people open it (`/s/{id}`).

Opening takes two steps: a scanner or preview that only fetches the address does not use the link up.
"""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, Response, jsonify, render_template, request

from bridge.errors import NotAllowed, NotFound, NotReadable, TooLarge, Unsupported
from bridge.smart.links import read_link_request
from bridge.web.browser import OPAQUE, browser_id, check_csrf, csrf_token
from bridge.web.launch import Launches, uids

MAX_BODY = 32768


def links_blueprint(launches: Launches) -> Blueprint:
    pages = Blueprint("links", __name__)
    deps, cookie = launches.deps, launches.cookie
    settings = deps.settings

    @pages.post("/links")
    def make() -> Response:
        asked = read_link_request(_token(), settings.launch.link, deps.clock)
        life = timedelta(minutes=settings.launch.link_minutes)
        expires = deps.clock.now() + life
        opaque = deps.desk.make_link(
            asked.issuer, asked.user, asked.study_instance_uid, asked.jti, life.total_seconds()
        )
        url = f"{settings.web.public_url}/s/{opaque}"
        answer = jsonify({"url": url, "expires": expires.isoformat(timespec="seconds")})
        answer.status_code = 201
        answer.headers["Location"] = url
        return answer

    @pages.get("/s/<opaque>")
    def ask(opaque: str) -> Response:
        _check(opaque)
        browser = browser_id(cookie)
        page = Response(render_template("link.html", csrf=csrf_token(browser, opaque), opaque=opaque))
        cookie.set(page, browser)
        return page

    @pages.post("/s/<opaque>")
    def follow(opaque: str) -> Response:
        _check(opaque)
        check_csrf(cookie.get(), opaque)
        iss = deps.smart.sign_in_issuer
        try:
            link = deps.desk.take_link(opaque)
        except NotAllowed as error:
            if error.code == "link-unknown":  # what was ours, the desk has audited by its study
                launches.turn_away("link-opened", error.code)
            raise
        if link.user is not None:
            session = deps.desk.open_study(link.user, link.study_instance_uid, "link")
            return launches.to_viewer(session, uids(session))
        if not iss:
            raise NotAllowed("no issuer to sign in at", where="launch.smart", code="no-sign-in")
        url = launches.sign_in_url(iss, "", cookie.get(), link.study_instance_uid)
        # Not a redirect: form-action binds every hop of a form's redirects, and who knows where a sign-in leads.
        page = Response(render_template("sign_in.html", url=url))
        page.headers["Refresh"] = f"0; url={url}"
        return page

    def _check(opaque: str) -> None:
        if not OPAQUE.fullmatch(opaque):
            launches.turn_away("link-opened", "link-unknown")
            raise NotFound("no such link", where="link", code="link-unknown")

    return pages


def _token() -> str:
    """The JWS of `POST /links`: the whole body as `application/jose`, or `{"token": ...}`."""
    if (request.content_length or 0) > MAX_BODY:
        raise TooLarge("body too large", where="body")
    if request.mimetype == "application/jose":
        return request.get_data().decode("ascii", "replace").strip()
    if request.mimetype != "application/json":
        raise Unsupported("send application/jose or application/json", where="Content-Type")
    body = request.get_json(silent=True)
    token = body.get("token") if isinstance(body, dict) else None
    if not isinstance(token, str):
        raise NotReadable("no token in the body", where="token")
    return token
