"""The chart pages of the pretend EHR: the list of patients, one patient's chart, and the buttons that launch."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import date, datetime
from urllib.parse import urlencode

import requests
from flask import Blueprint, Response, abort, make_response, redirect, render_template, request

from bridge.clock import Clock
from bridge.errors import BridgeError, NotAllowed, NotFound
from bridge.sandbox.authorization_state import DR_DEMO
from bridge.sandbox.fhir_records import FhirRecords

_COOKIE = "pretend_ehr_user"
_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

NewLaunch = Callable[[str, str | None], str]
LinkMaker = Callable[[str], str]


def chart_pages(
    records: FhirRecords,
    *,
    fhir_base: str,
    launch_url: Callable[[], str],
    new_launch: NewLaunch,
    link_maker: Callable[[], LinkMaker | None],
    clock: Clock,
) -> Blueprint:
    """`/`, `/chart/{patient id}`, `POST /launch`, which sends the browser to the bridge with a fresh handle, and
    `POST /link`, which sends it to a signed link that the bridge made for us."""
    pages = Blueprint("chart", __name__, template_folder="templates", static_folder="static")
    # Its only use: a page of another site cannot press our buttons (the cookie is SameSite).
    user_cookie = secrets.token_urlsafe(16)

    @pages.get("/")
    def patients() -> str:
        return render_template("patients.html", patients=records.patients(), user=DR_DEMO)

    @pages.get("/chart/<patient_id>")
    def chart(patient_id: str) -> str:
        patient, studies, orders = records.chart(patient_id)
        return render_template(
            "chart.html",
            patient=patient,
            studies=studies,
            orders=orders,
            age=age(patient.birth_date, clock.now().astimezone().date()),
            user=DR_DEMO,
            ready=bool(launch_url()),
            links=link_maker() is not None,
        )

    def check_user() -> None:
        if not secrets.compare_digest(request.cookies.get(_COOKIE, "").encode(), user_cookie.encode()):
            abort(403)

    @pages.post("/launch")
    def launch() -> Response:
        check_user()
        if not launch_url():
            abort(503)
        study = request.form.get("study") or None
        handle = new_launch(request.form.get("patient", ""), study)
        target = launch_url()
        joiner = "&" if "?" in target else "?"
        answer = redirect(target + joiner + urlencode({"iss": fhir_base, "launch": handle}), 303)
        return make_response(answer)

    @pages.post("/link")
    def link() -> Response:
        check_user()
        make = link_maker()
        if make is None:
            abort(503)
        study = records.study(request.form.get("study", ""))
        if study.patient_id != request.form.get("patient"):
            raise NotAllowed("the study is another patient's", where="study")
        return make_response(redirect(make(study.uid), 303))

    @pages.errorhandler(requests.RequestException)
    def unlinked(_: requests.RequestException) -> tuple[str, int]:
        return render_template("error.html", text="The bridge made no link", user=DR_DEMO), 502

    @pages.app_errorhandler(BridgeError)
    def failed(error: BridgeError) -> tuple[str, int]:
        status, text = 502, "The record does not answer"
        if isinstance(error, NotFound):
            status, text = 404, "Not in this EHR"
        if isinstance(error, NotAllowed):
            status, text = 403, "Not this patient's"
        return render_template("error.html", text=text, user=DR_DEMO), status

    @pages.after_request
    def dress(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _CSP
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if request.endpoint != "chart.static":
            response.headers["Cache-Control"] = "no-store"
            response.set_cookie(_COOKIE, user_cookie, httponly=True, samesite="Lax")
        return response

    pages.add_app_template_filter(spoken_time, "spoken_time")
    return pages


def spoken_time(text: str) -> str:
    """A FHIR dateTime as people write it: `25 Nov 2026, 09:12`; what is not one is shown as it is."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text or "–"
    if len(text) <= 10:
        return f"{when.day} {when:%b %Y}"
    return f"{when.astimezone().day} {when.astimezone():%b %Y, %H:%M}"


def age(birth_date: str, today: date) -> str:
    """Full years, '' without a full birth date."""
    try:
        born = date.fromisoformat(birth_date)
    except ValueError:
        return ""
    return str(today.year - born.year - ((today.month, today.day) < (born.month, born.day)))
