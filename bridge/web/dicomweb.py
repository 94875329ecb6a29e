"""The DICOMweb gate under Flask: requests carried in, answers carried out; every decision is in `bridge.dicomweb`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Blueprint, Response, request

from bridge.clock import Clock, SystemClock
from bridge.dicomweb.answer import Answer, problem
from bridge.dicomweb.body import AT_ONCE, read
from bridge.dicomweb.gate import Request, admit, answer
from bridge.dicomweb.ports import Images
from bridge.domain.access import Session
from bridge.errors import BridgeError
from bridge.log import work

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_HEADERS = {
    "Cache-Control": "private, no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept, Accept-Encoding, Cookie",
}
log = logging.getLogger(__name__)


def dicomweb_blueprint(
    images: Images,
    current_session: Callable[[], Session | None],
    public_path: str = "/dicom-web",
    clock: Clock | None = None,
) -> Blueprint:
    """The service at `public_path`, for the session that `current_session` finds in the request (None: 401)."""
    blueprint = Blueprint("dicomweb", __name__, url_prefix=public_path)
    watch = clock or SystemClock()

    def view(path: str) -> Response:
        start = watch.monotonic()
        kind, session_id = "none", 0
        try:
            session = current_session()
            session_id = session.id if session else 0
            asked = _asked(path)
            target, session = admit(asked, session)
            kind = target.kind.value
            response = _response(answer(images, asked, target, session, public_path))
        except BridgeError as error:
            response = _response(problem(error))
            if response.status_code >= 500:
                work(log, "dicomweb failed", logging.ERROR, code=error.code, where=error.where)
        ms = round((watch.monotonic() - start) * 1000, 1)
        work(log, "dicomweb", target=kind, status=response.status_code, ms=ms, session_id=session_id)
        return response

    # Slashes stay as sent: a merged path would be a redirect, given before the session is looked at.
    blueprint.add_url_rule(
        "/<path:path>", "gate", view, methods=_METHODS, provide_automatic_options=False, merge_slashes=False
    )
    return blueprint


def _asked(path: str) -> Request:
    return Request(
        method=request.method,
        path=path,
        query=tuple(request.args.items(multi=True)),
        accept=request.headers.get("Accept", ""),
        accept_encoding=request.headers.get("Accept-Encoding", ""),
    )


def _response(found: Answer) -> Response:
    headers = {**_HEADERS, **found.headers}
    if found.length is not None:
        headers["Content-Length"] = str(found.length)
    if found.length is not None and found.length <= AT_ONCE:
        return Response(b"".join(read(found.body)), found.status, headers)
    return Response(read(found.body), found.status, headers)
