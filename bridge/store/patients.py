"""Patients, their identifiers, and merges that keep the old identifiers for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, bindparam, case, delete, exists, insert, literal, or_, select, update

from bridge.domain.identity import Identifier
from bridge.domain.patient import PersonName
from bridge.domain.told import is_alias, told
from bridge.store.connection import Connection, Prepared
from bridge.store.schema import (
    imaging_order,
    launch_session,
    patient,
    patient_identifier,
    patient_link,
    report,
    study,
)
from bridge.store.upsert import insert_new


@dataclass(frozen=True, slots=True)
class PatientRow:
    id: int
    name: PersonName
    birth_date: str
    sex: str
    provisional: bool
    event_at: datetime | None
    merged_into: int | None
    others: tuple[Identifier, ...]


@dataclass(frozen=True, slots=True)
class Owned:
    """An identifier, whose it is, and whether a merge has taken it away from its own record."""

    identifier: Identifier
    patient_id: int
    retired: bool


_COLUMNS = (
    patient.c.id,
    patient.c.name,
    patient.c.birth_date,
    patient.c.sex,
    patient.c.provisional,
    patient.c.event_at,
    patient.c.merged_into,
    patient.c.other_identifiers,
)
_OWNER = Prepared(
    select(patient_identifier.c.patient_id, patient_identifier.c.retired).where(
        patient_identifier.c.value == bindparam("v"), patient_identifier.c.issuer == bindparam("i")
    )
)
_GET = Prepared(select(*_COLUMNS).where(patient.c.id == bindparam("p")))
_INSERT = Prepared(insert(patient).returning(patient.c.id))
_UPDATE = Prepared(
    update(patient)
    .where(patient.c.id == bindparam("p"))
    .values(
        name=bindparam("n"),
        birth_date=bindparam("b"),
        sex=bindparam("s"),
        provisional=bindparam("prov"),
        event_at=bindparam("e"),
        updated_at=bindparam("u"),
        version=patient.c.version + 1,
    )
)
_SET_OTHERS = Prepared(update(patient).where(patient.c.id == bindparam("p")).values(other_identifiers=bindparam("o")))
_ADD_IDENTIFIER = insert_new(patient_identifier, ("value", "issuer"))
_MERGE = Prepared(update(patient).where(patient.c.id == bindparam("p")).values(merged_into=bindparam("into")))
_ALREADY_MERGED = Prepared(
    update(patient).where(patient.c.merged_into == bindparam("p")).values(merged_into=bindparam("into"))
)
_MOVE_IDENTIFIERS = Prepared(
    update(patient_identifier)
    .where(patient_identifier.c.patient_id == bindparam("p"))
    .values(patient_id=bindparam("into"), retired=True)
)
_MOVE_ORDERS = Prepared(
    update(imaging_order)
    .where(imaging_order.c.patient_id == bindparam("p"))
    .values(patient_id=bindparam("into"), version=imaging_order.c.version + 1)
)
_MOVE_REPORTS = Prepared(
    update(report)
    .where(report.c.patient_id == bindparam("p"))
    .values(patient_id=bindparam("into"), version=report.c.version + 1)
)
_DROP = Prepared(delete(patient).where(patient.c.id == bindparam("p")))
_KEY = (patient_identifier.c.value == bindparam("v"), patient_identifier.c.issuer == bindparam("i"))
_RETIRE = Prepared(update(patient_identifier).where(*_KEY).values(patient_id=bindparam("p"), retired=True))
_DROP_IDENTIFIER = Prepared(delete(patient_identifier).where(*_KEY))
_RENAME_IDENTIFIER = Prepared(
    update(patient_identifier).where(*_KEY).values(value=bindparam("nv"), issuer=bindparam("ni"), type=bindparam("nt"))
)
_LIVE_IDENTIFIERS = Prepared(
    select(patient_identifier.c.value, patient_identifier.c.issuer)
    .where(patient_identifier.c.patient_id == bindparam("p"), patient_identifier.c.retired.is_(False))
    .order_by(patient_identifier.c.id)
)
_END_SESSIONS = Prepared(
    update(launch_session)
    .where(launch_session.c.patient_id == bindparam("p"), launch_session.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)
_IDENTIFIERS = Prepared(
    select(patient_identifier.c.value, patient_identifier.c.issuer, patient_identifier.c.type)
    .where(patient_identifier.c.patient_id == bindparam("p"))
    .order_by(
        patient_identifier.c.retired,
        case((and_(bindparam("number") != "", patient_identifier.c.value == bindparam("number")), 0), else_=1),
        case(
            (and_(bindparam("first") != "", patient_identifier.c.issuer == bindparam("first")), 0),
            (patient_identifier.c.type.in_([literal("MR"), literal("PI")]), 1),
            else_=2,
        ),
        patient_identifier.c.id,
    )
)
_CARRIES = Prepared(
    select(patient_identifier.c.id).where(
        patient_identifier.c.patient_id == bindparam("p"),
        patient_identifier.c.value == bindparam("v"),
        or_(bindparam("i") == "", patient_identifier.c.issuer == bindparam("i")),
    )
)

_STUDY_OF_NUMBER = (
    exists()
    .select_from(study.join(patient_identifier, patient_identifier.c.value == study.c.patient_id))
    .where(
        patient_identifier.c.patient_id == bindparam("p"),
        or_(study.c.patient_issuer == patient_identifier.c.issuer, study.c.patient_issuer == ""),
    )
)
_HOLDS = Prepared(
    select(
        or_(
            exists().where(imaging_order.c.patient_id == bindparam("p")),
            exists().where(report.c.patient_id == bindparam("p")),
            exists().where(or_(patient_link.c.patient_id == bindparam("p"), patient_link.c.other_id == bindparam("p"))),
            exists().where(patient.c.merged_into == bindparam("p")),
            _STUDY_OF_NUMBER,
        )
    )
)


def find_owned(connection: Connection, identifiers: tuple[Identifier, ...]) -> tuple[Owned, ...]:
    """Those of the identifiers that somebody has, in their order."""
    found: list[Owned] = []
    for identifier in identifiers:
        row = connection.execute(_OWNER, {"v": identifier.value, "i": identifier.issuer}).one_or_none()
        if row is not None:
            found.append(Owned(identifier, row.patient_id, bool(row.retired)))
    return tuple(found)


def find_patient(connection: Connection, identifiers: tuple[Identifier, ...]) -> list[int]:
    """The surviving patients that own any of the identifiers, in the identifiers' order, each once."""
    return list(dict.fromkeys(one.patient_id for one in find_owned(connection, identifiers)))


