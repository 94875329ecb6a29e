"""A reader of HL7 v2 in its bar form: tolerant, lossless, lazy, linear in size.

`raw` stays what arrived. Lines are cut once; fields, repetitions and components when somebody asks. A value is cut at
the delimiters first and its escapes are decoded last, once, in one pass (HL7 v2.5.1 2.7): a chain of replacements
would turn `\\E\\F\\E\\` into a delimiter, and an unescaped `<` has cost reports.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from itertools import dropwhile, islice, takewhile

from bridge.errors import NotReadable
from bridge.hl7 import charset
from bridge.hl7.delimiters import Delimiters
from bridge.hl7.header import Header, header_of, locate_header, marks_of
from bridge.hl7.lines import SEQUENCE, check_glued, continues, mended
from bridge.hl7.segment import Repetition, Segment

NULL = '""'
"""The value that deletes (HL7 v2.5.1 2.5.3); an empty field changes nothing."""

_MOST_WARNINGS = 50
_PADDING = "\x00\x1a\x1c \t\r\n"
_MOST_SHARED = 8
_JUNK = "\x00\x0b\x1a\x1c\t \ufeff"
_C1 = re.compile("[\x80-\x9f]")
_PATIENT_ONLY = frozenset({"NTE"})
_PRIOR = frozenset({"", "PR", "RE"})
"""ORC-1 of a prior result (HL7 v2.5.1 4.4.6, PATIENT_PRIOR of OMG^O19): it asks for nothing."""


class _Scope:
    """A run of segments by name; the index is made when somebody asks."""

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        self.all_segments = segments
        self._by_name: dict[str, tuple[Segment, ...]] | None = None

    @property
    def _named(self) -> dict[str, tuple[Segment, ...]]:
        if self._by_name is None:
            self._by_name = self._index()
        return self._by_name

    def segments(self, segment: str) -> tuple[Segment, ...]:
        """All segments of that name in this scope, in order."""
        return self._named.get(segment, ())

    def _index(self) -> dict[str, tuple[Segment, ...]]:
        lists: dict[str, list[Segment]] = {}
        for segment in self.all_segments:
            if segment.name in lists:
                lists[segment.name].append(segment)
            else:
                lists[segment.name] = [segment]
        return {name: tuple(segments) for name, segments in lists.items()}

    def repetitions(self, segment: str, field: int) -> tuple[Repetition, ...]:
        """All repetitions of the field in the first such segment; () when segment or field is absent or empty."""
        found = (self._by_name or self._named).get(segment)
        return found[0].repetitions(field) if found else ()

    def get(self, segment: str, field: int, component: int = 1, subcomponent: int = 0) -> str:
        """The text of the first repetition in the first such segment; '' when absent."""
        found = self.repetitions(segment, field)
        return found[0].get(component, subcomponent) if found else ""


class OrderGroup(_Scope):
    """ORC with the TQ1, OBR, NTE, DG1, OBX, IPC and ZDS that belong to it; else the message's own segments.

    NTE is never looked for outside the group: `patient_notes` are those after PID.
    """

    def __init__(self, own: tuple[Segment, ...], head: _Scope, patient_notes: tuple[Segment, ...]) -> None:
        super().__init__(own)
        self._head = head
        self.patient_notes = patient_notes

    def _index(self) -> dict[str, tuple[Segment, ...]]:
        lent = {name: found for name, found in self._head._named.items() if name not in _PATIENT_ONLY}
        return lent | super()._index()

    def with_only(self, chosen: Segment) -> OrderGroup:
        """The same group with `chosen` as the only segment of its name: one step (IPC) at a time."""
        own = tuple(one for one in self.all_segments if one.name != chosen.name or one is chosen)
        return OrderGroup(own, self._head, self.patient_notes)


class _Head(_Scope):
    """What stands before the orders of a patient, and is lent to each of them."""

    @cached_property
    def notes(self) -> tuple[Segment, ...]:
        """The NTE after PID."""
        after = dropwhile(lambda segment: segment.name != "PID", self.all_segments)
        return tuple(segment for segment in after if segment.name == "NTE")


def _asks_nothing(group: OrderGroup) -> bool:
    return group.get("ORC", 1).strip().upper() in _PRIOR


class Message(_Scope):
    """A whole message; the scope of its look-ups is all of it."""

    def __init__(
        self, raw: bytes, segments: tuple[Segment, ...], characters: charset.CharacterSet, warnings: tuple[str, ...]
    ) -> None:
        super().__init__(segments)
        self.raw = raw
        self.character_set = characters
        self.warnings = warnings

    @classmethod
    def read(cls, raw: bytes, *, charset_override: str = "", charset_default: str = "") -> Message:
        """Read one message.

        Raises NotReadable (`where` MSH: no header, or two of them; MSH-1, MSH-2: delimiters that cannot be; MSH-18:
        bytes that do not decode, or plainly to something else) and Unsupported (`where` MSH-18: UTF-16 and the like).
        """
        body = locate_header(raw)
        separator, encoding, declared = marks_of(body)
        # Only where something stood before the header can it be a byte order mark.
        marked = len(body) != len(raw) and raw.lstrip(b"\r\n\t ").startswith(b"\xef\xbb\xbf")
        fallback = "UNICODE UTF-8" if marked else charset_default
        delimiters = _delimiters(separator, encoding, declared, charset_override, fallback)
        if not charset_override:  # who sets the feed has the last word
            delimiters.characters.check(body)
        text = delimiters.characters.decode(body)
        told: tuple[str, ...] = ()
        if "\x00" in text:
            # No text has it, and PostgreSQL holds none; behind the last segment it is padding.
            told = ("NUL characters in it: left out",) if "\x00" in text.rstrip(_PADDING) else ()
            text = text.replace("\x00", "")
        segments, warnings = _cut_lines(text, delimiters)
        return cls(raw, segments, delimiters.characters, (*told, *warnings))

    @cached_property
    def header(self) -> Header:
        """The header as plain ASCII, for the acknowledgement."""
        return header_of(self.raw)

    @property
    def sending_application(self) -> str:
        """MSH-3: the namespace, else the universal id."""
        return self.get("MSH", 3) or self.get("MSH", 3, 2)

    @property
    def sending_facility(self) -> str:
        """MSH-4: the namespace, else the universal id."""
        return self.get("MSH", 4) or self.get("MSH", 4, 2)

    @property
    def receiving_application(self) -> str:
        """MSH-5: the namespace, else the universal id."""
        return self.get("MSH", 5) or self.get("MSH", 5, 2)

    @property
    def receiving_facility(self) -> str:
        """MSH-6: the namespace, else the universal id."""
        return self.get("MSH", 6) or self.get("MSH", 6, 2)

    @property
    def timestamp(self) -> str:
        """MSH-7 as it was sent."""
        return self.get("MSH", 7)

    @property
    def message_code(self) -> str:
        """MSH-9.1, `ORM`."""
        return self.get("MSH", 9, 1).strip().upper()

    @property
    def trigger_event(self) -> str:
        """MSH-9.2, `O01`."""
        return self.get("MSH", 9, 2).strip().upper()

    @property
    def structure(self) -> str:
        """MSH-9.3, `ORM_O01`; often absent."""
        return self.get("MSH", 9, 3).strip().upper()

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.get("MSH", 10)

    @property
    def processing_id(self) -> str:
        """MSH-11.1."""
        return self.get("MSH", 11)

    @property
    def version(self) -> str:
        """MSH-12.1."""
        return self.get("MSH", 12)

    @property
    def sequence_number(self) -> str:
        """MSH-13."""
        return self.get("MSH", 13)

    @property
    def accept_ack(self) -> str:
        """MSH-15 (table 0155)."""
        return self.get("MSH", 15).strip().upper()

    @property
    def application_ack(self) -> str:
        """MSH-16 (table 0155)."""
        return self.get("MSH", 16).strip().upper()

    @cached_property
    def _head(self) -> tuple[Segment, ...]:
        head: list[Segment] = []
        for segment in self.all_segments:
            if segment.name in ("ORC", "OBR"):
                break
            head.append(segment)
        return tuple(head)

    @cached_property
    def _groups(self) -> tuple[tuple[OrderGroup, bool], ...]:
        """Every group of ORC or OBR, and whether it only tells of a prior result."""
        heads, behind = [list(self._head)], False
        groups: list[tuple[list[Segment], int]] = []
        without_zds: list[list[Segment]] = []
        detailed = False
        for segment in self.all_segments[len(self._head) :]:
            name = segment.name
            if name == "PID":
                heads.append([*self._above, segment])
                behind = True
            elif name == "ZDS":
                for own in without_zds:
                    own.append(segment)
                without_zds.clear()
            elif name == "ORC" or (name == "OBR" and (behind or detailed or not groups)):
                shared = [] if name == "ORC" or behind or not groups else groups[-1][0][:_MOST_SHARED]
                own = [*(one for one in shared if one.name in ("ORC", "TQ1")), segment]
                groups.append((own, len(heads) - 1))
                without_zds.append(own)
                behind, detailed = False, name == "OBR"
            elif behind:
                heads[-1].append(segment)
            else:
                groups[-1][0].append(segment)
                detailed = detailed or name == "OBR"
        lent = [_Head(tuple(head)) for head in heads]
        built = [(OrderGroup(tuple(own), lent[at], lent[at].notes), at) for own, at in groups]
        # Only OMG^O19 has prior results, and only behind a PID of their own.
        return tuple((group, at > 0 and self.message_code == "OMG" and _asks_nothing(group)) for group, at in built)

    @cached_property
    def _above(self) -> tuple[Segment, ...]:
        """What stands before the first PID: MSH and its like, which hold for everybody."""
        return tuple(takewhile(lambda segment: segment.name != "PID", self._head))

    def order_groups(self) -> tuple[OrderGroup, ...]:
        """One group an ORC, or an OBR that has no ORC of its own (it then shares the ORC and TQ1 before it).

        A ZDS belongs to every group before it that has none yet. After a further PID, a group has the PID, PV1 and
        AL1 that follow that one; whether it is the same patient is for the reader to say. Prior results (OMG^O19,
        after a further PID and with no order control that asks for something) are left out: `prior_results`.
        """
        return tuple(group for group, prior in self._groups if not prior)

    @property
    def prior_results(self) -> int:
        """How many groups `order_groups` leaves out."""
        return sum(prior for _, prior in self._groups)


@lru_cache(maxsize=256)
def _delimiters(separator: str, encoding: str, declared: str, override: str, fallback: str) -> Delimiters:
    """A feed's messages say the same in MSH-1, MSH-2 and MSH-18: understood once."""
    delimiters = Delimiters.read(separator, encoding)
    codes = declared.split(delimiters.repetition) if delimiters.repetition else [declared]
    return delimiters.decoding(charset.choose(codes, override=override, fallback=fallback))


