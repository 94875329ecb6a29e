"""Worklist entries, the keys of a query, and which entries they find (PS3.4 Table K.6-1, C.2.2.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, TypeAlias

from bridge.domain.attributes import Attributes
from bridge.domain.coding import Code
from bridge.domain.fuzzy import fuzzy_test
from bridge.domain.identity import Identifier, Issuers
from bridge.domain.keys import ItemKey, Kind, Test, is_universal, value_test, when_matches
from bridge.domain.patient import PersonName
from bridge.domain.worklist_attributes import ATTRIBUTES, Attribute

Spell: TypeAlias = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class WorklistEntry:
    """One scheduled procedure step with all that a C-FIND response may show. Dates DA, times TM, on the clocks of
    `zone` (None = not known)."""

    step_pk: int
    version: int
    patient_name: PersonName
    patient_id: str
    patient_issuer: str
    other_patient_ids: tuple[Identifier, ...]
    birth_date: str
    sex: str
    patient_weight_kg: str
    patient_size_m: str
    patient_state: str
    medical_alerts: str
    allergies: tuple[str, ...]
    pregnancy_status: str
    admission_id: str
    admission_issuer: str
    patient_location: str
    referring_physician: PersonName
    requesting_physician: PersonName
    accession_number: str
    accession_issuer: str
    placer_order_number: str
    filler_order_number: str
    requested_procedure_id: str
    requested_procedure_description: str
    requested_procedure_code: Code | None
    study_instance_uid: str
    priority: str
    reason: str
    transport: str
    comments: str
    step_id: str
    modality: str
    station_ae_titles: tuple[str, ...]
    station_name: str
    step_location: str
    start_date: str
    start_time: str
    step_description: str
    protocol_codes: tuple[Code, ...]
    performing_physician: PersonName
    step_status: str
    placer_issuer: str = ""
    filler_issuer: str = ""
    department: str = ""
    patient_class: str = ""
    confidentiality: str = ""
    zone: tzinfo | None = None
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorklistKeys:
    """The matching keys of a C-FIND request as decoded text; '' and () are universal. Dates and times may be ranges,
    text may be a list joined by backslashes; `ItemKey`s are sequences.

    `patient_issuer` is our own name of the authority. `fuzzy`: names are compared by their words too (C.2.2.2.1).
    """

    patient_name: str = ""
    patient_id: str = ""
    patient_issuer: str = ""
    patient_issuer_qualifiers: ItemKey = ()
    other_patient_ids: ItemKey = ()
    birth_date: str = ""
    sex: str = ""
    patient_weight_kg: str = ""
    patient_size_m: str = ""
    patient_state: str = ""
    pregnancy_status: str = ""
    medical_alerts: str = ""
    allergies: str = ""
    confidentiality: str = ""
    accession_number: str = ""
    accession_issuer: ItemKey = ()
    placer_order_number: str = ""
    placer_issuer: ItemKey = ()
    filler_order_number: str = ""
    filler_issuer: ItemKey = ()
    department: str = ""
    admission_id: str = ""
    admission_issuer: ItemKey = ()
    patient_class: str = ""
    patient_location: str = ""
    requested_procedure_id: str = ""
    requested_procedure_description: str = ""
    requested_procedure_code: ItemKey = ()
    study_instance_uids: tuple[str, ...] = ()
    priority: str = ""
    transport: str = ""
    reason: str = ""
    comments: str = ""
    referring_physician: str = ""
    requesting_physician: str = ""
    station_ae_title: str = ""
    station_name: str = ""
    step_location: str = ""
    start_date: str = ""
    start_time: str = ""
    modality: str = ""
    step_id: str = ""
    step_description: str = ""
    protocol_codes: ItemKey = ()
    performing_physician: str = ""
    step_status: str = ""
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class Telling:
    """How devices are told: under which names of authorities, and how a name is spelt for those that lack its letters
    (who is shown as Ivanov is found as Ivanov)."""

    issuers: Issuers = field(default_factory=lambda: Issuers(()))
    spell: Spell = str


PLAIN = Telling()


def utc_offset(entry: WorklistEntry) -> str:
    """`+hhmm` of the entry's own day (Timezone Offset From UTC, PS3.3 C.12.1.1.8); '' when it cannot be told."""
    begins = entry.start_date + (entry.start_time + "0000")[:4]
    try:
        return f"{datetime.strptime(begins, '%Y%m%d%H%M').replace(tzinfo=entry.zone):%z}"[:5]
    except ValueError:
        return ""


class Matcher:
    """A query's keys, made ready once to be tried on every entry (PS3.4 K.4.1.1, C.2.2.2)."""

    def __init__(self, keys: WorklistKeys, telling: Telling = PLAIN) -> None:
        self.keys = keys
        self._tests = tuple(_tests(keys, telling))

    def matches(self, entry: WorklistEntry) -> bool:
        """Whether the entry satisfies every key at once."""
        for _, test in self._tests:  # noqa: SIM110 - all() costs twice as much, and this is tried on every entry
            if not test(entry):
                return False
        return True

    def failing(self, entry: WorklistEntry) -> Iterator[str]:
        """The keys, by their names in `WorklistKeys`, that the entry does not satisfy; date and time are one."""
        return (name for name, test in self._tests if not test(entry))


def matches(keys: WorklistKeys, entry: WorklistEntry, telling: Telling = PLAIN) -> bool:
    return Matcher(keys, telling).matches(entry)


def _tests(keys: WorklistKeys, telling: Telling) -> Iterator[tuple[str, Test]]:
    for name, attribute in ATTRIBUTES.items():
        if name == "start_time":
            continue
        key = getattr(keys, name)
        if name == "start_date":
            if not (is_universal(key) and is_universal(keys.start_time)):
                yield name, _start(key, keys.start_time)
        elif not is_universal(key, attribute.kind):
            yield name, _test(attribute, key, telling, fuzzy=keys.fuzzy)


def _start(date_key: str, time_key: str) -> Test:
    """Two ranges are one interval."""
    return lambda entry: when_matches(date_key, time_key, entry.start_date, entry.start_time)


def _test(attribute: Attribute, key: Any, telling: Telling, *, fuzzy: bool) -> Test:
    sought, issuers, spell = attribute.sought or attribute.told, telling.issuers, telling.spell
    fits = value_test(attribute.kind, key, attribute.items)
    if fuzzy and attribute.kind is Kind.NAME:
        literal, alike = fits, fuzzy_test(key, spell)
        fits = lambda value: literal(value) or alike(value)  # noqa: E731
    if attribute.exact or attribute.kind not in (Kind.TEXT, Kind.NAME):
        return lambda entry: fits(sought(entry, issuers))

    def spelt_too(entry: WorklistEntry) -> bool:
        value = sought(entry, issuers)
        return fits(value) or any(fits(one) for one in _spelt(value, spell))

    return spelt_too


def _spelt(value: Any, spell: Spell) -> Iterator[Any]:
    """The values as devices that lack their letters are told them; of a name its alphabetic group."""
    for one in value if isinstance(value, tuple) else (value,):
        text = one.alphabetic if isinstance(one, PersonName) else one
        if not text.isascii():
            yield PersonName(spell(text)) if isinstance(one, PersonName) else spell(text)
