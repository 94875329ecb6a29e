"""Acknowledgements: which go out, what they say, and the one table from our errors to their codes.

HL7 v2.5.1 2.9.2 (original mode), 2.9.3 (enhanced mode), 2.15.5 (ERR), tables 0008, 0155, 0357.
ASCII only, and no values of fields: ERR names the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum

from bridge import errors
from bridge.errors import BridgeError, NotReadable
from bridge.hl7.delimiters import Delimiters
from bridge.hl7.header import Header, header_of


class AckCode(StrEnum):
    """MSA-1, table 0008."""

    AA = "AA"
    AE = "AE"
    AR = "AR"
    CA = "CA"
    CE = "CE"
    CR = "CR"

    @property
    def accept(self) -> AckCode:
        """The same verdict as an accept acknowledgement."""
        return AckCode("C" + self.value[1])

    @property
    def positive(self) -> bool:
        """AA or CA."""
        return self.value[1] == "A"


class Level(Enum):
    """The two acknowledgements of the enhanced mode."""

    ACCEPT = "accept"
    APPLICATION = "application"


MEANINGS = {
    0: "Message accepted", 100: "Segment sequence error", 101: "Required field missing", 102: "Data type error",
    103: "Table value not found", 104: "Value too long", 200: "Unsupported message type",
    201: "Unsupported event code", 202: "Unsupported processing id", 203: "Unsupported version id",
    204: "Unknown key identifier", 205: "Duplicate key identifier", 206: "Application record locked",
    207: "Application internal error",
}  # fmt: skip
"""Table 0357."""

BY_CODE: dict[str, tuple[AckCode, int]] = {
    "hl7-charset": (AckCode.AE, 102),
    "hl7-charset-refused": (AckCode.AR, 102),
    "hl7-segment-sequence": (AckCode.AE, 100),
    "unsupported-type": (AckCode.AR, 200),
    "unsupported-event": (AckCode.AR, 201),
    "unsupported-processing-id": (AckCode.AR, 202),
    "unsupported-version": (AckCode.AR, 203),
    "table-value": (AckCode.AE, 103),
    "too-long": (AckCode.AE, 104),
    "unknown-key": (AckCode.AE, 204),
    "duplicate-key": (AckCode.AE, 205),
    "sender-not-allowed": (AckCode.AR, 207),
    "out-of-sequence": (AckCode.AR, 207),
}
"""Errors whose own code says more than their class."""

BY_CLASS: dict[type[BridgeError], tuple[AckCode, int]] = {
    errors.NotReadable: (AckCode.AR, 100),
    errors.Unsupported: (AckCode.AR, 200),
    errors.MissingField: (AckCode.AE, 101),
    errors.BadValue: (AckCode.AE, 102),
    errors.TooLarge: (AckCode.AE, 104),
    errors.StateConflict: (AckCode.AE, 206),
    errors.BadInput: (AckCode.AE, 207),
    errors.NotFound: (AckCode.AE, 204),
    errors.NotAllowed: (AckCode.AR, 207),
    errors.StoreError: (AckCode.AR, 207),
    errors.BridgeError: (AckCode.AE, 207),
}


@dataclass(frozen=True, slots=True)
class AckError:
    """One ERR: table 0357, severity E, W or I, location `PID^1^3`, a text without values of the message."""

    code: int
    severity: str = "E"
    location: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A peer's answer: MSA-1, MSA-2, MSA-3 (or ERR-8)."""

    code: AckCode
    control_id: str
    text: str


def verdict(fault: BridgeError) -> tuple[AckCode, AckError]:
    """What an error is answered with: by its `code`, else by its class or the nearest class above."""
    found = BY_CODE.get(fault.code)
    if found is None:
        found = next(BY_CLASS[kind] for kind in type(fault).__mro__ if kind in BY_CLASS)
    # Only the name of a field is sure to hold nothing of a patient's; our texts stay in our log.
    return found[0], AckError(found[1], "E", location_of(fault.where), MEANINGS[found[1]])


def location_of(where: str) -> str:
    """`PID-3.1` as ERR-2 writes it, `PID^1^3^1^1`; '' for what is no field. `ORC line 5` is told to a person only."""
    found = re.fullmatch(r"([A-Z][A-Z0-9]{2})(?:-(\d+)(?:\.(\d+)(?:\.(\d+))?)?)?(?: line \d+)?", where)
    if found is None:
        return ""
    name, field, *deeper = found.groups()
    parts = [name, "1", field, *(["1", *deeper] if deeper[0] else [])]
    return "^".join(part for part in parts if part)


def answers(accept_ack: str, application_ack: str, ok: bool, *, when_empty: str = "NE") -> tuple[Level, ...]:
    """Which acknowledgements go out, in order (table 0155: AL, NE, ER, SU).

    Both empty is the original mode: one application acknowledgement. With one of them valued, the empty one counts
    as `when_empty`. A value outside the table is answered: a sender that waits must not wait for ever.
    """
    if not accept_ack and not application_ack:
        return (Level.APPLICATION,)
    asked = ((Level.ACCEPT, accept_ack or when_empty), (Level.APPLICATION, application_ack or when_empty))
    return tuple(level for level, value in asked if {"NE": False, "ER": not ok, "SU": ok}.get(value, True))


