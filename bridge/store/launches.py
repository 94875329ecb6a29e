"""Launches, sessions, hand-overs and links. Secrets come here as SHA-256, and leave never."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, exists, insert, select, update

from bridge.domain.rejection import Hidden
from bridge.domain.study import MatchState
from bridge.store.connection import Connection, Prepared
from bridge.store.schema import (
    hand_over,
    imaging_order,
    instance,
    launch_link,
    launch_pending,
    launch_session,
    launch_study,
    requested_procedure,
    series,
    study,
    study_link,
)
from bridge.store.upsert import insert_new

_PENDING_INSERT = Prepared(insert(launch_pending))
_PENDING = Prepared(select(launch_pending).where(launch_pending.c.state_hash == bindparam("h")))
_PENDING_USE = Prepared(
    update(launch_pending)
    .where(launch_pending.c.id == bindparam("p"), launch_pending.c.used_at.is_(None))
    .values(used_at=bindparam("at"))
)
_SESSION_INSERT = Prepared(insert(launch_session).returning(launch_session.c.id))
_SESSION_STUDY_INSERT = Prepared(insert(launch_study))
_SESSION = Prepared(select(launch_session).where(launch_session.c.id == bindparam("i")))
_SESSION_BY_TOKEN = Prepared(select(launch_session).where(launch_session.c.token_hash == bindparam("h")))
_SESSION_TOKEN = Prepared(
    update(launch_session)
    .where(launch_session.c.id == bindparam("i"), launch_session.c.revoked_at.is_(None))
    .values(token_hash=bindparam("h"))
)
_SESSION_END = Prepared(
    update(launch_session)
    .where(launch_session.c.id == bindparam("i"), launch_session.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)
# A study counts only while a live link ties it to an order of the session's patient: access follows an unlink or a
# merge at the next request.
_SESSION_STUDIES = Prepared(
    select(study.c.study_instance_uid, study.c.id, launch_study.c.id.label("entry"))
    .join(launch_study, launch_study.c.study_id == study.c.id)
    .join(study_link, study_link.c.study_id == study.c.id)
    .join(requested_procedure, requested_procedure.c.id == study_link.c.procedure_id)
    .join(imaging_order, imaging_order.c.id == requested_procedure.c.order_id)
    .where(
        launch_study.c.session_id == bindparam("i"),
        study_link.c.ended_at.is_(None),
        study.c.match_state == MatchState.MATCHED,
        ~study.c.unavailable,
        imaging_order.c.patient_id == bindparam("p"),
    )
    .distinct()
)
_STUDIES_OF_PATIENT = Prepared(
    select(study)
    .join(study_link, study_link.c.study_id == study.c.id)
    .join(requested_procedure, requested_procedure.c.id == study_link.c.procedure_id)
    .join(imaging_order, imaging_order.c.id == requested_procedure.c.order_id)
    .where(
        imaging_order.c.patient_id == bindparam("p"),
        study_link.c.ended_at.is_(None),
        study.c.match_state == MatchState.MATCHED,
        ~study.c.unavailable,
        # Of which all was rejected: there is nothing to open.
        exists().where(
            series.c.study_id == study.c.id, instance.c.series_id == series.c.id, instance.c.hidden == Hidden.NO
        ),
    )
    .distinct()
    .order_by(study.c.study_date.desc(), study.c.id.desc())
)
_PATIENT_OF_STUDY = Prepared(
    select(imaging_order.c.patient_id)
    .join(requested_procedure, requested_procedure.c.order_id == imaging_order.c.id)
    .join(study_link, study_link.c.procedure_id == requested_procedure.c.id)
    .where(study_link.c.study_id == bindparam("s"), study_link.c.ended_at.is_(None))
    .distinct()
)
_ACCESSED = Prepared(
    update(launch_study)
    .where(
        launch_study.c.session_id == bindparam("i"),
        launch_study.c.study_id == bindparam("s"),
        launch_study.c.accessed_at.is_(None),
    )
    .values(accessed_at=bindparam("at"))
)
_HAND_OVER_INSERT = Prepared(insert(hand_over))
_HAND_OVER = Prepared(select(hand_over).where(hand_over.c.code_hash == bindparam("h")))
_HAND_OVER_USE = Prepared(
    update(hand_over)
    .where(hand_over.c.id == bindparam("i"), hand_over.c.used_at.is_(None))
    .values(used_at=bindparam("at"))
)
_LINK_INSERT = insert_new(launch_link, ("issuer", "token_id"))
_LINK = Prepared(
    select(launch_link, study.c.study_instance_uid).join(study).where(launch_link.c.link_hash == bindparam("h"))
)
_LINK_USE = Prepared(
    update(launch_link)
    .where(launch_link.c.id == bindparam("i"), launch_link.c.used_at.is_(None))
    .values(used_at=bindparam("at"))
)
_END_ALL = Prepared(
    update(launch_session).where(launch_session.c.revoked_at.is_(None)).values(revoked_at=bindparam("at"))
)
_USE_ALL = Prepared(update(launch_link).where(launch_link.c.used_at.is_(None)).values(used_at=bindparam("at")))
_CLEAR = tuple(Prepared(delete(table)) for table in (launch_pending, hand_over))


def add_pending(connection: Connection, values: dict[str, Any]) -> None:
    connection.execute(_PENDING_INSERT, values)


def find_pending(connection: Connection, state_hash: str) -> Any | None:
    return connection.execute(_PENDING, {"h": state_hash}).one_or_none()


def use_pending(connection: Connection, pending_id: int, at: datetime) -> bool:
    return connection.execute(_PENDING_USE, {"p": pending_id, "at": at}).rowcount == 1


def end_everything(connection: Connection, at: datetime) -> None:
    """No session, login under way, hand-over or link that is stored opens anything any more."""
    for statement in (_END_ALL, _USE_ALL):
        connection.execute(statement, {"at": at})
    for statement in _CLEAR:
        connection.execute(statement)


def add_session(connection: Connection, values: dict[str, Any], study_ids: list[int]) -> int:
    session_id = int(connection.execute(_SESSION_INSERT, values).scalar_one())
    for study_id in study_ids:
        connection.execute(_SESSION_STUDY_INSERT, {"session_id": session_id, "study_id": study_id})
    return session_id


def get_session(connection: Connection, session_id: int) -> Any:
    return connection.execute(_SESSION, {"i": session_id}).one()


def find_session(connection: Connection, token_hash: str) -> Any | None:
    return connection.execute(_SESSION_BY_TOKEN, {"h": token_hash}).one_or_none()


def give_token(connection: Connection, session_id: int, token_hash: str) -> bool:
    return connection.execute(_SESSION_TOKEN, {"i": session_id, "h": token_hash}).rowcount == 1


def end_session(connection: Connection, session_id: int, at: datetime) -> bool:
    return connection.execute(_SESSION_END, {"i": session_id, "at": at}).rowcount == 1


def studies_of_session(connection: Connection, session_id: int, patient_id: int | None) -> list[Any]:
    return list(connection.execute(_SESSION_STUDIES, {"i": session_id, "p": patient_id}))


def studies_of_patient(connection: Connection, patient_id: int) -> list[Any]:
    """The patient's matched studies, newest first."""
    return list(connection.execute(_STUDIES_OF_PATIENT, {"p": patient_id}))


