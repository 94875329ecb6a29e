"""Whose message it is: a patient who is known, or who is made known. Identity is never guessed.

The ADT feed tells who somebody is. An order or a report only names them. It fills what is empty; where no feed has
spoken, the newest order that is plainly of the same person corrects what is shown of them. When two of name, birth date
and sex are not those of its number, the number may be mistyped or reused, and a person decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bridge.domain.identity import Identifier
from bridge.domain.lifecycle import newer
from bridge.domain.patient import (
    DELETED,
    PatientData,
    Person,
    PersonName,
    are_plainly_one,
    are_two_people,
    is_doubted,
    only_number_agrees,
)
from bridge.store import orders, patients, review, studies
from bridge.store.db import Connection
from bridge.store.orders import OrderRow
from bridge.store.patients import Owned, PatientRow
from bridge.workflow import withholding

OVERLAY = "patient-overlay"
CONTRADICTS = "message-contradicts-patient"
IDENTIFIERS = "patient-identifiers"
SEVERAL = "message-names-several-patients"
WAITS = {CONTRADICTS: OVERLAY, SEVERAL: IDENTIFIERS}
"""Why a message waits for a word on whose it is, and the kind of its review entry."""
MERGED = "the patient's identifier was merged away: filed under the survivor"
KEPT = "the patient is known by another name: the one known is kept"


@dataclass(frozen=True, slots=True)
class Whose:
    """The patient of an order or a report. `parked` is why a person must say first that it is theirs, else ''.
    `agrees`: it names the person of the record, or somebody has said so."""

    patient_id: int
    parked: str = ""
    warnings: tuple[str, ...] = ()
    agrees: bool = False


def take_patient_of_order(
    connection: Connection,
    data: PatientData,
    event_at: datetime | None,
    message_id: int,
    at: datetime,
    *,
    ends_order_of: int | None = None,
) -> Whose:
    """The patient whom an order or a report names: found, or made provisionally.

    What a person has accepted is the patient's whatever it says of their name: it renames neither them nor their
    orders. `ends_order_of`: the patient of the order that the message ends; of theirs it needs the number alone.
    """
    owned = patients.find_owned(connection, data.identifiers)
    if not owned:
        made = _add(connection, data, provisional=True, event_at=event_at, at=at)
        if made is not None:
            return Whose(made)
        owned = patients.find_owned(connection, data.identifiers)  # made on another node at this moment
    told, subject = _told(data), f"message:{message_id}"
    owners = list(dict.fromkeys(one.patient_id for one in owned))
    if len(owners) > 1:
        review.open_review(connection, IDENTIFIERS, subject, SEVERAL, at, {"patients": owners})
        return Whose(owners[0], SEVERAL)
    stored = patients.get_patient(connection, owners[0])
    if was_merged_away(owned):
        # What it says of name and birth is the old record's: nothing of it is taken, and nothing held against it.
        return Whose(stored.id, warnings=(MERGED,))
    known = _known(stored)
    contradicts = are_two_people(told, known) or is_doubted(told, known) or only_number_agrees(told, known)
    if contradicts and stored.id == ends_order_of:
        # Both numbers are the order's own. How it names the patient must not keep a cancelled exam in sight.
        return Whose(stored.id)
    if contradicts and not review.was_accepted(connection, OVERLAY, subject):
        review.open_review(connection, OVERLAY, subject, CONTRADICTS, at, {"patient": stored.id})
        return Whose(stored.id, CONTRADICTS)
    plainly = not contradicts and are_plainly_one(told, known)
    corrects = stored.provisional and plainly
    _take(connection, data, owned, stored, provisional=True, event_at=event_at, at=at, fills_only=not corrects)
    warnings = () if corrects or not stored.provisional else (KEPT,)
    return Whose(stored.id, warnings=warnings, agrees=contradicts or (plainly and bool(told.name)))


def take_patient_of_feed(
    connection: Connection, data: PatientData, event_at: datetime | None, at: datetime, *, fills_only: bool = False
) -> int:
    """The patient of an ADT message; `fills_only` for one that tells of them in passing: a merge names its survivor,
    and what it says of them is no update (A08 is)."""
    owned = patients.find_owned(connection, data.identifiers)
    if not owned:
        made = _add(connection, data, provisional=False, event_at=event_at, at=at)
        if made is not None:
            return made
        owned = patients.find_owned(connection, data.identifiers)  # made on another node at this moment
    stored = patients.get_patient(connection, owned[0].patient_id)
    fills_only = fills_only and not stored.provisional
    _take(connection, data, owned, stored, provisional=False, event_at=event_at, at=at, fills_only=fills_only)
    return stored.id


def is_nobodys(connection: Connection, order: OrderRow) -> bool:
    """A placeholder for what was said of an unknown order without a patient (no PID): whose it is, its NW will tell.
    Until then it is nobody's, and no other patient's."""
    return order.placeholder and not patients.identifiers_of(connection, order.patient_id)


def was_merged_away(owned: tuple[Owned, ...]) -> bool:
    """Every identifier of the message that we know was retired by a merge."""
    return bool(owned) and all(one.retired for one in owned)


def _told(data: PatientData) -> Person:
    return Person(_name(data.name, PersonName()), _kept(data.birth_date, ""), _kept(data.sex, ""))


def _known(stored: PatientRow) -> Person:
    return Person(stored.name, stored.birth_date, stored.sex)


def _take(
    connection: Connection,
    data: PatientData,
    owned: tuple[Owned, ...],
    stored: PatientRow,
    *,
    provisional: bool,
    event_at: datetime | None,
    at: datetime,
    fills_only: bool,
) -> None:
    """What a message says of a known patient."""
    owners = list(dict.fromkeys(one.patient_id for one in owned))
    if len(owners) > 1:
        reason, subject = "identifiers-of-several-patients", f"patient:{stored.id}"
        review.open_review(connection, IDENTIFIERS, subject, reason, at, {"patients": owners})
        return  # whose name is it? nobody's is changed until the records are merged
    if was_merged_away(owned):
        return
    _take_identifiers(connection, data, owned, stored)
    _change(connection, stored, data, provisional=provisional, fills_only=fills_only, event_at=event_at, at=at)


def _add(
    connection: Connection, data: PatientData, *, provisional: bool, event_at: datetime | None, at: datetime
) -> int | None:
    """None when another node has made a patient of these identifiers meanwhile."""
    patient_id = patients.add_patient(
        connection,
        name=_name(data.name, PersonName()),
        birth_date=_kept(data.birth_date, ""),
        sex=_kept(data.sex, ""),
        provisional=provisional,
        event_at=event_at,
        at=at,
        others=data.others,
    )
    if patients.add_identifiers(connection, patient_id, data.identifiers):
        return patient_id
    if patients.find_patient(connection, data.identifiers) == [patient_id]:
        return patient_id
    patients.drop_patient(connection, patient_id)
    return None


def _take_identifiers(connection: Connection, data: PatientData, owned: tuple[Owned, ...], stored: PatientRow) -> None:
    known = {one.identifier.key for one in owned}
    new: tuple[Identifier, ...] = tuple(one for one in data.identifiers if one.key not in known)
    patients.add_identifiers(connection, stored.id, new)
    if patients.add_others(connection, stored, data.others) or new:
        orders.touch_steps_of_patient(connection, stored.id)


def _change(
    connection: Connection,
    stored: PatientRow,
    data: PatientData,
    *,
    provisional: bool,
    fills_only: bool,
    event_at: datetime | None,
    at: datetime,
) -> None:
    confirms = stored.provisional and not provisional  # the feed speaks for the first time: an order's time is no rival
    if not fills_only and not confirms and not newer(event_at, stored.event_at):
        return
    name = _name(data.name, stored.name)
    birth_date = _kept(data.birth_date, stored.birth_date)
    sex = _kept(data.sex, stored.sex)
    if fills_only:
        name, birth_date, sex = stored.name or name, stored.birth_date or birth_date, stored.sex or sex
    same = (name, birth_date, sex) == (stored.name, stored.birth_date, stored.sex)
    if same and fills_only:
        return
    patients.change_patient(
        connection,
        stored.id,
        name=name,
        birth_date=birth_date,
        sex=sex,
        provisional=stored.provisional and provisional,
        event_at=stored.event_at if fills_only else event_at,
        at=at,
    )
    if same:
        return
    orders.touch_steps_of_patient(connection, stored.id)
    if not provisional:
        # Studies are judged and published again; a person looks when hardly anything of the old record is left.
        studies.rejudge_of_patient(connection, stored.id)
        told, known = Person(name, birth_date, sex), _known(stored)
        if confirms and is_doubted(told, known):
            withholding.withhold(connection, stored.id, at)  # as they had been parked, had the feed spoken first
        if are_two_people(told, known):
            reason = "name-birth-and-sex-changed"
            review.open_review(connection, OVERLAY, f"patient:{stored.id}", reason, at, {})


def _kept(sent: str, stored: str) -> str:
    """HL7 v2.5.1 2.5.3: empty keeps, two quotes delete."""
    return "" if sent == DELETED else sent or stored


def _name(sent: PersonName | str, stored: PersonName) -> PersonName:
    if sent == DELETED:
        return PersonName()
    return sent if isinstance(sent, PersonName) and sent else stored
