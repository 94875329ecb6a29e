"""The one table: what went wrong -> DIMSE status (PS3.7 Annex C; PS3.4 B.2.3, K.4.1.1.4, F.7.2).

A status is never invented elsewhere in this folder. `StoreBroken` has a row so that nothing is unmapped, but the
association is aborted instead of answered: after a failed sync nothing may be said.
"""

from __future__ import annotations

from typing import NamedTuple

from pydicom.dataset import Dataset

from bridge import errors

SUCCESS = 0x0000
PENDING = 0xFF00
PENDING_WARNING = 0xFF01
CANCEL = 0xFE00
ATTRIBUTES_NOT_SUPPORTED = 0x0001
ATTRIBUTE_LIST_ERROR = 0x0107
MAY_NO_LONGER_BE_UPDATED = 0xA710
NOT_AUTHORIZED = 0x0124


class Row(NamedTuple):
    """Status for C-FIND, C-STORE, and N-CREATE / N-SET."""

    find: int
    store: int
    step: int


TABLE: dict[type[errors.BridgeError], Row] = {
    errors.BridgeError: Row(0xC001, 0xC000, 0x0110),
    errors.ConfigurationError: Row(0xC001, 0xC000, 0x0110),
    errors.BadInput: Row(0xA900, 0xC000, 0x0110),
    errors.NotReadable: Row(0xA900, 0xC000, 0x0110),
    errors.Unsupported: Row(0x0122, 0x0122, 0x0122),
    errors.MissingField: Row(0xA900, 0xA900, 0x0120),
    errors.BadValue: Row(0xA900, 0xA900, 0x0106),
    errors.TooLarge: Row(0xA700, 0xA700, 0x0213),
    errors.StateConflict: Row(0xC001, 0xC000, 0x0110),
    errors.NotFound: Row(0xC001, 0xC000, 0x0112),
    errors.NotAllowed: Row(0x0124, 0x0124, 0x0124),
    errors.StoreError: Row(0xA700, 0xA700, 0x0213),
    errors.StoreUnavailable: Row(0xA700, 0xA700, 0x0213),
    errors.StoreBroken: Row(0xA700, 0xA700, 0x0110),
    errors.RemoteError: Row(0xC001, 0xC000, 0x0110),
    errors.RemoteUnavailable: Row(0xC001, 0xC000, 0x0110),
    errors.RemoteRefused: Row(0xC001, 0xC000, 0x0110),
}
STEP_CODES = {"duplicate": 0x0111, "missing-value": 0x0121, "bad-uid": 0x0117, "not-readable": 0x0110}
"""Finer words of `BridgeError.code` for the performed procedure step."""
STORE_CODES = {"rejected": 0xC771}
"""And for C-STORE: an object that was rejected before (docs/decisions/0016)."""
ACTION: dict[type[errors.BridgeError], int] = {
    errors.Unsupported: 0x0118,
    errors.MissingField: 0x0114,
    errors.BadValue: 0x0115,
    errors.StateConflict: 0x0131,
}
"""What N-ACTION answers otherwise (PS3.7 10.1.4.1.10, PS3.4 J.3.2): no such class, argument missing or wrong,
Transaction UID in use."""
NO_SUCH_ACTION = 0x0123


def of(error: Exception) -> Row:
    """The row of an error, by its nearest known class; anything foreign is an internal failure."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    return TABLE[errors.BridgeError]


def find_status(error: Exception) -> Dataset:
    """Status of a failed C-FIND with Offending Element and Error Comment (PS3.7 C.4)."""
    answer = _with_comment(of(error).find, error)
    tag = _tag(error)
    if tag is not None and answer.Status == 0xA900:
        answer.OffendingElement = [tag]
    return answer


def store_status(error: Exception) -> Dataset:
    answer = _with_comment(STORE_CODES.get(getattr(error, "code", ""), of(error).store), error)
    tag = _tag(error)
    if tag is not None and answer.Status in (0xA900, 0xC000):
        answer.OffendingElement = [tag]
    return answer


def step_status(error: Exception) -> Dataset:
    """Status of a failed N-CREATE or N-SET; a final step answers 0110 with Error ID A710 (PS3.4 F.7.2.2.2)."""
    row = of(error)
    code = STEP_CODES.get(getattr(error, "code", ""), row.step)
    answer = _with_comment(code, error)
    if isinstance(error, errors.StateConflict) and code == row.step:
        answer.ErrorID = MAY_NO_LONGER_BE_UPDATED
        answer.ErrorComment = "Performed Procedure Step Object may no longer be updated"
    return answer


def action_status(error: Exception) -> Dataset:
    """Status of a failed N-ACTION."""
    code = next((ACTION[kind] for kind in type(error).__mro__ if kind in ACTION), of(error).step)
    if getattr(error, "code", "") == "no-such-action":
        code = NO_SUCH_ACTION
    return _with_comment(code, error)


def attributes_ignored(places: tuple[str, ...]) -> Dataset:
    """0107: some attributes may not be set; the others were (PS3.7 10.1.3.1.9)."""
    answer = warning(ATTRIBUTE_LIST_ERROR, "not to be set, ignored: " + " ".join(places))
    answer.AttributeIdentifierList = [int(place[1:5] + place[6:10], 16) for place in places]
    return answer


def attributes_missing() -> Dataset:
    """0001: some attributes that were asked for are not there; the others are told (PS3.7 10.1.2.1.8)."""
    return warning(ATTRIBUTES_NOT_SUPPORTED, "some requested attributes are not there")


def warning(code: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = code
    answer.ErrorComment = comment[:64]
    return answer


def _with_comment(code: int, error: Exception) -> Dataset:
    # Foreign exceptions may quote what they choked on: their text is not for the wire.
    text = f"{error} {error.where}".strip() if isinstance(error, errors.BridgeError) else "internal error"
    return warning(code, text.encode("ascii", "replace").decode().replace("\\", "/").replace("\n", " "))


def _tag(error: Exception) -> int | None:
    where = getattr(error, "where", "")
    if len(where) == 11 and where[0] == "(" and where[5] == ",":
        try:
            return int(where[1:5] + where[6:10], 16)
        except ValueError:
            return None
    return None
