"""The launch, public origin (SMART App Launch 2.2, EHR launch): from the chart to the viewer's door.

GET  /launch            the EHR's call; sends the browser to sign in
GET  /launch/callback   the sign-in's answer; one study: to the viewer
GET  /launch/at/{id}    several studies: the list; none: a page that looks again
GET  /launch/jwks.json  our public keys, for an EHR to register
POST /launch/open       a study of the list; to the viewer
POST /logout            ends the session
"""

from __future__ import annotations

import logging
from urllib.parse import urlencode

from flask import Blueprint, Response, jsonify, render_template, request

from bridge.errors import BadInput, BadValue, BridgeError, MissingField, NotAllowed, NotFound
from bridge.log import work
from bridge.smart.client import Arrival
from bridge.smart.client_key import public_set
from bridge.web.browser import OPAQUE, Cookie, browser_id, check_csrf, csrf_token
from bridge.web.lobby import Guest, Lobby
from bridge.web.ports import Deps, LaunchSession, PendingLaunch

log = logging.getLogger("bridge.web.launch")

LONGEST = 4096
REFRESH_SECONDS = 15
BROWSER = "bridge-browser"


def single(name: str) -> str:
    """The query parameter that must stand there once; a second one is somebody's trick."""
    values = request.args.getlist(name)
    if not values or not values[0]:
        raise MissingField("parameter missing", where=name)
    if len(values) > 1 or len(values[0]) > LONGEST:
        raise BadValue("parameter given twice, or too long", where=name)
    return values[0]


class Launches:
    """The steps that launches and links have in common."""

    def __init__(self, deps: Deps) -> None:
        self.deps = deps
        self.cookie = Cookie(BROWSER, deps.settings.web.public_url)
        self.lobby = Lobby(deps.clock, deps.settings.session_life.total_seconds())

    def sign_in_url(self, iss: str, launch: str, browser: str, link: str = "") -> str:
        pending = self.deps.desk.begin(iss, launch, browser, link)
        return self.deps.smart.authorization_url(
            iss, launch=launch, state=pending.state, nonce=pending.nonce, verifier=pending.verifier
        )

    def to_viewer(self, session: LaunchSession, studies: tuple[str, ...]) -> Response:
        """Authority crosses to the viewer's origin by a code that works once."""
        code = self.deps.desk.hand_over(session.id, studies)
        work(log, "launch", session_id=session.id, count=len(studies), outcome="opened")
        return to(f"{self.deps.settings.web.viewer_url}/enter?{urlencode({'code': code})}")

    def turn_away(self, action: str, reason: str) -> None:
        self.deps.desk.turn_away(request.remote_addr or "-", action, reason)

    def find(self, guest: Guest, *, again: bool = False) -> None:
        """Open the session as soon as there are images. An unknown patient looks like one without images."""
        try:
            session = self.deps.desk.open(
                guest.user,
                patient=guest.subject.patient,
                study_instance_uids=guest.subject.study_instance_uids,
                origin="smart",
                quiet=again,
            )
        except NotFound:
            return
        guest.session = session if session.studies else None

    def arrive(self, arrival: Arrival, browser: str, link: str) -> Response:
        if arrival.subject is None:
            session = self.deps.desk.open_study(arrival.user, link, "link")
            return self.to_viewer(session, uids(session))
        guest = Guest(browser, arrival.user, arrival.subject, None, 0)
        self.find(guest)
        if guest.session and len(guest.session.studies) == 1:
            return self.to_viewer(guest.session, uids(guest.session))
        work(log, "launch", outcome="listed" if guest.session else "waiting")
        return to(f"/launch/at/{self.lobby.add(browser, arrival.user, arrival.subject, guest.session)}")


def launch_blueprint(launches: Launches) -> Blueprint:
    pages = Blueprint("launch", __name__)
    deps, lobby, cookie = launches.deps, launches.lobby, launches.cookie

    @pages.get("/launch")
    def start() -> Response:
        iss, launch = single("iss"), single("launch")
        try:
            deps.smart.check_issuer(iss)
        except BridgeError as error:
            launches.turn_away("launch", error.code)
            raise
        browser = browser_id(cookie)
        response = to(launches.sign_in_url(iss, launch, browser))
        cookie.set(response, browser)
        return response

    @pages.get("/launch/callback")
    def callback() -> Response:
        browser = cookie.get()
        try:
            if len(request.args.getlist("state")) != 1 or not OPAQUE.fullmatch(browser):
                raise NotAllowed("no state, or no browser cookie", where="state", code="state")
            pending = deps.desk.take(single("state"), browser)
        except (NotAllowed, BadInput):
            launches.turn_away("launch", "state")
            raise
        try:
            arrival = answered(pending)
        except BridgeError as error:
            deps.desk.refuse(pending.iss, error.code)
            raise
        return launches.arrive(arrival, browser, pending.link)

    def answered(pending: PendingLaunch) -> Arrival:
        deps.smart.check_answerer(pending.iss, single("iss") if "iss" in request.args else None)
        if "error" in request.args:
            raise NotAllowed("the authorisation server refused", where="error", code="ehr-refused")
        return deps.smart.finish(
            pending.iss,
            launch=pending.launch,
            code=single("code"),
            nonce=pending.nonce,
            verifier=pending.verifier,
        )

    @pages.get("/launch/jwks.json")
    def keys() -> Response:
        return jsonify(public_set(i.client_key_file for i in deps.settings.launch.smart if i.client_key_file))

    @pages.get("/launch/at/<opaque>")
    def at(opaque: str) -> Response:
        guest = lobby.get(opaque, cookie.get())
        if guest.session is None:
            launches.find(guest, again=True)
        if guest.session is None:
            page = Response(render_template("waiting.html", banner=guest.subject.banner, seconds=REFRESH_SECONDS))
            page.headers["Refresh"] = str(REFRESH_SECONDS)
            return page
        if len(guest.session.studies) == 1:
            return launches.to_viewer(guest.session, uids(guest.session))
        return Response(
            render_template(
                "studies.html",
                banner=guest.subject.banner,
                studies=sorted(guest.session.studies, key=lambda s: str(s.date or ""), reverse=True),
                user=guest.user.name,
                at=opaque,
                csrf=csrf_token(guest.browser, opaque),
            )
        )

    @pages.post("/launch/open")
    def choose() -> Response:
        guest = listed()
        study = request.form.get("study", "")
        if guest.session is None or study not in uids(guest.session):
            raise NotFound("no such study in this launch", where="study")
        return launches.to_viewer(guest.session, (study,))

    @pages.post("/logout")
    def logout() -> Response:
        guest = listed()
        if guest.session is not None:
            deps.desk.revoke(guest.session.id)
            work(log, "logout", session_id=guest.session.id)
        lobby.remove(request.form["at"])
        return closed()

    def listed() -> Guest:
        opaque = request.form.get("at", "")
        check_csrf(cookie.get(), opaque)
        return lobby.get(opaque, cookie.get())

    return pages


def uids(session: LaunchSession) -> tuple[str, ...]:
    return tuple(study.study_instance_uid for study in session.studies)


def to(url: str) -> Response:
    """303: what follows is a GET, whatever this was."""
    return Response(status=303, headers={"Location": url})


def closed() -> Response:
    return Response(
        render_template(
            "message.html",
            title="The images are closed",
            text="This session has ended. You may close this window.",
            all_closed=True,
        )
    )
