"""Worklist entries and the matching rules for them (PS3.4 C.2.2.2 and Table K.6-1). Linear time, no regex."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import TypeAlias

from bridge.domain.attributes import Attributes
from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.patient import PersonName, folded
from bridge.domain.told import told

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
    """The matching keys of a C-FIND request as decoded text; '' is universal. Dates and times may be ranges."""

    patient_name: str = ""
    patient_id: str = ""
    patient_issuer: str = ""
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""
    admission_id: str = ""
    requested_procedure_id: str = ""
    requested_procedure_description: str = ""
    study_instance_uids: tuple[str, ...] = ()
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
    performing_physician: str = ""
    step_status: str = ""


def utc_offset(entry: WorklistEntry) -> str:
    """`+hhmm` of the entry's own day (Timezone Offset From UTC, PS3.3 C.12.1.1.8); '' when it cannot be told."""
    begins = entry.start_date + (entry.start_time + "0000")[:4]
    try:
        return f"{datetime.strptime(begins, '%Y%m%d%H%M').replace(tzinfo=entry.zone):%z}"[:5]
    except ValueError:
        return ""


@lru_cache(maxsize=256)
def _states(pattern: str) -> tuple[dict[str, int], int, int, int]:
    """A pattern as the sets (bits) of its states: bit i stands for "i of its letters are matched". By letter those that
    go on with it, those that go on with any (`?`), those that stay with any (`*`), and the last."""
    letters: dict[str, int] = {}
    anything = stays = 0
    at = 1
    for sign in pattern:
        if sign == "*":
            stays |= at
            continue
        if sign == "?":
            anything |= at
        else:
            letters[sign] = letters.get(sign, 0) | at
        at <<= 1
    return letters, anything, stays, at


def wildcard(pattern: str, value: str) -> bool:
    """`*` any run, `?` one character. One step a letter of the value, whatever the pattern: no device can choose keys
    that cost more (every place of the pattern is a bit, and all of them move at once)."""
    letters, anything, stays, last = _states(pattern)
    states = 1
    for letter in value:
        states = (states & (letters.get(letter, 0) | anything)) << 1 | states & stays
        if not states:
            return False
    return bool(states & last)


def text_matches(key: str, value: str) -> bool:
    """Single value or wild card (C.2.2.2.1, C.2.2.2.4): case-sensitive, padding aside; an empty value never matches,
    except a key that asks for anything at all: nothing, or stars alone."""
    key, value = key.strip(), value.strip()
    if not key.strip("*"):
        return True
    if not value:
        return False
    return wildcard(key, value) if "*" in key or "?" in key else key == value


def name_matches(key: str, name: PersonName) -> bool:
    """A person name key: no case, no accents, no trailing empty components, any component group.

    The key's own groups are compared position by position (`=山田*` asks the ideographic group); a key of one group
    is tried against all three. One of stars and delimiters alone (`*^*`) asks for anybody, also for who has no name.
    """
    if not key.strip(" *^="):
        return True
    groups = (name.alphabetic, name.ideographic, name.phonetic)
    asked = key.split("=")[:3]
    if len(asked) == 1:
        return any(_group_matches(asked[0], g) for g in groups if g)
    return all(_group_matches(a, g) for a, g in zip(asked, groups, strict=False) if a.strip(" *^"))


def _group_matches(key: str, group: str) -> bool:
    if not group:
        return False
    have = folded(group)
    return any(
        wildcard(wanted, have) if "*" in wanted or "?" in wanted else wanted == have for wanted in _patterns(key)
    )


@lru_cache(maxsize=256)
def _patterns(key: str) -> tuple[str, ...]:
    """The key as names are compared. `DOE^*` is `DOE` too: who has no given name has no `^` either."""
    found = [folded(key)]
    while found[-1].endswith("^*"):
        found.append(found[-1][:-2].rstrip("^"))
    return tuple(found)


def range_of(key: str) -> tuple[str, str]:
    """`a-b`, `a-`, `-b`, `a` -> inclusive (low, high), '' open."""
    low, dash, high = key.strip().partition("-")
    return (low.strip(), high.strip()) if dash else (low.strip(), low.strip())


def _time_low(text: str) -> str:
    return (text.split(".")[0] + "000000")[:6]


def _time_high(text: str) -> str:
    # A time given only to the minute covers the whole minute.
    whole = text.split(".")[0]
    return (whole + "235959"[len(whole) :])[:6] if whole else whole


