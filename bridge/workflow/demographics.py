"""Patients as the ADT feed tells of them (IHE RAD-1, RAD-12): updates, merges, moves and changes of identifiers.

What becomes of records and identifiers stands here, whose a message is in `identifying`, what becomes of visits and
accounts in `visits`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from bridge.domain.identity import Identifier
from bridge.domain.patient import PatientData, PatientEvent, Person, are_plainly_one, names_differ
from bridge.errors import StateConflict
from bridge.store import audit, orders, patients, review, studies
from bridge.store import visits as stored_visits
from bridge.store.db import Connection
from bridge.store.patients import Owned
from bridge.workflow import visits
from bridge.workflow.context import Context
from bridge.workflow.identifying import MERGED, take_patient_of_feed, was_merged_away

MERGES = frozenset({"A18", "A34", "A36", "A40"})
DELETIONS = frozenset({"A23", "A29"})
LINKS = frozenset({"A24", "A37"})
MOVES = frozenset({"A44", "A45"})
RE_OWNING = MERGES | MOVES | {"A43", "A47"}
"""Events after which something may be another patient's than before."""


def take_patient_event(connection: Connection, event: PatientEvent, who: str, context: Context) -> list[str]:
    """Apply an ADT event; returns warnings.

    Raises `StateConflict` for a merge that contradicts itself, and, where the site says so, for an update of a record
    that was merged away: its sender speaks of somebody whom our records know by another number now.
    """
    at = context.clock.now()
    if event.event in DELETIONS:
        return _keep(connection, event, who, at)
    warnings: list[str] = []
    if was_merged_away(patients.find_owned(connection, event.patient.identifiers)):
        _check_merged_away(connection, event, context)
        warnings.append(MERGED)
    shared: tuple[Identifier, ...] = ()
    if event.event in RE_OWNING:
        event, shared = _told_apart(event)
    if event.event == "A47":
        patient_id, more = _change_identifier(connection, event, shared, at)
    else:
        patient_id = take_patient_of_feed(
            connection,
            _survivor(connection, event, shared) if shared else event.patient,
            event.occurred,
            at,
            fills_only=event.event in RE_OWNING | LINKS,
        )
        more = _effects(connection, event, patient_id, who, context)
        if event.event in MERGES:
            _stay_in_use(connection, shared, patient_id, at)
    audit.write_audit(connection, at=at, who=who, action=f"patient-{event.event}", subject=f"patient:{patient_id}")
    return warnings + more


def _check_merged_away(connection: Connection, event: PatientEvent, context: Context) -> None:
    """A merge into a record that was itself merged follows it to the end of the chain, whichever merge came first.
    Raises `StateConflict` for one that would go round in a circle, and for what else may not speak of such a record."""
    if event.event in MERGES:
        survivors = patients.find_patient(connection, event.patient.identifiers)
        prior = patients.find_owned(connection, event.prior)
        if any(one.patient_id in survivors and not one.retired for one in prior):
            raise StateConflict("the record was merged into another one", where="PID-3", code="duplicate-key")
        if len(survivors) == 1:
            return
    if event.event in RE_OWNING or context.settings.patients.merged_away == "refuse":
        raise StateConflict("the record was merged into another one", where="PID-3", code="unknown-key")


def _told_apart(event: PatientEvent) -> tuple[PatientEvent, tuple[Identifier, ...]]:
    """The event without the identifiers that PID-3 and MRG-1 share, and these: an enterprise number that stays as it is
    tells neither record from the other. Raises `StateConflict` when nothing is left."""
    prior_keys = {one.key for one in event.prior}
    shared = tuple(one for one in event.patient.identifiers if one.key in prior_keys)
    both = {one.key for one in shared}
    own = tuple(one for one in event.patient.identifiers if one.key not in both)
    prior = tuple(one for one in event.prior if one.key not in both)
    if not own or not prior:
        raise StateConflict("a record cannot be merged into itself", where="MRG-1", code="duplicate-key")
    return replace(event, patient=replace(event.patient, identifiers=own), prior=prior), shared


def _survivor(connection: Connection, event: PatientEvent, shared: tuple[Identifier, ...]) -> PatientData:
    """The patient in PID; when their own numbers are new, a shared one says who they are, if it is not the prior's."""
    if patients.find_owned(connection, event.patient.identifiers):
        return event.patient
    gone = patients.find_patient(connection, event.prior)
    theirs = tuple(o.identifier for o in patients.find_owned(connection, shared) if o.patient_id not in gone)
    return replace(event.patient, identifiers=event.patient.identifiers + theirs)


def _stay_in_use(connection: Connection, shared: tuple[Identifier, ...], survivor: int, at: datetime) -> None:
    """What both records carried is the survivor's own number, not one that the merge retires."""
    for one in shared:
        owners = patients.find_patient(connection, (one,))
        if owners in ([], [survivor]):
            patients.move_identifier(connection, one, survivor)
        else:
            reason, details = "identifiers-of-several-patients", {"patients": [survivor, *owners]}
            review.open_review(connection, "patient-identifiers", f"patient:{survivor}", reason, at, details)


