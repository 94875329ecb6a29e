"""PID, PV1, EVN and MRG: who the patient is and what ADT says of them (IHE RAD-1, RAD-12; HL7 v2.5.1 3.3, 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.domain.identity import Identifier
from bridge.domain.order import left
from bridge.domain.patient import DELETED, PatientData, PatientEvent, PersonName, Visit
from bridge.errors import MissingField, NotReadable, TooLarge
from bridge.hl7.message import SEQUENCE, Message
from bridge.mapping import Mappings
from bridge.mapping.apply import Values
from bridge.mapping.names import may_lack_id
from bridge.mapping.source import Focused, Repetition, Segment, Source
from bridge.mapping.transforms import MOST_IDENTIFIERS

MERGES = frozenset({"A40", "A34", "A18", "A36"})
MOVES = frozenset({"A43", "A44", "A45", "A47"})
"""They name a prior patient too, but do not merge."""
SUBORDINATE = {
    "A36": "MRG-3", "A41": "MRG-3", "A44": "MRG-3", "A49": "MRG-3",
    "A42": "MRG-5", "A45": "MRG-5", "A50": "MRG-5", "A51": "MRG-6",
}  # fmt: skip
"""The account or visit that an event cannot do without."""
LINKS = frozenset({"A24", "A37"})
VISITS = frozenset({"A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A09", "A10", "A11", "A12", "A13", "A38"})
PATIENT_EVENTS = VISITS | MERGES | MOVES | LINKS | set(SUBORDINATE) | {"A23", "A28", "A29", "A31", "A60"}
MOST_PAIRS = 500
"""More {PID MRG} than this in one message are no merge but a fault of the sender: all are done under one lock."""
_PAIRED = frozenset({"PID", "PD1", "MRG", "PV1"})


@dataclass(frozen=True, slots=True)
class _Pair:
    """One {PID [PD1] MRG [PV1]} of a message that repeats it (ADT_A39): it borrows none of these from another pair."""

    message: Message
    own: tuple[Segment, ...]

    def segments(self, segment: str) -> tuple[Segment, ...]:
        if segment in _PAIRED:
            return tuple(one for one in self.own if one.name == segment)
        return self.message.segments(segment)

    def repetitions(self, segment: str, field: int) -> tuple[Repetition, ...]:
        found = self.segments(segment)
        return found[0].repetitions(field) if found else ()


def read_patient_events(
    event: str, message: Message, mappings: Mappings, warnings: list[str]
) -> tuple[PatientEvent, ...]:
    """One event, or one for each pair of a merge. Raises MissingField, BadValue and NotReadable."""
    if event in LINKS:
        return (_read_link(event, message, mappings, warnings),)
    if event not in MERGES | MOVES | set(SUBORDINATE):
        return (_read_event(event, message, mappings, warnings),)
    pairs = merge_pairs(message)
    if len(pairs) > MOST_PAIRS:
        raise TooLarge(f"more than {MOST_PAIRS} patients in one message", where="PID")
    return tuple(_read_event(event, pair, mappings, warnings) for pair in pairs)


def merge_pairs(message: Message) -> list[Source]:
    """One view for each PID with what belongs to it; the message itself when there is but one."""
    pairs: list[list[Segment]] = []
    for segment in message.all_segments:
        if segment.name == "PID":
            pairs.append([segment])
        elif segment.name in _PAIRED and pairs:
            pairs[-1].append(segment)
    return [message] if len(pairs) < 2 else [_Pair(message, tuple(pair)) for pair in pairs]


def merge_sources(message: Message) -> list[Source]:
    """One view for each MRG; of its pair when there is none, so that the missing field is told."""
    sources: list[Source] = []
    for pair in merge_pairs(message):
        sources += [Focused(pair, segment) for segment in pair.segments("MRG")] or [pair]
    return sources


def _read_event(event: str, source: Source, mappings: Mappings, warnings: list[str]) -> PatientEvent:
    patient = read_patient(source, mappings, warnings)
    prior: list[Identifier] = []
    prior_name = PersonName()
    if event in MERGES | MOVES:
        for segment in source.segments("MRG") or (None,):
            focused = Focused(source, segment) if segment else source
            values = mappings.merge.apply(focused, warnings)
            prior += values.identifiers("prior")
            prior_name = left(values.name("prior_name"))
        if len(prior) > MOST_IDENTIFIERS:
            raise TooLarge(f"more than {MOST_IDENTIFIERS} prior identifiers", where="MRG-1")
    moved = mappings.moved.apply(source, warnings)
    needed = SUBORDINATE.get(event, "")
    told = {"MRG-3": "account", "MRG-5": "visit", "MRG-6": "alternate"}
    if needed and event != "A36" and moved.identifier(told[needed]) is None:
        raise MissingField(f"{needed} is empty", where=needed)
    return PatientEvent(
        event,
        patient,
        read_visit(source, mappings, warnings),
        tuple(dict.fromkeys(prior)),
        mappings.event.apply(source, warnings).moment("occurred"),
        prior_account=moved.identifier("account"),
        prior_visit=moved.identifier("visit"),
        prior_alternate=moved.identifier("alternate"),
        prior_name=prior_name,
        **_read_allergies(source, mappings, warnings),
    )


def _read_allergies(source: Source, mappings: Mappings, warnings: list[str]) -> dict[str, Any]:
    """AL1: all that the patient has. IAM: one each, to add or to take away (HL7 v2.5.1 3.4.6, 3.4.7)."""
    told: dict[str, Any] = {}
    known = mappings.allergies.apply(source, warnings).texts("known")
    if known:
        told["allergies"] = left(known)
    changes = [mappings.allergy.apply(Focused(source, one), warnings) for one in source.segments("IAM")]
    named = [(one.kept("substance"), one.kept("action").upper()) for one in changes]
    told["allergies_now"] = tuple(what for what, action in named if what and action != "D")
    told["allergies_no_more"] = tuple(what for what, action in named if what and action == "D")
    return told


def _read_link(event: str, message: Message, mappings: Mappings, warnings: list[str]) -> PatientEvent:
    """A24, A37: two PID that name two records of one person."""
    records = message.segments("PID")
    if len(records) != 2:
        raise NotReadable("a link names two patients", where="PID", code=SEQUENCE)
    one, other = (read_patient(Focused(message, record), mappings, warnings) for record in records)
    occurred = mappings.event.apply(message, warnings).moment("occurred")
    return PatientEvent(event, one, occurred=occurred, other=other)


def read_patient(source: Source, mappings: Mappings, warnings: list[str]) -> PatientData:
    """PID as the mapping reads it. Raises MissingField and TooLarge (where="PID-3")."""
    values = mappings.patient.apply(source, warnings)
    name = values.get("name", "")
    own: dict[tuple[str, str], Identifier] = {}
    for one in values.identifiers("identifiers"):
        own.setdefault(one.key, one)
        check_length(one.value, 64, "a patient identifier", warnings)
    others: dict[tuple[str, str], Identifier] = {}
    for where in ("other_identifiers", "external_identifiers", "alternate_identifiers"):
        for one in values.identifiers(where):
            # PID-2 often repeats a number of PID-3 without its type or its authority.
            if not any(one.value == known.value and one.issuer in ("", known.issuer) for known in own.values()):
                others.setdefault(one.key, one)
    return PatientData(
        tuple(own.values()),
        name if isinstance(name, PersonName) or name == DELETED else "",
        values.text("birth_date"),
        values.text("sex"),
        tuple(others.values()),
    )


def check_one_patient(message: Message, mappings: Mappings) -> None:
    """Raises NotReadable when the PIDs of a message are not of one patient: whose order is it?

    Senders repeat PID before each order. How they spell PID-3 may differ; the identifiers, and what else is told of
    the patient, may not.
    """
    records = message.segments("PID")
    if len(records) < 2:
        return
    read = [mappings.patient.apply(Focused(message, record), []) for record in records]
    told: dict[str, object] = {}
    for values in read:
        said: dict[str, object] = {name: values.get(name) for name in ("name", "birth_date", "sex")}
        said["identifiers"] = frozenset(one.key for one in values.identifiers("identifiers"))
        for name, value in said.items():
            if value not in ("", None, DELETED) and told.setdefault(name, value) != value:
                raise NotReadable("orders of two patients in one message", where="PID", code=SEQUENCE)


def read_visit(source: Source, mappings: Mappings, warnings: list[str]) -> Visit:
    """PV1 and the account of PID."""
    values = mappings.visit.apply(source, warnings)
    return Visit(
        values.identifier("admission"),
        values.text("patient_class"),
        values.text("location"),
        values.name("referring_physician"),
        values.identifier("account"),
        values.identifier("alternate"),
    )


def check_length(value: str, most: int, what: str, warnings: list[str]) -> None:
    """Kept whole: a shortened number matches another one's. Whether it can be used is workflow's to say (PS3.5 6.2)."""
    if len(value) > most:
        warnings.append(f"{what} is longer than the {most} characters of DICOM")


_WORDS = {
    **dict.fromkeys(("description", "reason", "transport", "medical_alerts", "patient_state", "confidentiality"), 64),
    "comments": 10240,
    "station_name": 16,
    "location": 16,
}


def check_words(values: Values, warnings: list[str]) -> None:
    """Words of an order, a procedure or a step that DICOM cannot hold (PS3.5 6.2): kept whole, told shortened."""
    for name, most in _WORDS.items():
        value = values.get(name)
        if isinstance(value, str) and len(value) > most:
            warnings.append(f"{name.replace('_', ' ')} is longer than {most} characters: scanners get it shortened")


_PROVIDERS = (("order", "requesting_physician"), ("visit", "referring_physician"))


def check_names(source: Source, mappings: Mappings, warnings: list[str]) -> None:
    """Doctors who may be called by their given name, because their sender leaves the id out (CN of v2.2, XCN)."""
    for section, name in _PROVIDERS:
        rule = getattr(mappings, section).rule(name)
        if rule is None or rule.as_name != "provider_name":
            continue
        for path, _ in rule.paths:
            if found := path.repetitions(source):
                if may_lack_id(found[0]):
                    warnings.append(f"{path} has letters for an id and no given name: see provider_name_without_id")
                break
