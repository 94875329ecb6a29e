"""A stored message for a person's eyes: segments and fields by name, escapes decoded, control bytes visible."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from hl7apy import load_library  # type: ignore[import-untyped]
from hl7apy.exceptions import HL7apyException  # type: ignore[import-untyped]

from bridge.config import Feed
from bridge.errors import BadInput
from bridge.hl7.delimiters import Delimiters
from bridge.hl7.message import Message, Segment

_NAMES = {
    "MSH": "Message header", "EVN": "Event", "PID": "Patient", "PD1": "Patient, additional", "NTE": "Note",
    "PV1": "Visit", "PV2": "Visit, additional", "AL1": "Allergy", "DG1": "Diagnosis", "ORC": "Order", "TQ1": "Timing",
    "OBR": "Observation request", "OBX": "Observation", "IPC": "Imaging procedure control", "ZDS": "Study Instance UID",
    "MRG": "Merge", "SCH": "Appointment", "RGS": "Resource group", "AIS": "Appointment: service",
    "AIL": "Appointment: place", "AIP": "Appointment: person", "AIG": "Appointment: resource", "MSA": "Acknowledgement",
    "ERR": "Error", "GT1": "Guarantor", "IN1": "Insurance", "NK1": "Next of kin", "SPM": "Specimen",
}  # fmt: skip
_LIBRARY = "2.5.1"
_MOST = 2000


def show_message(raw: bytes, feed: Feed | None) -> list[dict[str, Any]]:
    """The segments as `{"segment", "name", "fields": [{"field", "name", "value"}]}`; bytes that cannot be read as one
    segment without a name."""
    try:
        message = Message.read(
            raw,
            charset_override=feed.charset_override if feed else "",
            charset_default=feed.charset_default if feed else "",
        )
    except BadInput:
        text = raw.decode("utf-8", "backslashreplace")
        lines = text.replace("\r\n", "\r").replace("\n", "\r").split("\r")
        return [
            {"segment": "", "name": "not readable", "fields": [_field(n, "", line)]}
            for n, line in enumerate(lines, 1)
            if line
        ]
    header = message.header
    marks = Delimiters.read(header.field_separator, header.encoding_characters).decoding(message.character_set)
    return [
        {"segment": one.name, "name": _NAMES.get(one.name, ""), "fields": _fields(one, marks)}
        for one in message.all_segments
    ]


def show_acks(stored: bytes) -> list[list[dict[str, Any]]]:
    """The acknowledgements of a message as the store keeps them, each like `show_message`."""
    return [show_message(one, None) for one in stored.split(b"\x1c") if one]


def _fields(segment: Segment, marks: Delimiters) -> list[dict[str, Any]]:
    """What the segment holds, its delimiters left in their places."""
    names = _field_names(segment.name)
    found = []
    for number in range(1, segment.text.count(marks.field) + 2):
        raw = segment.raw_field(number)
        if raw:
            value = raw if segment.name == "MSH" and number <= 2 else marks.unescape(raw)
            found.append(_field(number, names.get(number, ""), value))
    return found


def _field(number: int, name: str, value: str) -> dict[str, Any]:
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in value)
    return {
        "field": number,
        "name": name,
        "value": shown if len(shown) <= _MOST else f"{shown[:_MOST]}… ({len(shown)})",
    }


@lru_cache(maxsize=64)
def _field_names(segment: str) -> dict[int, str]:
    """The names of the standard (v2.5.1), `Patient identifier list`."""
    try:
        fields = load_library(_LIBRARY).get(segment, "Segment")[1]
    except HL7apyException:  # a Z segment has no names
        return {}
    return {int(name.rsplit("_", 1)[1]): str(what[3]).replace("_", " ").capitalize() for name, what, *_ in fields}
