"""Patients: from ADT and, provisionally, from orders (IHE RAD-1, RAD-12). Identity is never guessed."""

from __future__ import annotations

from datetime import datetime

from bridge.domain.lifecycle import newer
from bridge.domain.patient import DELETED, PatientData, PatientEvent, PersonName
from bridge.errors import StateConflict
from bridge.store import audit, orders, patients, review, studies
from bridge.store.db import Connection
from bridge.store.patients import PatientRow

MERGES = frozenset({"A18", "A34", "A40"})


def take_patient_event(connection: Connection, event: PatientEvent, who: str, at: datetime) -> list[str]:
    """Apply an ADT event; returns warnings.

    Raises `StateConflict` for a merge that contradicts itself, and for a message about a record that was merged away:
    its sender speaks of somebody whom our records know by another number now.
    """
    if _merged_away(connection, event.patient):
        raise StateConflict("the record was merged into another one", where="PID-3", code="unknown-key")
    patient_id = _upsert(connection, event.patient, provisional=False, event_at=event.occurred, at=at)
    audit.write_audit(connection, at=at, who=who, action=f"patient-{event.event}", subject=f"patient:{patient_id}")
    if event.event in MERGES:
        return _merge(connection, patient_id, event, who, at)
    return []


def _merged_away(connection: Connection, data: PatientData) -> bool:
    """Every identifier of the message that we know was retired by a merge."""
    known = [i for i in data.identifiers if patients.find_patient(connection, (i,))]
    return bool(known) and all(patients.retired(connection, i) for i in known)


def take_patient_of_order(connection: Connection, patient: PatientData, event_at: datetime | None, at: datetime) -> int:
    """The order's patient: found, or made provisionally. The ADT feed wins: an order only fills what is empty."""
    return _upsert(connection, patient, provisional=True, event_at=event_at, at=at)


def _upsert(
    connection: Connection, data: PatientData, *, provisional: bool, event_at: datetime | None, at: datetime
) -> int:
    owners = patients.find_patient(connection, data.identifiers)
    if not owners:
        patient_id = patients.add_patient(
            connection,
            name=_name(data.name, PersonName()),
            birth_date=_kept(data.birth_date, ""),
            sex=_kept(data.sex, ""),
            provisional=provisional,
            event_at=event_at,
            at=at,
        )
        patients.add_identifiers(connection, patient_id, data.identifiers)
        return patient_id
    patient_id = owners[0]
    if len(owners) > 1:
        review.open_review(
            connection,
            "patient-identifiers",
            f"patient:{patient_id}",
            "identifiers-of-several-patients",
            at,
            {"patients": owners},
        )
    if _merged_away(connection, data):
        return patient_id  # theirs by the merge; what the message says of name and birth is the old record's
    patients.add_identifiers(connection, patient_id, data.identifiers)
    stored = patients.get_patient(connection, patient_id)
    _change(connection, stored, data, provisional=provisional, event_at=event_at, at=at)
    return patient_id


def _change(
    connection: Connection,
    stored: PatientRow,
    data: PatientData,
    *,
    provisional: bool,
    event_at: datetime | None,
    at: datetime,
) -> None:
    fills_only = provisional and not stored.provisional
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


def _kept(sent: str, stored: str) -> str:
    """HL7 v2.5.1 2.5.3: empty keeps, two quotes delete."""
    return "" if sent == DELETED else sent or stored


def _name(sent: PersonName | str, stored: PersonName) -> PersonName:
    if sent == DELETED:
        return PersonName()
    return sent if isinstance(sent, PersonName) and sent else stored


def _merge(connection: Connection, survivor: int, event: PatientEvent, who: str, at: datetime) -> list[str]:
    """MRG-1 into PID-3: everything of the prior record follows, its identifiers become aliases for ever."""
    warnings: list[str] = []
    own = {i.key for i in event.patient.identifiers}
    for identifier in event.prior:
        if identifier.key in own:
            raise StateConflict("the record cannot be merged into itself", where="MRG-1", code="duplicate-key")
        owners = patients.find_patient(connection, (identifier,))
        if not owners:
            # Images may still come under it.
            patients.add_identifiers(connection, survivor, (identifier,), retired=True)
            warnings.append("the prior identifier of the merge was not known")
            continue
        if owners[0] == survivor:
            continue
        if patients.retired(connection, identifier):
            # What the identifier stood for is another patient's by now: merging would drag that patient along.
            raise StateConflict("the prior record was merged elsewhere", where="MRG-1", code="unknown-key")
        patients.merge_patients(connection, owners[0], survivor, at)
        orders.touch_steps_of_patient(connection, survivor)
        studies.rejudge_of_patient(connection, survivor)
        audit.write_audit(
            connection,
            at=at,
            who=who,
            action="patient-merge",
            subject=f"patient:{survivor}",
            details={"prior": owners[0]},
        )
    return warnings