def retired(connection: Connection, identifier: Identifier) -> bool:
    """Whether a merge has taken the identifier away from its own record."""
    return any(one.retired for one in find_owned(connection, (identifier,)))


def is_empty(connection: Connection, patient_id: int) -> bool:
    """Nothing but names and numbers: no order, report, link, merged record, and no study under one of the numbers."""
    return not connection.execute(_HOLDS, {"p": patient_id}).scalar_one()


def carries(connection: Connection, patient_id: int, value: str, issuer: str) -> bool:
    """Whether the patient has, or had before a merge, the identifier; an `issuer` of '' asks for the value alone."""
    if connection.execute(_CARRIES, {"p": patient_id, "v": value, "i": issuer}).first() is not None:
        return True
    return is_alias(value) and any(
        told(one.value) == value and issuer in ("", one.issuer) for one in identifiers_of(connection, patient_id)
    )


def get_patient(connection: Connection, patient_id: int) -> PatientRow:
    row = connection.execute(_GET, {"p": patient_id}).one()
    return PatientRow(
        row.id,
        PersonName.from_dicom(row.name),
        row.birth_date,
        row.sex,
        row.provisional,
        row.event_at,
        row.merged_into,
        tuple(Identifier(*one) for one in row.other_identifiers),
    )


def add_patient(
    connection: Connection,
    *,
    name: PersonName,
    birth_date: str,
    sex: str,
    provisional: bool,
    event_at: datetime | None,
    at: datetime,
    others: tuple[Identifier, ...] = (),
) -> int:
    return int(
        connection.execute(
            _INSERT,
            {
                "name": name.dicom,
                "birth_date": birth_date,
                "sex": sex,
                "provisional": provisional,
                "event_at": event_at,
                "updated_at": at,
                "other_identifiers": _listed(others),
            },
        ).scalar_one()
    )


