"""`/fhir` of the pretend EHR: a thin reverse proxy to the FHIR server, which already names our address in its links."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import requests
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from bridge.sandbox.authorization_state import State

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
# Hop by hop (RFC 9110 7.6.1), or ours to say.
_HOP_BY_HOP = ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
_NOT_FORWARDED = frozenset((*_HOP_BY_HOP, "host", "content-length", "cookie", "authorization"))
_NOT_RETURNED = frozenset((*_HOP_BY_HOP, "server", "date"))


def fhir_proxy(upstream: str, state: State) -> Blueprint:
    """Forward `/fhir/*` to `upstream`. A bearer token, when there is one, must be alive; the hospital's own systems
    (the bridge that publishes) need none, because all of it is on loopback."""
    pages = Blueprint("fhir", __name__)
    session = requests.Session()
    session.trust_env = False

    @pages.route("/fhir", defaults={"path": ""}, methods=_METHODS)
    @pages.route("/fhir/<path:path>", methods=_METHODS)
    def forward(path: str) -> Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and state.live_token(token.strip()) is None:
            return _outcome(401, "login", "the access token is unknown or expired")
        query = request.query_string.decode("latin-1")
        try:
            answer = session.request(
                request.method,
                f"{upstream}/{quote(path, safe='/$')}".rstrip("/") + (f"?{query}" if query else ""),
                headers={k: v for k, v in request.headers if k.lower() not in _NOT_FORWARDED},
                data=request.get_data() or None,
                stream=True,
                allow_redirects=False,
                timeout=(5, 60),
            )
        except requests.RequestException:
            return _outcome(502, "transient", "the pretend FHIR server does not answer")
        headers = [(k, v) for k, v in answer.headers.items() if k.lower() not in _NOT_RETURNED]
        return Response(_chunks(answer), answer.status_code, headers)

    @pages.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        return _outcome(error.code or 500, "processing", error.name)

    return pages


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    # Undecoded: Content-Encoding and Content-Length are passed on as they came.
    with answer:
        yield from answer.raw.stream(65536, decode_content=False)


def _outcome(status: int, code: str, text: str) -> Response:
    response = jsonify(
        {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code, "diagnostics": text}]}
    )
    response.status_code = status
    response.mimetype = "application/fhir+json"
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    return response
