"""Patients and visits (HL7 v2.5.1 3.4; PS3.3 C.2, C.7.1)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bridge.domain.identity import Identifier

DELETED = '""'
"""The HL7 null (v2.5.1 2.5.3): the sender deletes the value. An empty string keeps what is stored."""
_BETWEEN_WORDS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class PersonName:
    """The three component groups of a PN (PS3.5 6.2.1), each `Family^Given^Middle^Prefix^Suffix`, '' when absent."""

    alphabetic: str = ""
    ideographic: str = ""
    phonetic: str = ""

    @property
    def dicom(self) -> str:
        return "=".join((self.alphabetic, self.ideographic, self.phonetic)).rstrip("=")

    @classmethod
    def from_dicom(cls, text: str) -> PersonName:
        groups = [g.rstrip("^").strip() for g in str(text).split("=")][:3]
        return cls(*groups)

    def __bool__(self) -> bool:
        return bool(self.alphabetic or self.ideographic or self.phonetic)


NO_NAME = PersonName(DELETED)
"""The HL7 null in place of a name: the sender deletes it."""


def folded(text: str) -> str:
    """Text as names are compared: no case, no accents, no padding, no trailing empty components.

    Accents are the marks above, below and through a letter (combining class 200 and up). The rest are letters in
    effect: without its voicing mark the kana of Gatou are those of Katou, somebody else.
    """
    return "^".join(_folded(part) for part in text.split("^")).rstrip("^")


def _folded(text: str) -> str:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.combining(c) < 200)
    return unicodedata.normalize("NFC", plain.casefold()).strip()


def names_differ(one: PersonName, other: PersonName) -> bool:
    """Whether no group that both have is equal, case and accents aside; False when there is none to compare."""
    pairs = (
        (one.alphabetic, other.alphabetic),
        (one.ideographic, other.ideographic),
        (one.phonetic, other.phonetic),
    )
    both = [(folded(a), folded(b)) for a, b in pairs if a and b]
    return bool(both) and all(a != b for a, b in both)


@dataclass(frozen=True, slots=True)
class Person:
    """What tells one person from another under one number; '' is what is not known."""

    name: PersonName
    birth_date: str
    sex: str


def are_two_people(one: Person, other: Person) -> bool:
    """Name, birth date and sex are all known on both sides and all differ: a mistyped or reused number, hardly the same
    person. What has no name yet, or has it changed, keeps one of the three."""
    return (
        _differ(one.birth_date, other.birth_date) and _differ(one.sex, other.sex) and names_differ(one.name, other.name)
    )


def is_doubted(one: Person, other: Person) -> bool:
    """Two of name, birth date and sex differ. A marriage, a correction changes one of them; two at once may be somebody
    else: a sister, a twin, the next person in the list."""
    name = not all(_compared(one.name, other.name, _alike))
    return name + _differ(one.birth_date, other.birth_date) + _differ(one.sex, other.sex) >= 2


def only_number_agrees(one: Person, other: Person) -> bool:
    """Neither family nor given name is alike, and there are no two birth dates to speak for the number."""
    name = _compared(one.name, other.name, _alike)
    return bool(name) and not any(name) and not (one.birth_date and other.birth_date)


def are_plainly_one(one: Person, other: Person) -> bool:
    """Of family name, given name, birth date and sex at most one differs."""
    differing = _compared(one.name, other.name, _same).count(False)
    return differing + _differ(one.birth_date, other.birth_date) + _differ(one.sex, other.sex) <= 1


def _differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other


def _compared(one: PersonName, other: PersonName, agree: Callable[[str, str], bool]) -> list[bool]:
    """Whether family and given name agree, each where both have it, in the group that agrees best. A name in another
    order, or all in one component, is the same name."""
    best: list[bool] = []
    for a, b in (
        (one.alphabetic, other.alphabetic),
        (one.ideographic, other.ideographic),
        (one.phonetic, other.phonetic),
    ):
        pairs = [(x, y) for x, y in zip(folded(a).split("^")[:2], folded(b).split("^")[:2], strict=False) if x and y]
        found = [True] if pairs and _words(a) == _words(b) else [agree(x, y) for x, y in pairs]
        if found and (not best or found.count(False) < best.count(False)):
            best = found
    return best


def _words(text: str) -> frozenset[str]:
    return frozenset(_BETWEEN_WORDS.sub(" ", folded(text)).split())


def _same(one: str, other: str) -> bool:
    """Equal, or one has more: a second given name, a double family name."""
    return _words(one) <= _words(other) or _words(other) <= _words(one)


def _alike(one: str, other: str) -> bool:
    """The same, or one is the beginning of the other: an initial, a name that was cut."""
    return _same(one, other) or one.startswith(other) or other.startswith(one)


@dataclass(frozen=True, slots=True)
class Visit:
    """`admission` is PV1-19, else the account PID-18 (HL7 v2.5.1 3.4.3.19); `account` PID-18, `alternate` PV1-50."""

    admission: Identifier | None = None
    patient_class: str = ""
    location: str = ""
    referring_physician: PersonName = PersonName()
    account: Identifier | None = None
    alternate: Identifier | None = None


@dataclass(frozen=True, slots=True)
class PatientData:
    """What one message says of a patient: '' keeps, `DELETED` deletes. `birth_date` is YYYYMMDD, `sex` M, F or O.

    `identifiers` say who the patient is; `others` are what they are also known by, and name nobody.
    """

    identifiers: tuple[Identifier, ...]
    name: PersonName | str = ""
    birth_date: str = ""
    sex: str = ""
    others: tuple[Identifier, ...] = ()


@dataclass(frozen=True, slots=True)
class PatientEvent:
    """An ADT event. `prior` holds MRG-1 of a merge, move or change of identifier (A40 and its like), else nothing.

    `prior_account`, `prior_visit`, `prior_alternate` are MRG-3, MRG-5, MRG-6, `prior_name` MRG-7; `other` is the second
    PID of a link (A24, A37). `allergies` are those of AL1: all there are, None when the message tells of none;
    `allergies_now` and `allergies_no_more` are what the IAM of an A60 add and take away.
    """

    event: str
    patient: PatientData
    visit: Visit = Visit()
    prior: tuple[Identifier, ...] = ()
    occurred: datetime | None = None
    prior_account: Identifier | None = None
    prior_visit: Identifier | None = None
    prior_alternate: Identifier | None = None
    other: PatientData | None = None
    prior_name: PersonName = PersonName()
    allergies: tuple[str, ...] | None = None
    allergies_now: tuple[str, ...] = ()
    allergies_no_more: tuple[str, ...] = ()
