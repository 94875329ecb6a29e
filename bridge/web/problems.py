"""Errors as HTTP answers: `application/problem+json` (RFC 9457) for programs, a clear page for people.

The one table of this tongue. No stack, path, SQL or patient data leaves: people get the texts of `PAGES`, programs the
code and the name of the field.
"""

from __future__ import annotations

import json
import logging

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException

from bridge.errors import (
    BadInput,
    BadValue,
    BridgeError,
    ConfigurationError,
    MissingField,
    NotAllowed,
    NotFound,
    NotReadable,
    RemoteError,
    RemoteRefused,
    RemoteUnavailable,
    StateConflict,
    StoreBroken,
    StoreError,
    StoreUnavailable,
    TooLarge,
    Unsupported,
)
from bridge.log import work

log = logging.getLogger("bridge.web")

STATUS: dict[type[BridgeError], int] = {
    BridgeError: 500,
    ConfigurationError: 500,
    BadInput: 400,
    NotReadable: 400,
    Unsupported: 415,
    MissingField: 400,
    BadValue: 400,
    TooLarge: 413,
    StateConflict: 409,
    NotFound: 404,
    NotAllowed: 403,
    StoreError: 500,
    StoreUnavailable: 503,
    StoreBroken: 500,
    RemoteError: 502,
    RemoteUnavailable: 503,
    RemoteRefused: 502,
}
# Where the code says more than the class.
STATUS_OF_CODE = {
    "state": 400,
    "mix-up": 400,
    "unknown-issuer": 400,
    "no-session": 401,
    "token": 401,
    "replayed": 409,
    "link-unknown": 404,
    "link-used": 410,
    "link-expired": 410,
}
RETRY_SECONDS = 5

AGAIN = "Close this window and open the images from the chart again."
PAGES: dict[str, tuple[str, str]] = {
    "state": (
        "This launch cannot be continued",
        "It was used already, took too long, or began in another browser. " + AGAIN,
    ),
    "mix-up": ("This launch cannot be continued", "The answer came from another system than the one asked. " + AGAIN),
    "unknown-issuer": (
        "This system may not open images here",
        "The address that started this launch is not on this site's list. Please tell your imaging department.",
    ),
    "ehr-refused": ("The chart system did not agree", "It did not allow the images to be opened. " + AGAIN),
    "id-token": ("We could not check who you are", "The chart system's sign-in did not pass our checks. " + AGAIN),
    "no-patient": ("No patient was chosen", "Open a patient's chart first, then open the images from there."),
    "no-identifier": (
        "This patient is not known here",
        "The chart names no patient number that this site's imaging uses. Please tell your imaging department.",
    ),
    "patient-differs": (
        "These images belong to another patient",
        "For safety nothing was opened. Check that the right chart is open, and tell your imaging department.",
    ),
    "several-patients": (
        "This patient is not clear",
        "The chart's numbers lead to more than one patient here. For safety nothing was opened. Please tell your "
        "imaging department.",
    ),
    "study-unknown": ("These images are not here", "They may have been moved, or have not arrived yet."),
    "foreign-context": ("These images are kept elsewhere", "The launch names a study on another server. " + AGAIN),
    "handover": ("This link to the viewer is spent", "It works once, and only for a short time. " + AGAIN),
    "link-used": ("This link was used already", "A link opens once. Please ask for a new one."),
    "link-expired": ("This link has expired", "Please ask for a new one."),
    "link-unknown": ("This link does not work", "Check that it was copied whole, or ask for a new one."),
    "no-sign-in": ("Nobody can sign in here", "This site has no sign-in for such links. " + AGAIN),
    "csrf": ("This page is out of date", "It belongs to another session, or cookies are blocked. " + AGAIN),
    "no-session": ("This page has been closed", "The session ended, or the server was restarted. " + AGAIN),
}
PAGES_OF_STATUS: dict[int, tuple[str, str]] = {
    400: ("Something is missing", "The address of this page is not complete. " + AGAIN),
    403: ("Not allowed", "You may not see this. " + AGAIN),
    404: ("Nothing here", "There is no such page, or no such images for you."),
    421: ("Wrong address", "This server does not answer under that name."),
    502: ("The chart system did not help", "It answered in a way that we cannot use. Please try again from the chart."),
    503: ("Not available just now", "A system that is needed does not answer. Please try again in a moment."),
}
LAST = ("Something went wrong", "It is not your fault, and nothing was lost. Please try again.")


def status_of(error: BridgeError) -> int:
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def wants_page() -> bool:
    return "text/html" in request.headers.get("Accept", "")


def answer(status: int, code: str, *, detail: str = "", where: str = "", retry_after: float | None = None) -> Response:
    title, text = PAGES.get(code) or PAGES_OF_STATUS.get(status, LAST)
    if wants_page():
        response = Response(render_template("message.html", title=title, text=text, code=code), status)
    else:
        problem = {"type": f"urn:imaging-bridge:problem:{code}", "title": title, "status": status, "code": code}
        problem |= {k: v for k, v in (("detail", detail), ("where", where)) if v}
        response = Response(json.dumps(problem), status, mimetype="application/problem+json")
    if status == 503:
        response.headers["Retry-After"] = str(max(1, round(retry_after or RETRY_SECONDS)))
    return response


def handle(app: Flask) -> None:
    """Answer every error of `app` this way, and log it: the code and the place, never the content."""

    @app.errorhandler(BridgeError)
    def known(error: BridgeError) -> Response:
        status = status_of(error)
        level = logging.ERROR if status == 500 else logging.INFO
        work(log, "refused", level, code=error.code, status=status, where=error.where, rule=str(request.url_rule or ""))
        told = isinstance(error, BadInput | NotAllowed | NotFound)
        return answer(
            status,
            error.code,
            detail=str(error) if told else "",
            where=error.where if told else "",
            retry_after=getattr(error, "retry_after", None),
        )

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        response = answer(status, error.name.lower().replace(" ", "-"))
        if status == 405:
            response.headers.extend((k, v) for k, v in error.get_headers() if k == "Allow")
        return response

    @app.errorhandler(Exception)
    def unknown(error: Exception) -> Response:
        log.error("failed", exc_info=error, extra={"fields": {"rule": str(request.url_rule or "")}})
        return answer(500, "error")
