"""MSH as far as it can be read: from bytes that do not decode, from the first 4 KiB of a message that is too large."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge.errors import NotReadable, Unsupported
from bridge.hl7.charset import REFUSED

_NOISE = b"\xef\xbb\xbf\r\n\t \x00"
_FIELDS = 18
_MOST_FIELD = 512
_MOST_LINE = 64 * 1024
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Header:
    """Whole fields as they were sent, but ASCII, without control bytes, and at most 512 characters each.

    `field_separator` and `encoding_characters` are the sender's, good or bad; '' when there is no MSH.
    """

    field_separator: str = ""
    encoding_characters: str = ""
    sending_application: str = ""
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    timestamp: str = ""
    message_type: str = ""
    control_id: str = ""
    processing_id: str = ""
    version: str = ""
    sequence_number: str = ""
    accept_ack: str = ""
    application_ack: str = ""
    character_sets: str = ""

    @property
    def usable(self) -> bool:
        """There was an MSH at all."""
        return bool(self.field_separator)

    @property
    def event(self) -> str:
        """MSH-9.2."""
        parts = self.message_type.split(self.encoding_characters[:1] or "^")
        return parts[1] if len(parts) > 1 else ""


def header_of(raw: bytes) -> Header:
    """The header, at best effort; never raises."""
    cut = _cut(raw.lstrip(_NOISE))
    if not cut:
        return Header()
    fields = [_plain(one) for one in cut[:_FIELDS]]
    fields += [""] * (_FIELDS - len(fields))
    return Header(
        field_separator=cut[-1].decode("ascii", "replace"),
        encoding_characters=fields[1],
        sending_application=fields[2],
        sending_facility=fields[3],
        receiving_application=fields[4],
        receiving_facility=fields[5],
        timestamp=fields[6],
        message_type=fields[8],
        control_id=fields[9],
        processing_id=fields[10],
        version=fields[11],
        sequence_number=fields[12],
        accept_ack=fields[14],
        application_ack=fields[15],
        character_sets=fields[17],
    )


def marks_of(body: bytes) -> tuple[str, str, str]:
    """MSH-1, MSH-2 and MSH-18 of what `locate_header` gave, as `header_of` would give them."""
    cut = _cut(body)
    if not cut:
        return "", "", ""
    declared = cut[17] if len(cut) > 18 else b""
    return cut[-1].decode("ascii", "replace"), _plain(cut[1]), _plain(declared)


def _cut(body: bytes) -> list[bytes]:
    """The fields of MSH as bytes, `MSH` first and what follows MSH-19 in one, then the separator; [] without MSH."""
    if not body.startswith(b"MSH") or len(body) < 4 or body[3] in b"\r\n":
        return []
    # 19 fields cannot need more, and a header without a line end must not cost a copy of 16 MiB.
    line = body[:_MOST_LINE].split(b"\r", 1)[0].split(b"\n", 1)[0]
    separator = line[3:4]
    return [*line.split(separator, _FIELDS), separator]


def locate_header(raw: bytes) -> bytes:
    """The message from its `MSH` on. Raises NotReadable(where="MSH"), or Unsupported for UTF-16 and UTF-32."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or (raw[:8].replace(b"\x00", b"") != raw[:8] and b"M\x00" in raw[:8]):
        raise Unsupported("UTF-16 and UTF-32 cannot be framed by MLLP", where="MSH-18", code=REFUSED)
    body = raw.lstrip(_NOISE)
    if not body.startswith(b"MSH"):
        raise NotReadable("no message header", where="MSH")
    return body


def _plain(value: bytes) -> str:
    if len(value) <= _MOST_FIELD and value.isascii() and (text := value.decode("ascii")).isprintable():
        return text
    return _CONTROLS.sub("", value[:_MOST_FIELD].decode("ascii", "replace")).replace("\ufffd", "?")
