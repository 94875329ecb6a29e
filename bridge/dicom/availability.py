"""Instance Availability Notification on the wire (PS3.4 Annex R; RAD-49): N-CREATE, read and checked by Table R.3.2-1.

Strict where a study hangs on it (type 1), tolerant of absent type 2 attributes, which archives are known to leave out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pydicom.dataset import Dataset
from pynetdicom.events import Event

from bridge.dicom import status
from bridge.dicom.header import read_data_set
from bridge.domain.availability import Availability, AvailabilityNotice, RemoteInstance
from bridge.errors import BadValue, MissingField, TooLarge
from bridge.uids import is_uid, new_uid

MOST_INSTANCES = 50_000
ELEMENTS = 10 * MOST_INSTANCES
_ALLOWED = frozenset({0x00080005, 0x00081111, 0x0020000D, 0x00081115})
_STUDY, _SERIES, _OBJECTS = "(0020,000D)", "(0008,1115)", "(0008,1199)"


class Read(NamedTuple):
    """`given`: our UID, when the archive left the choice to us (PS3.7 10.1.5.1.4)."""

    notice: AvailabilityNotice
    status: Dataset | int
    given: Dataset | None


def read_notice(event: Event) -> Read:
    """What an N-CREATE notifies; raises what is wrong with it. Attributes outside the table are 0107, and ignored."""
    request: Any = event.request
    named = _text(request.AffectedSOPInstanceUID)
    if named and not is_uid(named):
        raise BadValue("not a UID", where="(0000,1000)", code="bad-uid")
    if request.AttributeList is None:
        raise MissingField("no attributes", where=_STUDY)
    data = read_data_set(request.AttributeList.getvalue(), str(event.context.transfer_syntax), most=ELEMENTS)
    notice = AvailabilityNotice(named or new_uid(), _uid(data, "StudyInstanceUID", _STUDY), tuple(_instances(data)))
    outside = tuple(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in map(int, data.keys()) if tag not in _ALLOWED)
    given = None
    if not named:
        given = Dataset()
        given.AffectedSOPInstanceUID = notice.sop_instance_uid
    return Read(notice, status.attributes_ignored(outside) if outside else status.SUCCESS, given)


def _instances(data: Dataset) -> list[RemoteInstance]:
    """Each instance once; the last item of it holds."""
    found: dict[str, RemoteInstance] = {}
    for series in _items(data, "ReferencedSeriesSequence", _SERIES):
        uid = _uid(series, "SeriesInstanceUID", "(0020,000E)")
        for item in _items(series, "ReferencedSOPSequence", _OBJECTS):
            one = _instance(uid, item)
            found[one.sop_instance_uid] = one
    if len(found) > MOST_INSTANCES:
        raise TooLarge("more instances than are taken in one notification", where=_OBJECTS)
    return list(found.values())


def _instance(series_uid: str, item: Dataset) -> RemoteInstance:
    word = _required(item, "InstanceAvailability", "(0008,0056)")
    if word not in Availability.__members__:
        raise BadValue("not an instance availability", where="(0008,0056)")
    return RemoteInstance(
        series_uid,
        _uid(item, "ReferencedSOPClassUID", "(0008,1150)"),
        _uid(item, "ReferencedSOPInstanceUID", "(0008,1155)"),
        Availability(word),
        _required(item, "RetrieveAETitle", "(0008,0054)"),
        _text(item.get("RetrieveURL")) or _text(item.get("RetrieveURI")),
    )


def _items(data: Dataset, keyword: str, where: str) -> Any:
    if keyword not in data:
        raise MissingField("a required attribute is missing", where=where)
    if not data[keyword].value:
        raise MissingField("a required attribute is empty", where=where, code="missing-value")
    return data[keyword].value


def _required(data: Dataset, keyword: str, where: str) -> str:
    if keyword not in data:
        raise MissingField("a required attribute is missing", where=where)
    value = data[keyword].value
    text = "\\".join(map(_text, value)) if isinstance(value, list | tuple) else _text(value)
    if not text:
        raise MissingField("a required attribute is empty", where=where, code="missing-value")
    return text


def _uid(data: Dataset, keyword: str, where: str) -> str:
    uid = _required(data, keyword, where)
    if not is_uid(uid):
        raise BadValue("not a UID", where=where)
    return uid


def _text(value: Any) -> str:
    return str(value or "").strip(" \0")
