"""Rejection notes as they come: Key Object Selections whose title rejects objects (RAD-66; PS3.3 C.17.6).

Read beside the header, before the note is kept: what it rejects is hidden by the transaction that makes its own row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset

from bridge.dicom.header import items, read_elements, text
from bridge.domain.coding import Code
from bridge.domain.rejection import Hidden, RejectedInstance, RejectionNote, title_of
from bridge.errors import NotReadable
from bridge.uids import is_uid

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
EVIDENCE_BYTES = 8 * 1024**2
"""Some 50,000 references."""
_TITLE, _CONTENT, _EVIDENCE = 0x0040A043, 0x0040A730, 0x0040A375
_MODIFIER = ("113011", "DCM")
"""Document Title Modifier (TID 2010): for a rejection for quality its reason, of CID 7011."""


def read_note(path: Path) -> RejectionNote | None:
    """What a key object selection rejects; None for one that rejects nothing.

    One whose evidence is too large, broken, or names no object is not `readable`. Raises `StoreUnavailable`.
    """
    title = _title(path)
    if title is None:
        return None
    try:
        found = tuple(dict.fromkeys(_evidence(read_elements(path, {_EVIDENCE}, EVIDENCE_BYTES))))
    except NotReadable:
        found = ()
    return RejectionNote(title, found, _reason(path) if title is Hidden.QUALITY else None, readable=bool(found))


def _title(path: Path) -> Hidden | None:
    try:
        data = read_elements(path, {_TITLE}, EVIDENCE_BYTES)
    except NotReadable:
        return None
    return next((found for item in items(data, _TITLE) if (found := title_of(*_code(item)))), None)


def _evidence(data: Dataset) -> Iterator[RejectedInstance]:
    """Raises `NotReadable` when a reference is not made of UIDs: a note is applied whole or by a person."""
    for study in items(data, _EVIDENCE):
        for series in items(study, 0x00081115):
            for one in items(series, 0x00081199):
                uids = text(study, 0x0020000D), text(series, 0x0020000E), text(one, 0x00081155)
                if not all(map(is_uid, uids)):
                    raise NotReadable("a reference is not made of UIDs", where="(0040,A375)")
                yield RejectedInstance(*uids)


def _reason(path: Path) -> Code | None:
    try:
        data = read_elements(path, {_CONTENT}, EVIDENCE_BYTES)
    except NotReadable:
        return None
    for item in items(data, _CONTENT):
        if any(_code(name) == _MODIFIER for name in items(item, _TITLE)):
            for code in items(item, 0x0040A168):
                return Code(*_code(code), text(code, 0x00080104))
    return None


def _code(item: Dataset) -> tuple[str, str]:
    return text(item, 0x00080100), text(item, 0x00080102)
