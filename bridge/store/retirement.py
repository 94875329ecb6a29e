"""What may be deleted and what is being deleted: rows in small pieces, each before its file.

A file without a row is swept at the next start; a row without a file is an alarm (`bridge verify`). So rows go first.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, bindparam, case, cast, delete, exists, func, insert, literal, select, update

from bridge.domain.rejection import Hidden
from bridge.domain.study import StudyState
from bridge.store.change import change_row
from bridge.store.connection import Connection, Prepared
from bridge.store.schema import (
    audit,
    instance,
    instance_aside,
    instance_document,
    launch_link,
    launch_session,
    launch_study,
    performed_instance,
    performed_reference,
    publication,
    rejected_instance,
    rejection,
    requested_procedure,
    retirement,
    review,
    series,
    study,
    study_hold,
    study_link,
)

_WINDOW = Prepared(
    select(study.c.id, study.c.version, study.c.match_state, study.c.state, study.c.completed_at)
    .where(study.c.id > bindparam("after"))
    .order_by(study.c.id)
    .limit(bindparam("n"))
)
_STUDY = Prepared(
    select(study.c.id, study.c.version, study.c.match_state, study.c.state, study.c.completed_at).where(
        study.c.id == bindparam("s")
    )
)
_MODALITIES = Prepared(select(series.c.modality).where(series.c.study_id == bindparam("s")).distinct())
_MASS = Prepared(
    select(func.count(instance.c.id), func.coalesce(func.sum(instance.c.size), 0))
    .join(series, series.c.id == instance.c.series_id)
    .where(series.c.study_id == bindparam("s"))
)
_UIDS = Prepared(
    select(instance.c.sop_instance_uid)
    .join(series, series.c.id == instance.c.series_id)
    .where(series.c.study_id == bindparam("s"))
)
_SHOWN = Prepared(
    select(instance.c.id)
    .join(series, series.c.id == instance.c.series_id)
    .where(series.c.study_id == bindparam("s"), instance.c.hidden == Hidden.NO)
    .limit(1)
)
_PUBLISHED = Prepared(
    select(publication.c.connection, publication.c.updated_at).where(
        publication.c.study_id == bindparam("s"),
        publication.c.state == "done",
        publication.c.published_version >= bindparam("v"),
        publication.c.last_answer == "",
    )
)
# Studies of which a retention note (113039) has hidden something that is still here.
_EXPIRED = Prepared(
    select(series.c.study_id)
    .join(instance, instance.c.series_id == series.c.id)
    .join(rejected_instance, rejected_instance.c.sop_instance_uid == instance.c.sop_instance_uid)
    .join(rejection, rejection.c.id == rejected_instance.c.rejection_id)
    .where(
        rejection.c.title == Hidden.RETENTION,
        rejected_instance.c.lifted_at.is_(None),
        instance.c.hidden == Hidden.RETENTION,
        ~exists().where(retirement.c.study_id == series.c.study_id, retirement.c.ended_at.is_(None)),
    )
    .distinct()
    .order_by(series.c.study_id)
)

# -- what keeps a study -------------------------------------------------------------------------------------------

_HELD = Prepared(
    select(study_hold.c.id).where(study_hold.c.study_id == bindparam("s"), study_hold.c.ended_at.is_(None))
)
_OPEN_SUBJECTS = Prepared(select(review.c.subject).where(review.c.closed_at.is_(None)).distinct())
# Other subjects must not meet the cast: PostgreSQL refuses what is no number.
_INSTANCE_KEY = case(
    (review.c.subject.like("instance:%"), cast(func.substr(review.c.subject, len("instance:") + 1), BigInteger))
)
_INSTANCES_IN_REVIEW = Prepared(
    select(series.c.study_id)
    .select_from(review)
    .join(instance, instance.c.id == _INSTANCE_KEY)
    .join(series, series.c.id == instance.c.series_id)
    .where(review.c.closed_at.is_(None), review.c.subject.like("instance:%"))
    .distinct()
)
_PUBLICATIONS = Prepared(select(publication.c.id).where(publication.c.study_id == bindparam("s")))
_ORDERS = Prepared(
    select(requested_procedure.c.order_id)
    .join(study_link, study_link.c.procedure_id == requested_procedure.c.id)
    .where(study_link.c.study_id == bindparam("s"), study_link.c.ended_at.is_(None))
)
_PERFORMED = Prepared(
    select(performed_reference.c.performed_step_id)
    .join(study, study.c.study_instance_uid == performed_reference.c.study_instance_uid)
    .where(study.c.id == bindparam("s"))
)
_VIEWED = Prepared(
    select(launch_study.c.id)
    .join(launch_session, launch_session.c.id == launch_study.c.session_id)
    .where(
        launch_study.c.study_id == bindparam("s"),
        launch_session.c.revoked_at.is_(None),
        launch_session.c.expires_at > bindparam("now"),
    )
    .limit(1)
)
_LINKED = Prepared(
    select(launch_link.c.id)
    .where(
        launch_link.c.study_id == bindparam("s"),
        launch_link.c.used_at.is_(None),
        launch_link.c.expires_at > bindparam("now"),
    )
    .limit(1)
)

# -- holds --------------------------------------------------------------------------------------------------------

_HOLD = Prepared(insert(study_hold))
_UNHOLD = Prepared(
    update(study_hold)
    .where(study_hold.c.study_id == bindparam("s"), study_hold.c.ended_at.is_(None))
    .values(ended_at=bindparam("at"), ended_by=bindparam("by"))
)
_HOLDS = Prepared(
    select(study_hold, study.c.study_instance_uid)
    .join(study, study.c.id == study_hold.c.study_id)
    .where(study_hold.c.ended_at.is_(None))
    .order_by(study_hold.c.id)
)

# -- deleting -----------------------------------------------------------------------------------------------------

_BEGIN = Prepared(insert(retirement))
_OPEN = Prepared(
    select(retirement, study.c.study_instance_uid)
    .join(study, study.c.id == retirement.c.study_id)
    .where(retirement.c.ended_at.is_(None))
    .order_by(retirement.c.id)
    .limit(1)
)
_OPEN_OF_STUDY = Prepared(
    select(retirement).where(retirement.c.study_id == bindparam("s"), retirement.c.ended_at.is_(None))
)
_ALL = Prepared(
    select(retirement, study.c.study_instance_uid)
    .join(study, study.c.id == retirement.c.study_id)
    .order_by(retirement.c.id.desc())
    .limit(bindparam("n"))
)
_HIDE_ALL = Prepared(
    update(instance)
    .where(instance.c.series_id.in_(select(series.c.id).where(series.c.study_id == bindparam("s"))))
    .values(hidden=Hidden.RETENTION)
)
_PIECE = (
    select(instance.c.id)
    .join(series, series.c.id == instance.c.series_id)
    .where(series.c.study_id == bindparam("s"), instance.c.hidden == Hidden.RETENTION)
    .order_by(instance.c.id)
    .limit(bindparam("n"))
)
_FILES = Prepared(
    select(instance.c.file, instance.c.size, literal(1).label("images"))
    .where(instance.c.id.in_(_PIECE))
    .union_all(
        select(instance_aside.c.file, instance_aside.c.size, literal(0)).where(instance_aside.c.instance_id.in_(_PIECE))
    )
)
_DELETE_DOCUMENTS = Prepared(delete(instance_document).where(instance_document.c.instance_id.in_(_PIECE)))
_DELETE_ASIDES = Prepared(delete(instance_aside).where(instance_aside.c.instance_id.in_(_PIECE)))
# What a device listed and was deleted by rule is not missing.
_DELETE_LISTED = Prepared(
    delete(performed_instance).where(
        performed_instance.c.performed_step_id.in_(
            select(performed_reference.c.performed_step_id)
            .join(study, study.c.study_instance_uid == performed_reference.c.study_instance_uid)
            .where(study.c.id == bindparam("s"))
        ),
        performed_instance.c.sop_instance_uid.in_(select(instance.c.sop_instance_uid).where(instance.c.id.in_(_PIECE))),
    )
)
_DELETE_INSTANCES = Prepared(delete(instance).where(instance.c.id.in_(_PIECE)))
_DELETE_SERIES = Prepared(
    delete(series).where(series.c.study_id == bindparam("s"), ~exists().where(instance.c.series_id == series.c.id))
)
_ANY_LEFT = Prepared(
    select(instance.c.id)
    .join(series, series.c.id == instance.c.series_id)
    .where(series.c.study_id == bindparam("s"))
    .limit(1)
)
_OLD_ASIDES = Prepared(
    select(instance_aside.c.id, instance_aside.c.file, instance_aside.c.size)
    .join(instance, instance.c.id == instance_aside.c.instance_id)
    .join(series, series.c.id == instance.c.series_id)
    .where(
        instance_aside.c.received_at < bindparam("before"),
        ~exists().where(study_hold.c.study_id == series.c.study_id, study_hold.c.ended_at.is_(None)),
        ~exists().where(
            review.c.closed_at.is_(None),
            review.c.subject == literal("instance:") + cast(instance_aside.c.instance_id, review.c.subject.type),
        ),
    )
    .order_by(instance_aside.c.id)
    .limit(bindparam("n"))
)
_DELETE_ASIDE = Prepared(delete(instance_aside).where(instance_aside.c.id == bindparam("i")))
_AUDIT_WINDOW = Prepared(
    select(audit.c.id, audit.c.at).where(audit.c.id > bindparam("after")).order_by(audit.c.id).limit(bindparam("n"))
)
_NEWEST_AUDIT = Prepared(select(func.max(audit.c.id)))
_PURGE_AUDIT = Prepared(
    delete(audit).where(
        audit.c.id > bindparam("after"), audit.c.id <= bindparam("to"), audit.c.at < bindparam("before")
    )
)


def study_window(connection: Connection, after: int, limit: int) -> list[Any]:
    """The next studies after an id: what decides whether one's time is over."""
    return list(connection.execute(_WINDOW, {"after": after, "n": limit}))


