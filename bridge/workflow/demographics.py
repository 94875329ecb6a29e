"""Patients: from ADT and, provisionally, from orders (IHE RAD-1, RAD-12). Identity is never guessed.

What becomes of records and identifiers stands here, what becomes of visits and accounts in `visits`.
"""

from __future__ import annotations

from datetime import datetime

from bridge.domain.lifecycle import newer
from bridge.domain.patient import DELETED, PatientData, PatientEvent, PersonName
from bridge.errors import StateConflict
from bridge.store import audit, orders, patients, review, studies
from bridge.store import visits as stored_visits
from bridge.store.db import Connection
from bridge.store.patients import PatientRow
from bridge.workflow import visits

MERGES = frozenset({"A18", "A34", "A36", "A40"})
DELETIONS = frozenset({"A23", "A29"})
LINKS = frozenset({"A24", "A37"})
MOVES = frozenset({"A44", "A45"})
RE_OWNING = MERGES | MOVES | {"A43", "A47"}
"""Events after which something may be another patient's than before."""


def take_patient_event(connection: Connection, event: PatientEvent, who: str, at: datetime) -> list[str]:
    """Apply an ADT event; returns warnings.

    Raises `StateConflict` for a merge that contradicts itself, and for a message about a record that was merged away:
    its sender speaks of somebody whom our records know by another number now.
    """
    if event.event in DELETIONS:
        return _keep(connection, event, who, at)
    if _merged_away(connection, event.patient):
        survivor = patients.find_patient(connection, event.patient.identifiers)
        loop = event.event in MERGES and patients.find_patient(connection, event.prior) == survivor
        code = "duplicate-key" if loop else "unknown-key"
        raise StateConflict("the record was merged into another one", where="PID-3", code=code)
    if event.event in RE_OWNING:
        own = {i.key for i in event.patient.identifiers}
        if not event.prior or any(prior.key in own for prior in event.prior):
            raise StateConflict("a record cannot be merged into itself", where="MRG-1", code="duplicate-key")
    if event.event == "A47":
        patient_id, warnings = _change_identifier(connection, event, at)
    else:
        about_people = event.event in RE_OWNING | LINKS
        patient_id = _upsert(
            connection, event.patient, provisional=False, event_at=event.occurred, at=at, fills_only=about_people
        )
        warnings = _effects(connection, event, patient_id, who, at)
    audit.write_audit(connection, at=at, who=who, action=f"patient-{event.event}", subject=f"patient:{patient_id}")
    return warnings


def _effects(connection: Connection, event: PatientEvent, patient_id: int, who: str, at: datetime) -> list[str]:
    """What the event does beside telling who the patient is."""
    if event.event in MERGES:
        warnings = _merge(connection, patient_id, event, who, at)
        account = event.visit.account
        if event.event == "A36" and event.prior_account and account:
            warnings += visits.renamed(connection, patient_id, event.prior_account, account, account=True)
        return warnings
    if event.event == "A43":
        return _move_identifiers(connection, patient_id, event, at)
    if event.event in MOVES:
        prior = patients.find_patient(connection, event.prior)
        if not prior:
            raise StateConflict("the prior patient is not known", where="MRG-1", code="unknown-key")
        return visits.move(connection, event, prior[0], patient_id, who, at)
    if event.event in visits.RENAMES:
        return visits.rename(connection, event, patient_id)
    if event.event in LINKS and event.other is not None:
        return _link(connection, patient_id, event, at)
    return visits.take_visit(connection, event, patient_id, at)


def _keep(connection: Connection, event: PatientEvent, who: str, at: datetime) -> list[str]:
    """A23, A29: images and orders are records of care; whoever deletes the person elsewhere deletes nothing here."""
    for patient_id in patients.find_patient(connection, event.patient.identifiers)[:1]:
        audit.write_audit(connection, at=at, who=who, action=f"patient-{event.event}", subject=f"patient:{patient_id}")
        patients.end_sessions(connection, patient_id, at)
    return ["records are never deleted: the patient is kept"]


def _link(connection: Connection, patient_id: int, event: PatientEvent, at: datetime) -> list[str]:
    """A24, A37: two records of one person, both valid; nothing moves."""
    assert event.other is not None
    other = _upsert(connection, event.other, provisional=False, event_at=event.occurred, at=at, fills_only=True)
    if other == patient_id:
        raise StateConflict("a record cannot be linked to itself", where="PID-3", code="duplicate-key")
    if event.event == "A24":
        stored_visits.link_patients(connection, patient_id, other, at)
    elif not stored_visits.unlink_patients(connection, patient_id, other, at):
        return ["the two records were not linked"]
    return []


