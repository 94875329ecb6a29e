"""ORU^R01 to reports (HL7 v2.5.1 7.3.1, 7.4.2; text in OBX TX, FT and ST, an embedded file in OBX ED)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from bridge.domain.identity import Identifier
from bridge.domain.patient import PatientData
from bridge.domain.report import STATUSES, ReportRequest
from bridge.errors import BadValue, MissingField, NotReadable
from bridge.hl7.delimiters import Delimiters
from bridge.hl7.message import SEQUENCE, Message, OrderGroup
from bridge.hl7.read_patients import check_one_patient, read_patient
from bridge.mapping import Mappings
from bridge.mapping.apply import Values
from bridge.mapping.source import Focused, Repetition, Segment
from bridge.uids import is_uid

_TEXTS = frozenset({"TX", "FT", "ST", ""})
_MEASURES = frozenset({"NM", "SN", "CE", "CWE", "CNE", "DT", "TM", "TS", "DTM", "IS", "ID"})
_TAKEN_BACK = frozenset({"D", "W"})
"""OBX-11: deleted, or posted as wrong."""
_NO_TABLE_VALUE = "table-value"
_PDF_BEGINS = 1024
"""Readers look for the header of a PDF so far (ISO 32000-1, annex H)."""


def read_reports(
    message: Message, mappings: Mappings, warnings: list[str], *, mixed: bool = False
) -> tuple[ReportRequest, ...]:
    """One report for each order number. Raises MissingField, BadValue and NotReadable; none for what is no imaging."""
    check_one_patient(message, mappings)
    groups = [group for group in message.order_groups() if group.segments("OBR")]
    if not groups:
        raise NotReadable("no result in it", where="OBR", code=SEQUENCE)
    not_imaging = mappings.step.rule("not_imaging")
    delimiters = _delimiters(message)
    found: dict[tuple[Identifier | None, Identifier | None], _Gathered] = {}
    for number, group in enumerate(groups, 1):
        if not_imaging and not_imaging.read(group, warnings):
            warnings.append(f"result {number} is no imaging report (OBR-24): nothing is kept")
            continue
        values = mappings.report.apply(group, warnings)
        placer, filler = values.identifier("placer"), values.identifier("filler")
        if placer is None and filler is None:
            raise MissingField("neither OBR-3 nor OBR-2 names the report", where="OBR-3")
        # Sections of one report may come as several OBR of one number.
        gathered = found.setdefault((placer, filler), _Gathered(values))
        gathered.take(group, mappings, delimiters, warnings)
        gathered.imaging = gathered.imaging or _shows_imaging(group, mappings)
    if not found:
        return ()
    patient = read_patient(message, mappings, warnings)
    return tuple(gathered.report(patient, mixed) for gathered in found.values())


def _shows_imaging(group: OrderGroup, mappings: Mappings) -> bool:
    """A modality, also by the site's procedure codes, or a study that is named."""
    rules = (mappings.step.rule(name) for name in ("modality", "modality_of_procedure"))
    named = any(rule and rule.read(group, []) for rule in rules)
    return named or bool(group.segments("ZDS") or group.segments("IPC"))


def _delimiters(message: Message) -> Delimiters:
    header = message.header
    return Delimiters.read(header.field_separator, header.encoding_characters).decoding(message.character_set)