def study_row(connection: Connection, study_id: int) -> Any:
    """One study as `study_window` gives it."""
    return connection.execute(_STUDY, {"s": study_id}).one()


def modalities_of(connection: Connection, study_id: int) -> frozenset[str]:
    return frozenset(connection.execute(_MODALITIES, {"s": study_id}).scalars()) - {""}


def mass_of(connection: Connection, study_id: int) -> tuple[int, int]:
    """How many instances a study has, hidden ones too, and how many bytes their files."""
    count, size = connection.execute(_MASS, {"s": study_id}).one()
    return int(count), int(size)


def uids_of(connection: Connection, study_id: int) -> list[str]:
    return list(connection.execute(_UIDS, {"s": study_id}).scalars())


def is_shown(connection: Connection, study_id: int) -> bool:
    return connection.execute(_SHOWN, {"s": study_id}).first() is not None


def published_at(connection: Connection, study_id: int, version: int) -> dict[str, datetime]:
    """By EHR: since when it has just this version of the study, as one that is there."""
    return dict(connection.execute(_PUBLISHED, {"s": study_id, "v": version}))


def expired_studies(connection: Connection) -> list[int]:
    """Those of which a retention note has hidden something, and nothing is being deleted yet."""
    return list(connection.execute(_EXPIRED).scalars())