def when_matches(date_key: str, time_key: str, date: str, time: str) -> bool:
    """Scheduled start: two ranges are ONE interval (K.4.1.1.3); a lone key is tested by itself."""
    date_key, time_key = date_key.strip(), time_key.strip()
    date_low, date_high = range_of(date_key)
    if not date_key and not time_key:
        return True
    moment = _time_low(time) if time else "000000"
    if date_key and time_key and "-" in date_key and "-" in time_key:
        time_low, time_high = range_of(time_key)
        at = date + moment
        low = date_low + _time_low(time_low) if date_low else ""
        high = date_high + (_time_high(time_high) or "235959") if date_high else ""
        return bool(date) and (not low or low <= at) and (not high or at <= high)
    if date_key and not (date and (not date_low or date_low <= date) and (not date_high or date <= date_high)):
        return False
    if not time_key:
        return True
    time_low, time_high = range_of(time_key)
    if "-" not in time_key:
        return bool(time) and _time_low(time_low) <= moment <= _time_high(time_high)
    return (
        bool(time)
        and (not time_low or _time_low(time_low) <= moment)
        and (not time_high or moment <= _time_high(time_high))
    )


def matches(keys: WorklistKeys, entry: WorklistEntry, spell: Spell = str) -> bool:
    """Whether the entry satisfies every key at once (PS3.4 K.4.1.1, C.2.2.2)."""
    return next(failing(keys, entry, spell), None) is None


def failing(keys: WorklistKeys, entry: WorklistEntry, spell: Spell = str) -> Iterator[str]:
    """The keys, by their names in `WorklistKeys`, that the entry does not satisfy; date and time are one.

    `spell` writes a name as devices that lack its letters are told it: who is shown as Ivanov is found as Ivanov.
    """
    for name, fits in _asked(keys):
        if not fits(keys, entry) and not (name in _NAMES and _spelt_matches(getattr(keys, name), entry, name, spell)):
            yield name


def _spelt_matches(key: str, entry: WorklistEntry, name: str, spell: Spell) -> bool:
    stored: PersonName = getattr(entry, name)
    spelt = stored.alphabetic if stored.alphabetic.isascii() else spell(stored.alphabetic)
    return spelt != stored.alphabetic and name_matches(key, PersonName(spelt))


def _stations(keys: WorklistKeys, entry: WorklistEntry) -> bool:
    """Any of several values satisfies a key (C.2.2.2.1)."""
    return any(text_matches(keys.station_ae_title, title) for title in entry.station_ae_titles or ("",))


_CHECKS: tuple[tuple[str, Callable[[WorklistKeys, WorklistEntry], bool]], ...] = (
    ("patient_id", lambda k, e: text_matches(k.patient_id, told(e.patient_id))),
    ("patient_issuer", lambda k, e: text_matches(k.patient_issuer, e.patient_issuer)),
    ("accession_number", lambda k, e: text_matches(k.accession_number, e.accession_number)),
    ("admission_id", lambda k, e: text_matches(k.admission_id, told(e.admission_id))),
    ("requested_procedure_id", lambda k, e: text_matches(k.requested_procedure_id, e.requested_procedure_id)),
    (
        "requested_procedure_description",
        lambda k, e: text_matches(k.requested_procedure_description, e.requested_procedure_description),
    ),
    ("sex", lambda k, e: text_matches(k.sex, e.sex)),
    ("modality", lambda k, e: text_matches(k.modality, e.modality)),
    ("station_name", lambda k, e: text_matches(k.station_name, e.station_name)),
    ("step_location", lambda k, e: text_matches(k.step_location, e.step_location)),
    ("step_id", lambda k, e: text_matches(k.step_id, e.step_id)),
    ("step_description", lambda k, e: text_matches(k.step_description, e.step_description)),
    ("step_status", lambda k, e: text_matches(k.step_status, e.step_status)),
    ("study_instance_uids", lambda k, e: e.study_instance_uid in k.study_instance_uids),
    ("station_ae_title", _stations),
    ("birth_date", lambda k, e: when_matches(k.birth_date, "", e.birth_date, "")),
    ("start_date", lambda k, e: when_matches(k.start_date, k.start_time, e.start_date, e.start_time)),
    ("patient_name", lambda k, e: name_matches(k.patient_name, e.patient_name)),
    ("referring_physician", lambda k, e: name_matches(k.referring_physician, e.referring_physician)),
    ("requesting_physician", lambda k, e: name_matches(k.requesting_physician, e.requesting_physician)),
    ("performing_physician", lambda k, e: name_matches(k.performing_physician, e.performing_physician)),
)

_NAMES = frozenset({"patient_name", "referring_physician", "requesting_physician", "performing_physician"})


@lru_cache(maxsize=64)
def _asked(keys: WorklistKeys) -> tuple[tuple[str, Callable[[WorklistKeys, WorklistEntry], bool]], ...]:
    """The checks of a query: most queries name few keys, and each is tried on every entry."""
    return tuple(
        (name, fits) for name, fits in _CHECKS if getattr(keys, name) or (name == "start_date" and keys.start_time)
    )