@dataclass(slots=True)
class _Gathered:
    """One report while its OBX are read: paragraphs by (OBX-3, OBX-4), in order of their first line."""

    values: Values
    paragraphs: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    impression: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    study_instance_uid: str = ""
    document: bytes = b""
    document_type: str = ""
    imaging: bool = False

    @property
    def worded(self) -> bool:
        """Whether it says anything in words: a radiologist does, an analyser tells measures."""
        return bool(self.document) or any(key[0] not in ("measures", "NTE") for key in self.paragraphs)

    def take(self, group: OrderGroup, mappings: Mappings, delimiters: Delimiters, warnings: list[str]) -> None:
        for segment in group.all_segments:
            if segment.name == "NTE":
                self._add(self.paragraphs, ("NTE", ""), _whole(segment, 3, delimiters))
            elif segment.name == "OBX" and _first(segment, 11).upper() not in _TAKEN_BACK:
                self._observation(segment, Focused(group, segment), mappings, delimiters, warnings)

    def _observation(
        self, segment: Segment, source: Focused, mappings: Mappings, delimiters: Delimiters, warnings: list[str]
    ) -> None:
        kind = _first(segment, 2).upper()
        part = _read(mappings, "part", source, warnings)
        key = ("&".join(_raw(segment, 3)), _first(segment, 4))
        if part == "study" and is_uid(_first(segment, 5)):
            self.study_instance_uid = _first(segment, 5)
        elif kind == "ED":
            self._embedded(segment, _read(mappings, "document_type", source, warnings), delimiters, warnings)
        elif kind in _TEXTS:
            lines = _whole(segment, 5, delimiters)
            self._add(self.paragraphs, key, lines)
            if part == "impression":
                self._add(self.impression, key, lines)
        elif kind in _MEASURES:
            self._add(self.paragraphs, ("measures", ""), _measure(segment))
        elif kind == "RP":
            warnings.append("a document that is only pointed at is not fetched (OBX-5)")
        else:
            warnings.append("an observation of a type that is not read (OBX-2)")

    def _embedded(self, segment: Segment, kind: str, delimiters: Delimiters, warnings: list[str]) -> None:
        if self.document and (self.document_type == "application/pdf" or kind != "application/pdf"):
            warnings.append("the report holds several documents: one is kept (OBX-5)")
            return
        for one in segment.repetitions(5)[:1]:
            self.document = _decoded(one, kind, delimiters)
            self.document_type = kind or "application/octet-stream"
            if not kind:
                warnings.append("the type of the embedded document is not known (OBX-5.3)")

    @staticmethod
    def _add(paragraphs: dict[tuple[str, str], list[str]], key: tuple[str, str], text: str) -> None:
        if text or key in paragraphs:
            paragraphs.setdefault(key, []).append(text)

    def report(self, patient: PatientData, mixed: bool) -> ReportRequest:
        values = self.values
        status = values.kept("status").upper()
        if status not in STATUSES:
            raise BadValue("not a result status of table 0123", where="OBR-25", code=_NO_TABLE_VALUE)
        return ReportRequest(
            status=status,
            placer=values.identifier("placer"),
            filler=values.identifier("filler"),
            patient=patient,
            accession=values.identifier("accession"),
            study_instance_uid=self.study_instance_uid or values.kept("study_instance_uid"),
            code=values.code("code"),
            text=_joined(self.paragraphs),
            impression=_joined(self.impression),
            document=self.document,
            document_type=self.document_type,
            interpreter=values.name("interpreter"),
            issued=values.moment("issued"),
            sent=values.moment("sent"),
            of_imaging=self.imaging or bool(self.study_instance_uid) or (self.worded and not mixed),
        )


def _read(mappings: Mappings, name: str, source: Focused, warnings: list[str]) -> str:
    rule = mappings.observation.rule(name)
    value = rule.read(source, warnings) if rule else None
    return value if isinstance(value, str) else ""


def _joined(paragraphs: dict[tuple[str, str], list[str]]) -> str:
    return "\n\n".join(text for lines in paragraphs.values() if (text := "\n".join(lines).strip("\n")))


def _raw(segment: Segment, field_number: int) -> list[str]:
    return [one.raw for one in segment.repetitions(field_number)]


def _first(segment: Segment, field_number: int) -> str:
    return next((one.get(1).strip() for one in segment.repetitions(field_number)), "")


def _whole(segment: Segment, field_number: int, delimiters: Delimiters) -> str:
    """A text field, every character of it: senders leave `^` and `&` unescaped in it. Repetitions are lines."""
    lines = (delimiters.unescape(raw).replace("\r\n", "\n").replace("\r", "\n") for raw in _raw(segment, field_number))
    text = "\n".join(line.rstrip() for line in lines)
    return "" if text == '""' else text


def _measure(segment: Segment) -> str:
    """`Name: value unit` for an observation that is no text."""
    what = next((one.get(2) or one.get(1) for one in segment.repetitions(3)), "")
    coded = _first(segment, 2).upper() in ("CE", "CWE", "CNE")
    values = [
        (one.get(2) or one.get(1)) if coded else " ".join(filter(None, map(one.get, range(1, one.components + 1))))
        for one in segment.repetitions(5)
    ]
    said = " ".join(filter(None, [", ".join(filter(None, values)), _first(segment, 6)]))
    return f"{what}: {said}" if what and said else said


def _decoded(one: Repetition, kind: str, delimiters: Delimiters) -> bytes:
    """ED: source, type, subtype, encoding (table 0299), data. Raises BadValue: half a document is none, and what is no
    PDF is not shown as one."""
    encoding = one.get(4).strip().upper()
    text = delimiters.unescape(delimiters.component.join(one.raw.split(delimiters.component or "^")[4:]))
    if encoding in ("", "A"):
        data = _without_encoding(text, kind)
    elif encoding in ("BASE64", "HEX"):
        try:
            data = _base64(text) if encoding == "BASE64" else bytes.fromhex(text)
        except ValueError:
            raise BadValue("the embedded document does not decode", where="OBX-5.5") from None
    else:
        raise BadValue("not an encoding of table 0299", where="OBX-5.4", code=_NO_TABLE_VALUE)
    if kind == "application/pdf" and b"%PDF-" not in data[:_PDF_BEGINS]:
        raise BadValue("the embedded document is no PDF", where="OBX-5.5")
    return data


def _base64(text: str) -> bytes:
    return base64.b64decode("".join(text.split()), validate=True)


def _without_encoding(text: str, kind: str) -> bytes:
    """Text is what it says. No other document can be told in plain letters: then it is Base64 that is not named so."""
    if not kind or kind.startswith("text/"):
        return text.encode()
    try:
        return _base64(text)
    except ValueError:
        raise BadValue("no encoding is named, and it is not Base64", where="OBX-5.4") from None
