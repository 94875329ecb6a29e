"""An answer before it is anybody's framework: status, headers, and a body of pieces."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from bridge.dicomweb.accept import Offer, choose, read_accept, takes_gzip
from bridge.dicomweb.body import Piece, size_of
from bridge.dicomweb.status import METHOD, not_acceptable, status_of
from bridge.errors import BridgeError, StoreUnavailable

_GZIP_FROM = 8 * 1024
_JSON = (Offer("application/dicom+json"), Offer("application/json"))


@dataclass(frozen=True, slots=True)
class Answer:
    """`length` None = not known beforehand: the body is sent in chunks."""

    status: int
    headers: dict[str, str]
    body: Iterable[Piece] = field(default=())
    length: int | None = 0


def whole(content_type: str, pieces: list[Piece]) -> Answer:
    return Answer(200, {"Content-Type": content_type}, pieces, size_of(pieces))


def chosen(accept: str, offers: tuple[Offer, ...], stored_as: str) -> Offer:
    """The representation for an Accept header; `Unsupported` (406) that says how to ask instead."""
    offer = choose(read_accept(accept), offers)
    if offer is None:
        raise not_acceptable(f"none of the accepted media types can be sent; it is stored as {stored_as}")
    return offer


def json_type(accept: str) -> str:
    """`application/dicom+json`, or `application/json` for who takes only that (PS3.18 8.7.3.2)."""
    return chosen(accept, _JSON, _JSON[0].media).media


def json_answer(content_type: str, content: bytes, encoding: str) -> Answer:
    """JSON, compressed when the client takes gzip and it is worth it."""
    headers = {"Content-Type": content_type}
    if len(content) >= _GZIP_FROM and takes_gzip(encoding):
        # Level 1: DICOM JSON repeats itself so much that more only costs time.
        content = gzip.compress(content, 1, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Answer(200, headers, [content], len(content))


def problem(error: BridgeError) -> Answer:
    """RFC 9457. Texts name fields, never values: nothing that was sent comes back."""
    status = status_of(error)
    content = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status, "code": error.code}
    if status < 500:
        content["detail"] = str(error)
        if error.where:
            content["where"] = error.where
    headers = {"Content-Type": "application/problem+json"}
    if error.code == METHOD:
        headers["Allow"] = "GET, HEAD"
    if isinstance(error, StoreUnavailable):
        headers["Retry-After"] = "2"
    body = orjson.dumps(content)
    return Answer(status, headers, [body], len(body))


_TITLES = {
    400: "Bad request",
    401: "No session",
    403: "Not part of this session",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    503: "Try again shortly",
}
