"""Rejection notes and what they hide. A note is applied by one statement, however many objects it names."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, update

from bridge.domain.rejection import Hidden, RejectionNote, weaker
from bridge.store.change import change_row
from bridge.store.connection import Connection, Prepared, one_of
from bridge.store.schema import instance, rejected_instance, rejection, series, study
from bridge.store.upsert import insert_new, upsert

_item = rejected_instance
_INSERT = insert_new(rejection, ("sop_instance_uid",))
_BY_UID = Prepared(select(rejection).where(rejection.c.sop_instance_uid == bindparam("uid")))
_GET = Prepared(select(rejection).where(rejection.c.id == bindparam("r")))
_ITEM_INSERT = upsert(_item, ("rejection_id", "sop_instance_uid"), {})
_STANDING = Prepared(
    select(_item.c.rejection_id, _item.c.study_instance_uid, _item.c.applied_at, rejection.c.title)
    .join(rejection, rejection.c.id == _item.c.rejection_id)
    .where(_item.c.sop_instance_uid == bindparam("uid"), _item.c.lifted_at.is_(None))
)
# What a note names counts only in the study that it names: anything else may be a mistake.
_HERE = (
    select(instance.c.id)
    .join(_item, _item.c.sop_instance_uid == instance.c.sop_instance_uid)
    .join(series, series.c.id == instance.c.series_id)
    .join(study, (study.c.id == series.c.study_id) & (study.c.study_instance_uid == _item.c.study_instance_uid))
    .where(_item.c.rejection_id == bindparam("r"), _item.c.lifted_at.is_(None))
)
_HIDE = {
    title: Prepared(
        update(instance).where(instance.c.id.in_(_HERE), one_of(instance.c.hidden, weaker(title))).values(hidden=title)
    )
    for title in (Hidden.SAFETY, Hidden.WORKLIST, Hidden.QUALITY, Hidden.RETENTION)
}
_STUDIES = Prepared(
    _HERE.with_only_columns(study.c.id, study.c.study_instance_uid, func.count()).group_by(
        study.c.id, study.c.study_instance_uid
    )
)
_APPLIED = Prepared(
    update(_item)
    .where(
        _item.c.rejection_id == bindparam("r"),
        _item.c.applied_at.is_(None),
        _item.c.sop_instance_uid.in_(_HERE.with_only_columns(instance.c.sop_instance_uid)),
    )
    .values(applied_at=bindparam("at"))
)
_APPLIED_ONE = Prepared(
    update(_item)
    .where(
        _item.c.sop_instance_uid == bindparam("uid"),
        _item.c.study_instance_uid == bindparam("study"),
        _item.c.applied_at.is_(None),
    )
    .values(applied_at=bindparam("at"))
)
_ELSEWHERE = Prepared(
    select(func.count())
    .select_from(_item)
    .join(instance, instance.c.sop_instance_uid == _item.c.sop_instance_uid)
    .join(series, series.c.id == instance.c.series_id)
    .join(study, study.c.id == series.c.study_id)
    .where(_item.c.rejection_id == bindparam("r"), study.c.study_instance_uid != _item.c.study_instance_uid)
)
_OF_NOTE = Prepared(
    select(_item, instance.c.id.label("instance_id"), instance.c.hidden)
    .outerjoin(instance, instance.c.sop_instance_uid == _item.c.sop_instance_uid)
    .where(_item.c.rejection_id == bindparam("r"))
    .order_by(_item.c.sop_instance_uid)
)
_LIFT = Prepared(
    update(_item)
    .where(_item.c.rejection_id == bindparam("r"), _item.c.lifted_at.is_(None))
    .values(lifted_at=bindparam("at"))
)
_IMPORTED = Prepared(
    update(_item)
    .where(
        _item.c.sop_instance_uid == bindparam("uid"),
        _item.c.lifted_at.is_(None),
        _item.c.rejection_id.in_(select(rejection.c.id).where(rejection.c.title == Hidden.RETENTION)),
    )
    .values(lifted_at=bindparam("at"))
)
_LIST = (
    select(
        rejection,
        func.count(_item.c.sop_instance_uid).label("named"),
        func.count(_item.c.applied_at).label("applied"),
    )
    .outerjoin(_item, _item.c.rejection_id == rejection.c.id)
    .group_by(rejection.c.id)
    .order_by(rejection.c.id.desc())
    .limit(bindparam("n"))
)
_STUDIES_NAMED = Prepared(
    select(
        _item.c.study_instance_uid,
        study.c.id,
        func.count().label("named"),
        func.count(_item.c.applied_at).label("applied"),
    )
    .outerjoin(study, study.c.study_instance_uid == _item.c.study_instance_uid)
    .where(_item.c.rejection_id == bindparam("r"))
    .group_by(_item.c.study_instance_uid, study.c.id)
    .order_by(_item.c.study_instance_uid)
)
_HIDDEN_BY_REASON = Prepared(
    select(instance.c.hidden, func.count())
    .join(series, series.c.id == instance.c.series_id)
    .where(series.c.study_id == bindparam("s"), instance.c.hidden != Hidden.NO)
    .group_by(instance.c.hidden)
)
_REJECTED_PARTS = Prepared(
    select(series.c.modality, series.c.requests, instance.c.calling_ae_title)
    .join(instance, instance.c.series_id == series.c.id)
    .where(series.c.study_id == bindparam("s"), instance.c.hidden != Hidden.NOTE)
    .order_by(series.c.id, instance.c.calling_ae_title)
)


def add_rejection(
    connection: Connection, sop_instance_uid: str, note: RejectionNote, calling_ae: str, at: datetime
) -> int | None:
    """Keep a note and what it names; its key, or None for one that is known."""
    reason = [note.reason.value, note.reason.scheme, note.reason.meaning] if note.reason else []
    new = _INSERT(
        connection,
        {
            "sop_instance_uid": sop_instance_uid,
            "title": note.title,
            "reason": reason,
            "calling_ae_title": calling_ae,
            "received_at": at,
        },
    )
    if not new:
        return None
    key = int(connection.execute(_BY_UID, {"uid": sop_instance_uid}).one().id)
    for one in note.instances:
        connection.execute(
            _ITEM_INSERT,
            {
                "rejection_id": key,
                "sop_instance_uid": one.sop_instance_uid,
                "study_instance_uid": one.study_instance_uid,
            },
        )
    return key


def is_known(connection: Connection, sop_instance_uid: str) -> bool:
    """Whether a note was applied before."""
    return connection.execute(_BY_UID, {"uid": sop_instance_uid}).first() is not None


def apply_rejection(connection: Connection, rejection_id: int, hidden: Hidden, at: datetime) -> list[Any]:
    """Hide what a note names and is here; `hidden` NO only notes it. Returns (study id, its UID, how many)."""
    if hidden is not Hidden.NO:
        connection.execute(_HIDE[hidden], {"r": rejection_id})
    found = list(connection.execute(_STUDIES, {"r": rejection_id}))
    connection.execute(_APPLIED, {"r": rejection_id, "at": at})
    return found


def named_elsewhere(connection: Connection, rejection_id: int) -> int:
    """How many objects that a note names are here under another study than it says."""
    return int(connection.execute(_ELSEWHERE, {"r": rejection_id}).scalar_one())


def standing(connection: Connection, sop_instance_uid: str) -> list[Any]:
    """The rejections of one object that were not taken back: title, study that they name, and when applied."""
    return list(connection.execute(_STANDING, {"uid": sop_instance_uid}))


def note_applied(connection: Connection, sop_instance_uid: str, study_instance_uid: str, at: datetime) -> None:
    connection.execute(_APPLIED_ONE, {"uid": sop_instance_uid, "study": study_instance_uid, "at": at})


def hide(connection: Connection, instance_id: int, hidden: Hidden) -> None:
    change_row(connection, instance, instance_id, {"hidden": hidden})


def lift_imported(connection: Connection, sop_instance_uid: str, at: datetime) -> None:
    """An object whose retention was over is here again: that rejection of it stands no more (RAD-66 4.66.4.4.3)."""
    connection.execute(_IMPORTED, {"uid": sop_instance_uid, "at": at})


def lift(connection: Connection, rejection_id: int, at: datetime, by: str) -> None:
    change_row(connection, rejection, rejection_id, {"lifted_at": at, "lifted_by": by})
    connection.execute(_LIFT, {"r": rejection_id, "at": at})


def get_rejection(connection: Connection, rejection_id: int) -> dict[str, Any] | None:
    row = connection.execute(_GET, {"r": rejection_id}).one_or_none()
    return dict(row._mapping) if row else None


def items_of(connection: Connection, rejection_id: int) -> list[Any]:
    """What a note names, with the instance (None: not here) and how that is hidden."""
    return list(connection.execute(_OF_NOTE, {"r": rejection_id}))


def studies_of(connection: Connection, rejection_id: int) -> list[dict[str, Any]]:
    """By study: its UID, its id (None: not here), how many objects are named and how many of them were here."""
    return [dict(row._mapping) for row in connection.execute(_STUDIES_NAMED, {"r": rejection_id})]


def list_rejections(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """Newest first, with how many objects each names and how many of them were here."""
    return [dict(row._mapping) for row in connection.execute(_LIST, {"n": limit})]


def hidden_of_study(connection: Connection, study_id: int) -> dict[Hidden, int]:
    """How many instances of a study are hidden, by why."""
    return {Hidden(why): count for why, count in connection.execute(_HIDDEN_BY_REASON, {"s": study_id})}


def rejected_parts(connection: Connection, study_id: int) -> list[Any]:
    """Modality, request attributes and sender of each series, however it is hidden."""
    found: dict[tuple[str, str, str], Any] = {}
    for row in connection.execute(_REJECTED_PARTS, {"s": study_id}):
        found[row.modality, str(row.requests), row.calling_ae_title] = row
    return list(found.values())