@lru_cache(maxsize=64)
def _begins(separator: str) -> re.Pattern[str]:
    return re.compile(rf"[A-Z][A-Z0-9]{{2}}{re.escape(separator)}")


def _cut_lines(text: str, delimiters: Delimiters) -> tuple[tuple[Segment, ...], tuple[str, ...]]:
    """Segments and warnings. A line that is no segment continues the one before it: kept, and reported by number."""
    warnings: list[str] = []
    segments: list[Segment] = []
    wrapped: dict[int, list[str]] = {}
    begun: dict[str, int] = {}
    begins = _begins(delimiters.field).match
    if "\n" in text:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    for number, line in enumerate(text.split("\r"), start=1):
        if begins(line):
            name = line[:3]
            if name == "MSH" and segments:
                raise NotReadable("two message headers in one frame", where="MSH", code=SEQUENCE)
            segments.append(Segment(name, number, line, delimiters))
            begun[name] = begun.get(name, 0) + 1
        elif line and line.strip(_JUNK):
            before = segments[-1]
            pieces = wrapped.get(len(segments) - 1) or [before.text]
            if whole := mended(line, delimiters.field):
                segments.append(Segment(whole[:3], number, whole, delimiters))
                warnings.append(f"line {number}: a segment that does not begin with its name in capitals: taken as one")
                continue
            if not continues(before.name, pieces[-1], line, delimiters):
                warnings.append(f"line {number} is not a segment, and no part of the {before.name} before it: left out")
                continue
            warnings.append(f"line {number} is not a segment: taken as the rest of the {before.name} before it")
            wrapped[len(segments) - 1] = pieces
            pieces.append(_glue(pieces[-1], line, delimiters) + line)
    for index, pieces in wrapped.items():
        segments[index].text = "".join(pieces)
    warnings += check_glued(text, begun, segments, delimiters.field)
    if not text.isascii() and not text.replace("\r", "").isprintable() and _C1.search(text):
        warnings.append("control characters in it (U+0080 to U+009F): the sender took its text for another set")
    if "\ufffd" in text:
        warnings.append("the sender has already replaced characters that it could not read (U+FFFD)")
    if delimiters.may_keep_escapes(text):
        for segment in segments:
            words = islice(delimiters.unread_escapes(segment.text), _MOST_WARNINGS + 1)
            warnings.extend(f"line {segment.number} ({segment.name}): {word}" for word in words)
    if len(warnings) > _MOST_WARNINGS:
        warnings[_MOST_WARNINGS:] = [f"and at least {len(warnings) - _MOST_WARNINGS} more"]
    return tuple(segments), tuple(warnings)


def _glue(before: str, line: str, delimiters: Delimiters) -> str:
    """A break beside a delimiter was a wrap; one inside a value stays visible as a line end."""
    marks = delimiters.field + delimiters.component + delimiters.repetition + delimiters.subcomponent
    return "" if before[-1:] in marks or line[:1] in marks else "\n"


def split_batch(raw: bytes) -> tuple[bytes, ...]:
    """The messages of a batch file (FHS, BHS, BTS, FTS; 2.10.3); anything else comes back alone, as it is."""
    if not raw.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith((b"FHS", b"BHS")):
        return (raw,)
    pieces = re.split(rb"(?:\A|(?<=[\r\n]))(?=(?:MSH|FHS|BHS|BTS|FTS)[^A-Za-z0-9\r\n])", raw)
    return tuple(piece for piece in pieces if piece.startswith(b"MSH"))


__all__ = [
    "NULL", "SEQUENCE", "Header", "Message", "OrderGroup", "Repetition", "Segment",
    "header_of", "split_batch",
]  # fmt: skip
