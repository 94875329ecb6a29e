"""What other archives say of images: notices as they came, and where each instance can be had by the newest of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, exists, func, select, update

from bridge.domain.availability import Availability, AvailabilityNotice, RemoteInstance
from bridge.domain.rejection import Hidden
from bridge.store.connection import Connection, Prepared
from bridge.store.schema import availability_notice, instance, remote_instance, series
from bridge.store.upsert import insert_new, upsert

_n, _r = availability_notice.c, remote_instance.c
_INSERT = insert_new(availability_notice, ("sop_instance_uid",))
_NEXT = Prepared(select(availability_notice).where(_n.applied < _n.count).order_by(_n.id).limit(1))
_APPLIED = Prepared(
    update(availability_notice)
    .where(_n.id == bindparam("i"), _n.applied == bindparam("seen"))
    .values(applied=bindparam("done"))
)
# Applied, it stands in `remote_instance`: the list need not be kept twice.
_FORGET = Prepared(update(availability_notice).where(_n.id == bindparam("i")).values(instances=bindparam("nothing")))
_PLACE = upsert(
    remote_instance,
    ("sop_instance_uid", "calling_ae_title"),
    {
        "study_instance_uid": None, "series_instance_uid": None, "sop_class_uid": None, "availability": None,
        "retrieve_ae_title": None, "location": None, "notice_id": None,
    },
)  # fmt: skip
_ELSEWHERE = and_(_r.sop_instance_uid == instance.c.sop_instance_uid, _r.availability != Availability.UNAVAILABLE)
_UNAVAILABLE = and_(_r.sop_instance_uid == instance.c.sop_instance_uid, _r.availability == Availability.UNAVAILABLE)
_OF_STUDY = (
    select(func.count())
    .select_from(instance)
    .join(series, series.c.id == instance.c.series_id)
    .where(series.c.study_id == bindparam("s"), instance.c.hidden == Hidden.NO)
)
_SHOWN = Prepared(_OF_STUDY)
_LOST = Prepared(_OF_STUDY.where(exists().where(_UNAVAILABLE), ~exists().where(_ELSEWHERE)))


def add_notice(connection: Connection, notice: AvailabilityNotice, calling_ae: str, at: datetime) -> bool:
    """False when its UID is known."""
    values = {
        "sop_instance_uid": notice.sop_instance_uid,
        "calling_ae_title": calling_ae,
        "study_instance_uid": notice.study_instance_uid,
        "instances": [
            [
                i.series_instance_uid,
                i.sop_class_uid,
                i.sop_instance_uid,
                i.availability,
                i.retrieve_ae_title,
                i.location,
            ]
            for i in notice.instances
        ],
        "count": len(notice.instances),
        "received_at": at,
    }  # fmt: skip
    return _INSERT(connection, values)


def next_notice(connection: Connection) -> Any | None:
    """The oldest of which not all is applied: in the order in which they came, so that the newest word holds."""
    return connection.execute(_NEXT).one_or_none()


def instances_of(row: Any) -> tuple[RemoteInstance, ...]:
    """Of a row of `availability_notice` that is not applied yet."""
    return tuple(
        RemoteInstance(series_uid, sop_class, uid, Availability(word), retrieve, location)
        for series_uid, sop_class, uid, word, retrieve, location in row.instances
    )


def apply_piece(connection: Connection, row: Any, piece: tuple[RemoteInstance, ...]) -> bool:
    """The next instances of a notice; False when another node was first."""
    done = row.applied + len(piece)
    if connection.execute(_APPLIED, {"i": row.id, "seen": row.applied, "done": done}).rowcount != 1:
        return False
    for one in piece:
        connection.execute(
            _PLACE,
            {
                "sop_instance_uid": one.sop_instance_uid,
                "calling_ae_title": row.calling_ae_title,
                "study_instance_uid": row.study_instance_uid,
                "series_instance_uid": one.series_instance_uid,
                "sop_class_uid": one.sop_class_uid,
                "availability": one.availability,
                "retrieve_ae_title": one.retrieve_ae_title,
                "location": one.location,
                "notice_id": row.id,
            },
        )
    if done == row.count:
        connection.execute(_FORGET, {"i": row.id, "nothing": []})
    return True


def lost_of_study(connection: Connection, study_id: int) -> tuple[int, int]:
    """(how many shown instances of the study no archive can give any more, by their own word; how many are shown)."""
    values = {"s": study_id}
    lost, shown = (int(connection.execute(one, values).scalar_one()) for one in (_LOST, _SHOWN))
    return lost, shown