def open_subjects(connection: Connection) -> set[str]:
    """What waits for a person; instances by their study."""
    found = set(connection.execute(_OPEN_SUBJECTS).scalars())
    return found | {f"study:{study_id}" for study_id in connection.execute(_INSTANCES_IN_REVIEW).scalars()}


def subjects_of(connection: Connection, study_id: int) -> set[str]:
    """Under what a person may be asked about a study: itself, its publications, its orders, its performed steps."""
    key = {"s": study_id}
    found = {f"study:{study_id}"}
    for word, statement in (("publication", _PUBLICATIONS), ("order", _ORDERS), ("performed", _PERFORMED)):
        found |= {f"{word}:{one}" for one in connection.execute(statement, key).scalars()}
    return found


def is_held(connection: Connection, study_id: int) -> bool:
    return connection.execute(_HELD, {"s": study_id}).first() is not None


def is_viewed(connection: Connection, study_id: int, now: datetime) -> bool:
    """Whether a session that lives may see it, or a link that was not used yet would open it."""
    key = {"s": study_id, "now": now}
    return any(connection.execute(statement, key).first() is not None for statement in (_VIEWED, _LINKED))


def hold(connection: Connection, study_id: int, reason: str, at: datetime, by: str) -> bool:
    """False when it is on hold already."""
    if is_held(connection, study_id):
        return False
    connection.execute(_HOLD, {"study_id": study_id, "reason": reason, "made_at": at, "made_by": by})
    return True