def _effects(connection: Connection, event: PatientEvent, patient_id: int, who: str, context: Context) -> list[str]:
    """What the event does beside telling who the patient is."""
    at = context.clock.now()
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
    return visits.take_visit(connection, event, patient_id, context)


def _keep(connection: Connection, event: PatientEvent, who: str, at: datetime) -> list[str]:
    """A23, A29: images and orders are records of care; whoever deletes the person elsewhere deletes nothing here."""
    for patient_id in patients.find_patient(connection, event.patient.identifiers)[:1]:
        audit.write_audit(connection, at=at, who=who, action=f"patient-{event.event}", subject=f"patient:{patient_id}")
        patients.end_sessions(connection, patient_id, at)
    return ["records are never deleted: the patient is kept"]


def _link(connection: Connection, patient_id: int, event: PatientEvent, at: datetime) -> list[str]:
    """A24, A37: two records of one person, both valid; nothing moves."""
    assert event.other is not None
    other = take_patient_of_feed(connection, event.other, event.occurred, at, fills_only=True)
    if other == patient_id:
        raise StateConflict("a record cannot be linked to itself", where="PID-3", code="duplicate-key")
    if event.event == "A24":
        stored_visits.link_patients(connection, patient_id, other, at)
    elif not stored_visits.unlink_patients(connection, patient_id, other, at):
        return ["the two records were not linked"]
    return []


def _change_identifier(
    connection: Connection, event: PatientEvent, shared: tuple[Identifier, ...], at: datetime
) -> tuple[int, list[str]]:
    """A47: the person is the same, the number is another. Raises `StateConflict` when it is somebody else's."""
    new, old = event.patient.identifiers, event.prior
    known_new, known_old = patients.find_owned(connection, new), patients.find_owned(connection, old)
    owners = {one.patient_id for one in (*known_new, *known_old)}
    if len(owners) > 1:
        _take_in(connection, known_new, known_old, at)
        known_new = patients.find_owned(connection, new)
    taken = {one.identifier.key for one in known_new}
    unused = [one for one in new if one.key not in taken]
    if unused and any(one.retired for one in known_old):
        raise StateConflict("the prior record was merged elsewhere", where="MRG-1", code="unknown-key")
    for one in known_old:
        # The number of the same authority takes the old one's place, whatever else the message tells.
        same = [other for other in unused if other.issuer == one.identifier.issuer]
        for chosen in (same or ([] if known_new else unused))[:1]:
            patients.rename_identifier(connection, one.identifier, chosen)
            unused.remove(chosen)
    data = replace(event.patient, identifiers=new + shared)
    patient_id = take_patient_of_feed(connection, data, event.occurred, at, fills_only=True)
    # The old number still comes, on images above all.
    patients.add_identifiers(connection, patient_id, old, retired=True)
    for prior in old:
        patients.retire_identifier(connection, prior, patient_id)
    orders.touch_steps_of_patient(connection, patient_id)
    studies.rejudge_of_patient(connection, patient_id)
    return patient_id, [] if known_old else ["the prior identifier was not known"]


def _take_in(connection: Connection, known_new: tuple[Owned, ...], known_old: tuple[Owned, ...], at: datetime) -> None:
    """An update under the new number overtook the change and made a record of its own: while nothing hangs on that and
    both are plainly of one person, they are one. Raises `StateConflict` when it may be somebody else's."""
    made, known = {one.patient_id for one in known_new}, {one.patient_id for one in known_old}
    fault = StateConflict("the new identifier is another patient's", where="PID-3", code="duplicate-key")
    if len(made) > 1 or len(known) > 1 or any(one.retired for one in (*known_new, *known_old)):
        raise fault
    (young,), (old,) = made, known
    told, stored = patients.get_patient(connection, young), patients.get_patient(connection, old)
    people = [Person(one.name, one.birth_date, one.sex) for one in (told, stored)]
    same = told.name and stored.name and are_plainly_one(*people)
    if not same or not patients.is_empty(connection, young):
        raise fault
    live = patients.live_identifiers(connection, young)
    numbers = tuple(one for one in patients.identifiers_of(connection, young) if one.key in live)
    _absorb(connection, young, old, at)
    for one in numbers:
        patients.move_identifier(connection, one, old)
    data = PatientData(numbers, told.name, told.birth_date, told.sex)
    take_patient_of_feed(connection, data, told.event_at, at)


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
        warnings += _named_otherwise(connection, owners[0], survivor, event, at)
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


def _named_otherwise(connection: Connection, prior: int, survivor: int, event: PatientEvent, at: datetime) -> list[str]:
    """MRG-7 against the name of the record that goes: another name means that perhaps the wrong record was merged."""
    if not names_differ(event.prior_name, patients.get_patient(connection, prior).name):
        return []
    subject, details = f"patient:{survivor}", {"prior": prior}
    review.open_review(connection, "patient-identifiers", subject, "prior-name-differs", at, details)
    return ["the prior name (MRG-7) is not that of the record that was merged"]