def write_answers(
    header: Header,
    code: AckCode,
    faults: Sequence[AckError],
    *,
    new_control_id: Callable[[], str],
    now: datetime,
    when_empty: str = "NE",
    expected_sequence: str = "",
) -> list[bytes]:
    """The acknowledgements that MSH-15 and MSH-16 ask for, ready to be framed: accept first, then application.

    `code` is AA, AE or AR; the accept acknowledgement says the same as CA, CE or CR.
    """
    levels = answers(
        header.accept_ack.strip().upper(), header.application_ack.strip().upper(), code.positive, when_empty=when_empty
    )
    return [
        write_ack(
            header,
            code.accept if level is Level.ACCEPT else code,
            faults,
            control_id=new_control_id(),
            now=now,
            expected_sequence=expected_sequence,
        )
        for level in levels
    ]


def write_ack(
    header: Header,
    code: AckCode,
    faults: Sequence[AckError] = (),
    *,
    control_id: str,
    now: datetime,
    expected_sequence: str = "",
) -> bytes:
    """One ACK, unframed, in the sender's delimiters and the sender's form of ERR (ERR-1 before v2.5).

    Sender and receiver change places, MSA-2 repeats MSH-10; `now` is aware. `expected_sequence` is MSA-4.
    """
    marks = delimiters_of(header)
    version = header.version if re.match(r"2\.\d", header.version) else "2.5.1"
    event = re.sub(r"\W", "", header.event, flags=re.ASCII)
    message_type = marks.component.join(("ACK", event, "ACK")) if event else "ACK"
    first = faults[0] if faults else None
    old = _number(version) < (2, 5)
    lines = [
        [
            "MSH", marks.component + marks.repetition + marks.escape + marks.subcomponent + marks.truncation,
            header.receiving_application, header.receiving_facility, header.sending_application,
            header.sending_facility, now.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000"), "", message_type,
            control_id, header.processing_id or "P", version,
        ],
        ["MSA", code.value, header.control_id, _safe(first.text, marks) if old and first else "", expected_sequence],
    ]  # fmt: skip
    if old and faults:
        lines.append(["ERR", marks.repetition.join(_error_location_and_description(one, marks) for one in faults)])
    elif faults:
        lines.extend(_error_segment(one, marks) for one in faults)
    # A separator inside an echoed value can only come from a header that was no header.
    cleaned = (marks.field.join(one.replace(marks.field, "") for one in line).rstrip(marks.field) for line in lines)
    return "".join(_ascii(line) + "\r" for line in cleaned).encode("ascii")


def read_ack(raw: bytes) -> Acknowledgement:
    """A peer's acknowledgement. Raises NotReadable (`where` MSH, MSA or MSA-1)."""
    header = header_of(raw)
    if not header.usable:
        raise NotReadable("an acknowledgement without a header", where="MSH")
    separator = header.field_separator
    for line in re.split(r"[\r\n]+", raw.decode("ascii", "replace")):
        fields = line.split(separator)
        if fields[0] == "MSA":
            fields += [""] * 4
            try:
                return Acknowledgement(AckCode(fields[1].strip()), fields[2], fields[3])
            except ValueError:
                raise NotReadable("not an acknowledgement code", where="MSA-1") from None
    raise NotReadable("an acknowledgement without MSA", where="MSA")


def _error_location_and_description(one: AckError, marks: Delimiters) -> str:
    """ERR-1 of v2.1 to v2.4: segment, sequence, field, and a CE one level down."""
    place = [*one.location.split("^"), "", ""][:3]
    described = marks.subcomponent.join(
        (str(one.code), _safe(one.text or MEANINGS.get(one.code, ""), marks), "HL70357")
    )
    return marks.component.join((*(_safe(part, marks) for part in place), described))


def _error_segment(one: AckError, marks: Delimiters) -> list[str]:
    """ERR since v2.5: 2 location, 3 code, 4 severity, 7 diagnostic text, 8 text for a person."""
    place = marks.component.join(_safe(part, marks) for part in one.location.split("^"))
    coded = marks.component.join((str(one.code), MEANINGS.get(one.code, ""), "HL70357"))
    text = _safe(one.text or MEANINGS.get(one.code, ""), marks)
    return ["ERR", "", place, coded, one.severity, "", "", text, text]


def delimiters_of(header: Header) -> Delimiters:
    """The sender's own, so that what is echoed stays equal; the usual ones when its own are not usable."""
    usual = "^~\\&"
    for separator, encoding in ((header.field_separator, header.encoding_characters), (header.field_separator, usual)):
        try:
            found = Delimiters.read(separator, encoding)
        except NotReadable:
            continue
        if found.subcomponent:
            return found
    return Delimiters.read("|", usual)


def _number(version: str) -> tuple[int, int]:
    return int(version[0]), int(version[2])


def _safe(text: str, marks: Delimiters) -> str:
    """Text of ours as data, one line, escaped in one pass."""
    names = {marks.field: "F", marks.component: "S", marks.repetition: "R", marks.escape: "E", marks.subcomponent: "T"}
    return "".join(f"{marks.escape}{names[c]}{marks.escape}" if c in names else c for c in _ascii(text)[:250])


def _ascii(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if " " <= c <= "~" else "?" if c > "~" else "" for c in text)