def patients_of_study(connection: Connection, study_id: int) -> list[int]:
    return list(connection.execute(_PATIENT_OF_STUDY, {"s": study_id}).scalars())


def first_access(connection: Connection, session_id: int, study_id: int, at: datetime) -> bool:
    """True once for each (session, study)."""
    return connection.execute(_ACCESSED, {"i": session_id, "s": study_id, "at": at}).rowcount == 1


def add_hand_over(connection: Connection, values: dict[str, Any]) -> None:
    connection.execute(_HAND_OVER_INSERT, values)


def find_hand_over(connection: Connection, code_hash: str) -> Any | None:
    return connection.execute(_HAND_OVER, {"h": code_hash}).one_or_none()


def use_hand_over(connection: Connection, hand_over_id: int, at: datetime) -> bool:
    return connection.execute(_HAND_OVER_USE, {"i": hand_over_id, "at": at}).rowcount == 1


def add_link(connection: Connection, values: dict[str, Any]) -> bool:
    """False when the issuer's token has made a link before."""
    return _LINK_INSERT(connection, values)


def find_link(connection: Connection, link_hash: str) -> Any | None:
    return connection.execute(_LINK, {"h": link_hash}).one_or_none()


def use_link(connection: Connection, link_id: int, at: datetime) -> bool:
    return connection.execute(_LINK_USE, {"i": link_id, "at": at}).rowcount == 1
