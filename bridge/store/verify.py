"""What `bridge verify` reads: the rows that own files, what hangs, and what a sender's ledger names.

Short reading transactions, pages by key: it runs beside the roles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Literal, TypeAlias

from sqlalchemy import and_, bindparam, exists, func, literal, or_, select

from bridge.domain.commitment import CommitmentState
from bridge.domain.publication import PublicationState
from bridge.domain.study import MatchState, StudyState
from bridge.store.connection import Connection, Prepared, one_of
from bridge.store.schema import (
    commitment,
    imaging_order,
    instance,
    instance_aside,
    message,
    order_event,
    performed_procedure_step,
    publication,
    study,
)

PAGE = 500
Table: TypeAlias = Literal["instance", "aside"]
TABLES: tuple[Table, ...] = ("instance", "aside")
_OWNERS = {"instance": instance, "aside": instance_aside}
_FILE = {name: (t.c.id, t.c.file, t.c.size, t.c.sha256) for name, t in _OWNERS.items()}
_PAGES = {
    name: Prepared(select(*_FILE[name]).where(t.c.id > bindparam("after")).order_by(t.c.id).limit(bindparam("n")))
    for name, t in _OWNERS.items()
}
_ROW = {name: Prepared(select(*_FILE[name]).where(t.c.id == bindparam("i"))) for name, t in _OWNERS.items()}
_BYTES = {name: Prepared(select(func.sum(t.c.size))) for name, t in _OWNERS.items()}
_COUNT = {name: Prepared(select(func.count()).select_from(t)) for name, t in _OWNERS.items()}

_pub = publication.c
_LATE_PUBLICATIONS = Prepared(
    select(_pub.id, _pub.state)
    .where(
        or_(
            and_(_pub.state == PublicationState.CLAIMED, _pub.lease_until < bindparam("limit")),
            and_(
                one_of(_pub.state, (PublicationState.DUE, PublicationState.WAITING)),
                _pub.next_attempt_at < bindparam("limit"),
            ),
        )
    )
    .order_by(_pub.id)
)
# A device that is away is tried by one of its requests at a time: the others wait behind a report that will be tried
# again.
_tried = commitment.alias("tried")
_LATE_COMMITMENTS = Prepared(
    select(commitment.c.id, commitment.c.state)
    .where(
        ~exists().where(
            commitment.c.state == CommitmentState.DUE,
            _tried.c.state == CommitmentState.DUE,
            _tried.c.calling_ae_title == commitment.c.calling_ae_title,
            _tried.c.attempts > 0,
            _tried.c.next_attempt_at >= bindparam("limit"),
        ),
        one_of(commitment.c.state, (CommitmentState.ASKED, CommitmentState.DUE)),
        commitment.c.next_attempt_at < bindparam("limit"),
        or_(commitment.c.lease_until.is_(None), commitment.c.lease_until < bindparam("limit")),
    )
    .order_by(commitment.c.id)
)
_UNFINISHED_CONNECTIONS = Prepared(
    select(_pub.connection, func.count())
    .where(~one_of(_pub.state, (PublicationState.DONE, PublicationState.DEAD)))
    .group_by(_pub.connection)
)
_DONE_BUT_OLDER = Prepared(
    select(_pub.id).where(_pub.state == PublicationState.DONE, _pub.published_version < _pub.version)
)
# A study that was matched while an EHR was being told of others, and of which that EHR is owed nothing.
_first = select(func.min(_pub.created_at)).where(_pub.connection == bindparam("connection")).scalar_subquery()
_NEVER_ASKED_FOR = Prepared(
    select(study.c.id)
    .where(
        study.c.match_state == MatchState.MATCHED,
        study.c.judged_version == study.c.version,
        study.c.completed_at > _first,
        ~select(_pub.id).where(_pub.study_id == study.c.id, _pub.connection == bindparam("connection")).exists(),
    )
    .order_by(study.c.id)
)
_LATE_STUDIES = Prepared(
    select(study.c.id, study.c.state)
    .where(
        study.c.last_received_at < bindparam("limit"),
        or_(study.c.state == StudyState.RECEIVING, study.c.judged_version.is_(None)),
    )
    .order_by(study.c.id)
)

_ids: Any = bindparam("ids", expanding=True)
_MESSAGES = select(message.c.control_id, message.c.id, message.c.ack_code).where(message.c.control_id.in_(_ids))
_ORDERS = (
    select(imaging_order.c.placer_order_number, func.count())
    .where(imaging_order.c.placer_order_number.in_(_ids))
    .group_by(imaging_order.c.placer_order_number)
)
_EFFECTS = (
    select(message.c.control_id, imaging_order.c.placer_order_number, func.count())
    .join(order_event, order_event.c.message_id == message.c.id)
    .join(imaging_order, imaging_order.c.id == order_event.c.order_id)
    .where(message.c.control_id.in_(_ids))
    .group_by(message.c.control_id, imaging_order.c.placer_order_number)
)
_INSTANCES = select(
    literal("instance").label("table"), instance.c.sop_instance_uid, instance.c.id, instance.c.sha256
).where(instance.c.sop_instance_uid.in_(_ids))
_ASIDES = (
    select(literal("aside").label("table"), instance.c.sop_instance_uid, instance_aside.c.id, instance_aside.c.sha256)
    .join(instance, instance.c.id == instance_aside.c.instance_id)
    .where(instance.c.sop_instance_uid.in_(_ids))
)
_PERFORMED = select(performed_procedure_step.c.sop_instance_uid, performed_procedure_step.c.status).where(
    performed_procedure_step.c.sop_instance_uid.in_(_ids)
)
_COMMITMENTS = select(commitment.c.transaction_uid).where(commitment.c.transaction_uid.in_(_ids))
_PUBLISHED = (
    select(study.c.study_instance_uid, _pub.remote_id, _pub.state)
    .join(study, study.c.id == _pub.study_id)
    .where(study.c.study_instance_uid.in_(_ids))
)


def integrity_faults(connection: Connection) -> list[str]:
    """What the database itself says of its pages, and rows that refer to none; nothing when all is well.

    SQLite reads the whole file. PostgreSQL tells what its data checksums found, where they are on.
    """
    if connection.dialect.name == "sqlite":
        said = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
        rows: Any = connection.exec_driver_sql(_FOREIGN_KEYS)
        loose = [f"{table} {key} refers to no {parent}" for table, key, parent, _ in rows]
        return [line for line in said if line != "ok"] + loose
    failures = connection.exec_driver_sql(_CHECKSUMS).scalar_one()
    return [f"{failures} pages failed their checksum"] if failures else []


_FOREIGN_KEYS = "PRAGMA foreign_key_check"
_CHECKSUMS = "SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()"


def count_owners(connection: Connection) -> int:
    return sum(int(connection.execute(_COUNT[table]).scalar_one()) for table in TABLES)


def owners(read: Callable[[], AbstractContextManager[Connection]], table: Table) -> Iterator[list[Any]]:
    """The rows that own a file (id, file, size, sha256), a page and a transaction (`Database.read`) at a time."""
    after = 0
    while True:
        with read() as connection:
            page = list(connection.execute(_PAGES[table], {"after": after, "n": PAGE}))
        if not page:
            return
        yield page
        after = page[-1].id


def total_bytes(connection: Connection) -> int:
    """Of every file that a row owns."""
    return sum(int(connection.execute(_BYTES[table]).scalar_one() or 0) for table in TABLES)


def owner(connection: Connection, table: Table, row: int) -> Any | None:
    return connection.execute(_ROW[table], {"i": row}).one_or_none()


def late_publications(connection: Connection, limit: datetime) -> list[Any]:
    """(id, state) of those that should have been taken up before `limit`."""
    return list(connection.execute(_LATE_PUBLICATIONS, {"limit": limit}))


def late_commitments(connection: Connection, limit: datetime) -> list[Any]:
    """(id, state) of requests that should have been checked, or told of, before `limit`."""
    return list(connection.execute(_LATE_COMMITMENTS, {"limit": limit}))


def unfinished_connections(connection: Connection) -> list[tuple[str, int]]:
    """The EHRs that are owed something, and how much."""
    return [(name, count) for name, count in connection.execute(_UNFINISHED_CONNECTIONS)]


def done_but_older(connection: Connection) -> list[int]:
    """Publications that count as done with a version that is not the newest asked for."""
    return list(connection.execute(_DONE_BUT_OLDER).scalars())


def never_asked_for(connection: Connection, ehr: str) -> list[int]:
    """Matched studies that an EHR should have and has no publication of, since it was first told of any."""
    return list(connection.execute(_NEVER_ASKED_FOR, {"connection": ehr}).scalars())


def late_studies(connection: Connection, limit: datetime) -> list[Any]:
    """(id, state) of studies to which nothing came since `limit`, and which are not complete or were never judged."""
    return list(connection.execute(_LATE_STUDIES, {"limit": limit}))


def messages_of(connection: Connection, control_ids: Sequence[str]) -> list[Any]:
    """(control_id, id, ack_code) of every message with one of these control ids."""
    return list(connection.execute(_MESSAGES, {"ids": list(control_ids)}))


def orders_of(connection: Connection, placer_numbers: Sequence[str]) -> dict[str, int]:
    """How many orders have each placer order number, whoever issued it."""
    found = connection.execute(_ORDERS, {"ids": list(placer_numbers)})
    return dict(iter(found))


def effects_of(connection: Connection, control_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """How often each message (control id) has acted on an order (placer order number)."""
    found = connection.execute(_EFFECTS, {"ids": list(control_ids)})
    return {(control_id, placer): count for control_id, placer, count in found}


def files_of(connection: Connection, uids: Sequence[str]) -> list[Any]:
    """(table, sop_instance_uid, id, sha256) of instances and of the copies kept aside."""
    given = {"ids": list(uids)}
    return [*connection.execute(_INSTANCES, given), *connection.execute(_ASIDES, given)]


def performed_statuses(connection: Connection, uids: Sequence[str]) -> dict[str, str]:
    found = connection.execute(_PERFORMED, {"ids": list(uids)})
    return dict(iter(found))


def known_commitments(connection: Connection, transaction_uids: Sequence[str]) -> set[str]:
    return set(connection.execute(_COMMITMENTS, {"ids": list(transaction_uids)}).scalars())


def publications_of(connection: Connection, study_uids: Sequence[str]) -> list[Any]:
    """(study_instance_uid, remote_id, state)."""
    return list(connection.execute(_PUBLISHED, {"ids": list(study_uids)}))