def _change_identifier(connection: Connection, event: PatientEvent, at: datetime) -> tuple[int, list[str]]:
    """A47: the person is the same, the number is another. Raises `StateConflict` when it is somebody else's."""
    new, old = event.patient.identifiers, event.prior
    known_new, known_old = patients.find_patient(connection, new), patients.find_patient(connection, old)
    if len({*known_new, *known_old}) > 1:
        raise StateConflict("the new identifier is another patient's", where="PID-3", code="duplicate-key")
    if known_old and not known_new:
        if patients.retired(connection, old[0]):
            raise StateConflict("the prior record was merged elsewhere", where="MRG-1", code="unknown-key")
        first = next(one for one in old if patients.find_patient(connection, (one,)))
        patients.rename_identifier(connection, first, new[0])
    patient_id = _upsert(connection, event.patient, provisional=False, event_at=event.occurred, at=at, fills_only=True)
    # The old number still comes, on images above all.
    patients.add_identifiers(connection, patient_id, old, retired=True)
    for one in old:
        patients.retire_identifier(connection, one, patient_id)
    orders.touch_steps_of_patient(connection, patient_id)
    studies.rejudge_of_patient(connection, patient_id)
    return patient_id, [] if known_old else ["the prior identifier was not known"]


def _move_identifiers(connection: Connection, patient_id: int, event: PatientEvent, at: datetime) -> list[str]:
    """A43: an identifier and what hangs on it move to another owner; a record that has no other follows whole."""
    warnings: list[str] = []
    for identifier in event.prior:
        owners = patients.find_patient(connection, (identifier,))
        if not owners:
            patients.add_identifiers(connection, patient_id, (identifier,))
            warnings.append("the identifier that moves was not known")
            continue
        if owners[0] == patient_id:
            continue
        if patients.retired(connection, identifier):
            raise StateConflict("the identifier was merged elsewhere", where="MRG-1", code="unknown-key")
        if patients.live_identifiers(connection, owners[0]) == {identifier.key}:
            _absorb(connection, owners[0], patient_id, at)
        elif stored_visits.open_orders(connection, owners[0]):
            details = {"moved_to": patient_id}
            reason = "identifier-moved-orders-stay"
            review.open_review(connection, "patient-identifiers", f"patient:{owners[0]}", reason, at, details)
            warnings.append("the earlier owner has other identifiers: their orders stay for a person to judge")
        patients.move_identifier(connection, identifier, patient_id)
        for one in (owners[0], patient_id):
            orders.touch_steps_of_patient(connection, one)
            studies.rejudge_of_patient(connection, one)
    return warnings


def _absorb(connection: Connection, prior: int, survivor: int, at: datetime) -> None:
    stored_visits.links_follow(connection, prior, survivor, at)
    patients.merge_patients(connection, prior, survivor, at)


def _merged_away(connection: Connection, data: PatientData) -> bool:
    """Every identifier of the message that we know was retired by a merge."""
    known = [i for i in data.identifiers if patients.find_patient(connection, (i,))]
    return bool(known) and all(patients.retired(connection, i) for i in known)


def take_patient_of_order(connection: Connection, patient: PatientData, event_at: datetime | None, at: datetime) -> int:
    """The order's patient: found, or made provisionally. The ADT feed wins: an order only fills what is empty."""
    return _upsert(connection, patient, provisional=True, event_at=event_at, at=at)


def _upsert(
    connection: Connection,
    data: PatientData,
    *,
    provisional: bool,
    event_at: datetime | None,
    at: datetime,
    fills_only: bool = False,
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
        if patients.add_identifiers(connection, patient_id, data.identifiers):
            return patient_id
        owners = patients.find_patient(connection, data.identifiers)
        if owners == [patient_id]:
            return patient_id
        patients.drop_patient(connection, patient_id)  # on another node the same patient was made at this moment
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
        return patient_id  # whose name is it? nobody's is changed until the records are merged
    if _merged_away(connection, data):
        return patient_id  # theirs by the merge; what the message says of name and birth is the old record's
    patients.add_identifiers(connection, patient_id, data.identifiers)
    stored = patients.get_patient(connection, patient_id)
    # A merge names its survivor; what it says of them is no update (A08 is).
    fills_only = not stored.provisional and (provisional or fills_only)
    _change(connection, stored, data, provisional=provisional, fills_only=fills_only, event_at=event_at, at=at)
    return patient_id


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
        _told_anew(connection, stored, name, birth_date, sex, at)


def _told_anew(
    connection: Connection, stored: PatientRow, name: PersonName, birth_date: str, sex: str, at: datetime
) -> None:
    """Studies are judged and published again; a person looks when hardly anything of the old record is left."""
    studies.rejudge_of_patient(connection, stored.id)
    before, after = (stored.name.dicom, stored.birth_date, stored.sex), (name.dicom, birth_date, sex)
    if not stored.provisional and all(a and b and a != b for a, b in zip(before, after, strict=True)):
        review.open_review(connection, "patient-overlay", f"patient:{stored.id}", "name-birth-and-sex-changed", at, {})


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
    for identifier in event.prior:
        owners = patients.find_patient(connection, (identifier,))
        if not owners:
            # Images may still come under it.
            patients.add_identifiers(connection, survivor, (identifier,), retired=True)
            warnings.append("the prior identifier of the merge was not known")
            continue
        if owners[0] == survivor:
            patients.retire_identifier(connection, identifier, survivor)
            continue
        if patients.retired(connection, identifier):
            # What the identifier stood for is another patient's by now: merging would drag that patient along.
            raise StateConflict("the prior record was merged elsewhere", where="MRG-1", code="unknown-key")
        _absorb(connection, owners[0], survivor, at)
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
