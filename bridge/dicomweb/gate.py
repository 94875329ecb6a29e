"""The gate: one request in, one answer out, nothing of any study outside the session (security: S26, S27, S29).

The order of the checks is the point: session, method, path and UIDs, the session's studies, and only then the store,
which checks again. No framework here; `bridge.web.dicomweb` carries requests in and answers out.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from bridge.dicomweb import wado
from bridge.dicomweb.answer import Answer, json_answer, json_type
from bridge.dicomweb.ports import Images
from bridge.dicomweb.qido import read_query, search
from bridge.dicomweb.status import no_session, not_acceptable, wrong_method
from bridge.dicomweb.target import Kind, Target, read_target
from bridge.domain.access import Session
from bridge.errors import NotAllowed

_SEARCHES = (Kind.SEARCH_STUDIES, Kind.SEARCH_SERIES, Kind.SEARCH_INSTANCES)


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is percent-decoded, below the service root, without a leading slash; `query` decoded pairs."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    accept: str = ""
    accept_encoding: str = ""


def admit(request: Request, session: Session | None) -> tuple[Target, Session]:
    """What the request names and who asks, all checked that needs no look into the store.

    Raises `NotAllowed` (`no-session` 401, else 403), `Unsupported` (405), `NotFound`, `BadValue`.
    """
    if session is None:
        raise no_session()
    if request.method not in ("GET", "HEAD"):
        raise wrong_method()
    target = read_target(request.path)
    if target.study and target.study not in session.studies:
        raise NotAllowed("the study is not part of this session", where="study")
    return target, session


def answer(images: Images, request: Request, target: Target, session: Session, root: str) -> Answer:
    """The answer to an admitted request; `root` is the service's path for links. The audit row comes before it."""
    accept = next((v for k, v in request.query if k == "accept" and v), request.accept)
    if target.kind in _SEARCHES:
        found = _search(images, request, target, session, root, accept)
    elif target.kind is Kind.METADATA:
        found = wado.metadata(images, session, target, root, accept, request.accept_encoding)
    elif target.kind is Kind.RETRIEVE:
        found = wado.retrieve(images, session, target, accept)
    elif target.kind is Kind.FRAMES:
        found = wado.frames(images, session, target, accept)
    elif target.kind is Kind.BULKDATA:
        found = wado.bulkdata(images, session, target, accept)
    else:
        raise not_acceptable("rendered images and thumbnails are not offered: ask for frames")
    if target.study:
        images.note_access(session, target.study)
    return found


def _search(images: Images, request: Request, target: Target, session: Session, root: str, accept: str) -> Answer:
    """200 with `[]` when nothing matches (PS3.18 10.6.3.1; editions up to 2024d said 204): clients read either."""
    content_type = json_type(accept)
    query = read_query(request.query)
    objects, more = search(images, session, target, query, root)
    found = json_answer(content_type, orjson.dumps(objects), request.accept_encoding)
    warnings = query.warnings + ((f"There are {more} additional results that can be requested",) if more else ())
    if warnings:
        found.headers["Warning"] = ", ".join(f'299 {root} "{text}"' for text in warnings)
    return found
