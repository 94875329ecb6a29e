"""Our errors as HTTP statuses (PS3.18 8.5): the one table of this folder."""

from __future__ import annotations

from bridge.errors import BadInput, BadValue, BridgeError, NotAllowed, NotFound, StoreUnavailable, Unsupported

NO_SESSION = "no-session"
NOT_ACCEPTABLE = "not-acceptable"
METHOD = "method-not-allowed"

_BY_CODE = {NO_SESSION: 401, METHOD: 405, NOT_ACCEPTABLE: 406}
_BY_CLASS: tuple[tuple[type[BridgeError], int], ...] = (
    (NotAllowed, 403),
    (NotFound, 404),
    (BadInput, 400),
    (StoreUnavailable, 503),
)


def status_of(error: BridgeError) -> int:
    """The status an error is answered with; 500 for what is nobody's request's fault."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    return next((status for kind, status in _BY_CLASS if isinstance(error, kind)), 500)


def no_session() -> NotAllowed:
    return NotAllowed("no session, or it has ended", code=NO_SESSION)


def not_acceptable(message: str) -> Unsupported:
    return Unsupported(message, where="Accept", code=NOT_ACCEPTABLE)


def wrong_method() -> Unsupported:
    return Unsupported("only GET and HEAD: nothing is stored or changed here", code=METHOD)


def bad(message: str, where: str) -> BadValue:
    return BadValue(message, where=where)