def _listed(identifiers: tuple[Identifier, ...]) -> list[list[str]]:
    return [[one.value, one.issuer, one.type] for one in identifiers]


def add_others(connection: Connection, stored: PatientRow, others: tuple[Identifier, ...]) -> bool:
    """What the person is also known by; nothing is found by it. True when any of it is new."""
    known = {one.key for one in stored.others}
    new = tuple(one for one in others if one.key not in known)
    if new:
        connection.execute(_SET_OTHERS, {"p": stored.id, "o": _listed(stored.others + new)})
    return bool(new)


def change_patient(
    connection: Connection,
    patient_id: int,
    *,
    name: PersonName,
    birth_date: str,
    sex: str,
    provisional: bool,
    event_at: datetime | None,
    at: datetime,
) -> None:
    connection.execute(
        _UPDATE,
        {
            "p": patient_id,
            "n": name.dicom,
            "b": birth_date,
            "s": sex,
            "prov": provisional,
            "e": event_at,
            "u": at,
        },
    )


def add_identifiers(
    connection: Connection, patient_id: int, identifiers: tuple[Identifier, ...], *, retired: bool = False
) -> bool:
    """Give the patient identifiers that nobody has; one that another patient owns stays there.

    True when all of them were new.
    """
    new = [
        _ADD_IDENTIFIER(
            connection,
            {
                "patient_id": patient_id,
                "value": identifier.value,
                "issuer": identifier.issuer,
                "type": identifier.type,
                "retired": retired,
            },
        )
        for identifier in identifiers
    ]
    return all(new)


def identifiers_of(
    connection: Connection, patient_id: int, first: str = "", number: str = ""
) -> tuple[Identifier, ...]:
    """The patient's own identifiers, the one that the world is told first: that which is `number`, that of the
    authority `first`, then MR and PI, then as they came. Those that merges retired are last."""
    wanted = {"p": patient_id, "first": first, "number": number}
    return tuple(Identifier(*row) for row in connection.execute(_IDENTIFIERS, wanted))


def merge_patients(connection: Connection, prior: int, survivor: int, at: datetime) -> None:
    """All that hung on `prior` hangs on `survivor`; its identifiers become aliases; chains stay one step long."""
    both = {"p": prior, "into": survivor}
    connection.execute(_MOVE_IDENTIFIERS, both)
    connection.execute(_MOVE_ORDERS, both)
    connection.execute(_MOVE_REPORTS, both)
    add_others(connection, get_patient(connection, survivor), get_patient(connection, prior).others)
    connection.execute(_ALREADY_MERGED, both)
    connection.execute(_MERGE, both)
    # A session opened for the record that is gone must not go on under another's name.
    end_sessions(connection, prior, at)


def end_sessions(connection: Connection, patient_id: int, at: datetime) -> None:
    """What a viewer was opened for is no longer this patient's."""
    connection.execute(_END_SESSIONS, {"p": patient_id, "at": at})


def drop_patient(connection: Connection, patient_id: int) -> None:
    """Undo `add_patient` for one that another message has made at the same moment."""
    connection.execute(_DROP, {"p": patient_id})


def retire_identifier(connection: Connection, identifier: Identifier, patient_id: int) -> None:
    """A known identifier only finds this patient from now on."""
    connection.execute(_RETIRE, {"v": identifier.value, "i": identifier.issuer, "p": patient_id})


def move_identifier(connection: Connection, identifier: Identifier, patient_id: int) -> None:
    """A known identifier becomes this patient's own, behind those that they have."""
    connection.execute(_DROP_IDENTIFIER, {"v": identifier.value, "i": identifier.issuer})
    add_identifiers(connection, patient_id, (identifier,))


def rename_identifier(connection: Connection, old: Identifier, new: Identifier) -> None:
    """`new` stands where `old` stood, so that it is shown in its place."""
    connection.execute(
        _RENAME_IDENTIFIER,
        {"v": old.value, "i": old.issuer, "nv": new.value, "ni": new.issuer, "nt": new.type},
    )


def live_identifiers(connection: Connection, patient_id: int) -> set[tuple[str, str]]:
    """(value, issuer) of those that no merge or change has retired."""
    return {(row.value, row.issuer) for row in connection.execute(_LIVE_IDENTIFIERS, {"p": patient_id})}
