"""The viewer origin's own pages: the door, the end, and which launch a request belongs to.

GET  /                  nothing but where images are opened from
GET  /enter             takes the hand-over code, sets the cookie
GET  /launch/expired    where the viewer goes when it may not read any more
GET, POST /launch/end   ends this browser's sessions
"""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, render_template, request

from bridge.domain.access import Session
from bridge.errors import NotAllowed
from bridge.web.browser import OPAQUE, Cookie, check_csrf, csrf_token
from bridge.web.launch import closed, single, to
from bridge.web.ports import CurrentSession, Deps, LaunchDesk

VIEWER = "bridge-viewer"
MOST = 4
END = "/launch/end"


class Holder:
    """The launches of one browser: its cookie holds the tokens of the newest few, so that two patients may be open in
    two tabs and each request still belongs to one launch."""

    def __init__(self, desk: LaunchDesk, url: str) -> None:
        self._desk = desk
        self.cookie = Cookie(VIEWER, url)

    def tokens(self) -> tuple[str, ...]:
        return tuple(t for t in self.cookie.get().split(".")[:MOST] if OPAQUE.fullmatch(t))

    def live(self) -> dict[str, Session]:
        """Token and session, newest first."""
        found = ((token, self._desk.session(token)) for token in self.tokens())
        return {token: session for token, session in found if session is not None}

    def current(self) -> Session | None:
        """The launch that may see the study in the request's address; else the newest, which may not: audited."""
        study, newest = _study_asked(), None
        for token in self.tokens():
            session = self._desk.session(token)
            if session is not None:
                if not study or study in session.studies:
                    return session
                newest = newest or session
        if newest and study == _study_in_path():
            self._desk.refuse_images(newest, study)
        return newest


def entrance_blueprint(deps: Deps) -> tuple[Blueprint, CurrentSession]:
    pages = Blueprint("entrance", __name__)
    holder = Holder(deps.desk, deps.settings.web.viewer_url)

    @pages.get("/")
    def front() -> Response:
        return Response(render_template("front.html"))

    @pages.get("/enter")
    def enter() -> Response:
        code = single("code")
        try:
            if not OPAQUE.fullmatch(code):
                raise NotAllowed("not a code", where="code", code="handover")
            token, studies = deps.desk.enter(code)
        except NotAllowed as error:
            deps.desk.turn_away(request.remote_addr or "-", "enter", error.code)
            raise
        response = to(f"/viewer?{urlencode({'StudyInstanceUIDs': ','.join(studies)}, safe=',')}")
        holder.cookie.set(response, ".".join([token, *holder.live()][:MOST]))
        return response

    @pages.get("/launch/expired")
    def expired() -> Response:
        return Response(
            render_template(
                "message.html",
                title="These images cannot be shown any more here",
                text="They stay open for a limited time, and in the few tabs that were opened last. "
                "Open them again from the chart.",
            )
        )

    @pages.get(END)
    def ask() -> Response:
        return Response(render_template("end.html", csrf=csrf_token(holder.cookie.get(), END)))

    @pages.post(END)
    def end() -> Response:
        check_csrf(holder.cookie.get(), END)
        for session in holder.live().values():
            deps.desk.revoke(session.id)
        response = closed()
        holder.cookie.drop(response)
        return response

    return pages, holder.current


def _study_in_path() -> str:
    parts = request.path.split("/")
    return parts[parts.index("studies") + 1] if "studies" in parts[:-1] else ""


def _study_asked() -> str:
    return _study_in_path() or request.args.get("StudyInstanceUID") or request.args.get("0020000D") or ""