def unhold(connection: Connection, study_id: int, at: datetime, by: str) -> bool:
    """False when it was not on hold."""
    return connection.execute(_UNHOLD, {"s": study_id, "at": at, "by": by}).rowcount == 1


def list_holds(connection: Connection) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(_HOLDS)]


def begin_retirement(connection: Connection, study_id: int, rule: str, at: datetime, *, whole: bool) -> None:
    """Hide at once what goes in pieces; not `whole`: only what is hidden for its retention already."""
    connection.execute(_BEGIN, {"study_id": study_id, "rule": rule, "began_at": at})
    if whole:
        connection.execute(_HIDE_ALL, {"s": study_id})


def open_retirement(connection: Connection) -> Any | None:
    """The oldest that is not done."""
    return connection.execute(_OPEN).one_or_none()


def is_retiring(connection: Connection, study_id: int) -> bool:
    return connection.execute(_OPEN_OF_STUDY, {"s": study_id}).first() is not None


def list_retirements(connection: Connection, limit: int) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(_ALL, {"n": limit})]


def delete_piece(connection: Connection, open_row: Any, limit: int) -> list[str]:
    """Delete the next rows of a retirement and count them in it; the names of the files that have no row any more."""
    piece = {"s": open_row.study_id, "n": limit}
    found = list(connection.execute(_FILES, piece))
    for statement in (_DELETE_DOCUMENTS, _DELETE_ASIDES, _DELETE_LISTED, _DELETE_INSTANCES):
        connection.execute(statement, piece)
    change_row(
        connection,
        retirement,
        open_row.id,
        {
            "instances": open_row.instances + sum(row.images for row in found),
            "bytes": open_row.bytes + sum(row.size for row in found),
        },
    )
    return [row.file for row in found]


def end_retirement(connection: Connection, retirement_id: int, study_id: int, at: datetime) -> bool:
    """Whether the whole study is gone: then it is no longer judged, until something of it comes again."""
    connection.execute(_DELETE_SERIES, {"s": study_id})
    change_row(connection, retirement, retirement_id, {"ended_at": at})
    gone = connection.execute(_ANY_LEFT, {"s": study_id}).first() is None
    if gone:
        change_row(connection, study, study_id, {"state": StudyState.RETIRED})
    return gone


def delete_old_asides(connection: Connection, before: datetime, limit: int) -> list[str]:
    """Copies kept aside that nobody waits for any more; the names of their files."""
    found = list(connection.execute(_OLD_ASIDES, {"before": before, "n": limit}))
    for row in found:
        connection.execute(_DELETE_ASIDE, {"i": row.id})
    return [row.file for row in found]


def audit_window(connection: Connection, after: int, limit: int) -> tuple[int, datetime] | None:
    """Id and time of the last of the next rows of the trail."""
    rows = list(connection.execute(_AUDIT_WINDOW, {"after": after, "n": limit}))
    return (rows[-1].id, rows[-1].at) if rows else None


def purge_audit(connection: Connection, after: int, to: int, before: datetime) -> int:
    """The newest row stays, so that no id is given twice."""
    newest = int(connection.execute(_NEWEST_AUDIT).scalar_one() or 0)
    bounds = {"after": after, "to": min(to, newest - 1), "before": before}
    return int(connection.execute(_PURGE_AUDIT, bounds).rowcount)
