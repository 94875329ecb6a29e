"""Publications: claimed by lease, one in flight a study, never dropped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, bindparam, case, func, or_, select, update

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.publication import OrderContent, PublicationState, Target
from bridge.domain.rejection import Hidden
from bridge.store.connection import Connection, Prepared, one_of
from bridge.store.schema import (
    imaging_order,
    instance,
    publication,
    remote_resource,
    requested_procedure,
    scheduled_procedure_step,
    series,
    study_link,
)
from bridge.store.upsert import upsert

_pub = publication
NEVER = timedelta(hours=1)
"""No pause and no lease is as long (`workflow.publishing`): a row that says so was written by a clock that was wrong,
and would wait until that time comes. It is due."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A publication in our hands until the lease ends. `attempts` counts the failures so far."""

    id: int
    connection: str
    study_id: int
    target: Target
    version: int
    published_version: int
    attempts: int
    remote_id: str
    remote_version: str
    lease_until: datetime


_REQUEST = upsert(
    _pub,
    ("connection", "study_id", "target"),
    {
        "version": None,
        # A claimed row stays claimed: the newer version is seen when it is finished.
        "state": case((_pub.c.state == PublicationState.CLAIMED, PublicationState.CLAIMED), else_=PublicationState.DUE),
        "next_attempt_at": None,
        "updated_at": None,
        "attempts": 0,
        # An age that no attempt makes young.
        "owed_since": case(
            (_pub.c.state == PublicationState.DONE, bindparam("asked", type_=_pub.c.owed_since.type)),
            else_=_pub.c.owed_since,
        ),
    },
)
_DUE = (
    select(_pub)
    .where(
        or_(
            and_(
                one_of(_pub.c.state, (PublicationState.DUE, PublicationState.WAITING)),
                or_(_pub.c.next_attempt_at <= bindparam("now"), _pub.c.next_attempt_at > bindparam("never")),
            ),
            and_(
                _pub.c.state == PublicationState.CLAIMED,
                or_(_pub.c.lease_until < bindparam("now"), _pub.c.lease_until > bindparam("never")),
            ),
        ),
        _pub.c.connection == bindparam("connection"),
    )
    .order_by(_pub.c.next_attempt_at)
    .limit(bindparam("n"))
)
_CLAIM = Prepared(
    update(_pub)
    .where(_pub.c.id == bindparam("p"), _pub.c.state == bindparam("was"), _pub.c.updated_at == bindparam("seen"))
    .values(
        state=PublicationState.CLAIMED,
        lease_owner=bindparam("owner"),
        lease_until=bindparam("until"),
        updated_at=bindparam("now"),
    )
)
_GET = Prepared(select(_pub).where(_pub.c.id == bindparam("p")))
_FINISH = Prepared(
    update(_pub)
    .where(
        _pub.c.id == bindparam("p"),
        _pub.c.lease_owner == bindparam("owner"),
        _pub.c.lease_until == bindparam("lease"),  # the owner may have lost it, and claimed it again since
    )
    .values(
        state=bindparam("new_state"),
        published_version=bindparam("done_version"),
        attempts=bindparam("tries"),
        next_attempt_at=bindparam("next"),
        remote_id=bindparam("rid"),
        remote_version=bindparam("rv"),
        last_status=bindparam("status"),
        last_answer=bindparam("answer"),
        lease_owner=None,
        lease_until=None,
        updated_at=bindparam("now"),
    )
)
_RETRY = Prepared(
    update(_pub)
    .where(_pub.c.id == bindparam("p"), one_of(_pub.c.state, (PublicationState.DEAD, PublicationState.WAITING)))
    .values(state=PublicationState.DUE, next_attempt_at=bindparam("now"), attempts=0, updated_at=bindparam("now"))
)
_OWNERS = Prepared(select(_pub.c.lease_owner).where(_pub.c.state == PublicationState.CLAIMED).distinct())
_RELEASE = (
    update(_pub)
    .where(_pub.c.state == PublicationState.CLAIMED, _pub.c.lease_owner.in_(bindparam("owners", expanding=True)))
    .values(
        state=PublicationState.DUE,
        lease_owner=None,
        lease_until=None,
        next_attempt_at=bindparam("now"),
        updated_at=bindparam("now"),
    )
)
_ALL = select(_pub).order_by(_pub.c.id.desc()).limit(bindparam("n"))
_NOT_DONE = _ALL.where(_pub.c.state != PublicationState.DONE)
_OF_STUDY = Prepared(select(_pub).where(_pub.c.study_id == bindparam("s")).order_by(_pub.c.id))
_COUNTS = Prepared(
    select(_pub.c.connection, _pub.c.state, func.count(), func.min(_pub.c.created_at))
    .group_by(_pub.c.connection, _pub.c.state)
    .order_by(_pub.c.connection)
)
_UNSENT = Prepared(
    select(_pub.c.connection, _pub.c.state, _pub.c.last_answer, func.count())
    .where(_pub.c.state != PublicationState.DONE, _pub.c.last_answer != "")
    .group_by(_pub.c.connection, _pub.c.state, _pub.c.last_answer)
    .order_by(_pub.c.connection)
)
_OLDEST = Prepared(
    select(func.min(_pub.c.owed_since)).where(~one_of(_pub.c.state, (PublicationState.DONE, PublicationState.DEAD)))
)
_REMOTE = Prepared(
    select(remote_resource.c.remote_id, remote_resource.c.type).where(
        remote_resource.c.connection == bindparam("c"), remote_resource.c.subject == bindparam("s")
    )
)
_REMOTE_SET = upsert(remote_resource, ("connection", "subject"), {"remote_id": None, "type": None})
_FIRST_START = (
    select(func.min(scheduled_procedure_step.c.start_date + scheduled_procedure_step.c.start_time))
    .where(
        scheduled_procedure_step.c.requested_procedure_id == requested_procedure.c.id,
        scheduled_procedure_step.c.start_defaulted.is_(False),
    )
    .scalar_subquery()
)
_ORDERS_OF_STUDY = Prepared(
    select(
        imaging_order,
        requested_procedure.c.description,
        requested_procedure.c.code,
        requested_procedure.c.priority,
        _FIRST_START.label("first_start"),
    )
    .join(requested_procedure, requested_procedure.c.order_id == imaging_order.c.id)
    .join(study_link, study_link.c.procedure_id == requested_procedure.c.id)
    .where(study_link.c.study_id == bindparam("s"), study_link.c.ended_at.is_(None))
    .order_by(imaging_order.c.id)
)
_SERIES_COUNTS = Prepared(
    select(series.c.id, func.count(instance.c.id))
    .join(instance, instance.c.series_id == series.c.id)
    .where(series.c.study_id == bindparam("s"), instance.c.hidden == Hidden.NO)
    .group_by(series.c.id)
)


def request_publication(
    connection: Connection, name: str, study_id: int, target: Target, version: int, at: datetime, due: datetime
) -> None:
    """Ask for `version` of a study to be at `name`: one row, so a hundred requests are one publication.

    `due` is the steady clock's time, as are all times of leases and attempts here; `at` the wall clock's, to be read.
    """
    connection.execute(
        _REQUEST,
        {
            "connection": name,
            "study_id": study_id,
            "target": target,
            "version": version,
            "state": PublicationState.DUE,
            "next_attempt_at": due,
            "created_at": at,
            "updated_at": at,
            "owed_since": at,
            "asked": at,
        },
    )


def claim_publications(
    connection: Connection,
    name: str,
    owner: str,
    now: datetime,
    until: datetime,
    limit: int,
    besides: frozenset[int] = frozenset(),
) -> list[Claim]:
    """`besides` are in the owner's hands still, whatever became of their leases: one delivery of a study at a time."""
    claims: list[Claim] = []
    for row in connection.execute(_DUE, _due(name, now, limit + len(besides))).all():
        if row.id in besides or len(claims) == limit:
            continue
        taken = connection.execute(
            _CLAIM,
            {"p": row.id, "was": row.state, "seen": row.updated_at, "owner": owner, "until": until, "now": now},
        )
        if taken.rowcount == 1:
            claims.append(
                Claim(
                    row.id,
                    row.connection,
                    row.study_id,
                    Target(row.target),
                    row.version,
                    row.published_version,
                    row.attempts,
                    row.remote_id,
                    row.remote_version,
                    until,
                )
            )
    return claims


def claim_owners(connection: Connection) -> list[str]:
    return [owner for owner in connection.execute(_OWNERS).scalars() if owner]


def release_claims(connection: Connection, owners: list[str], now: datetime) -> int:
    """Make due again what these owners, who are gone, had claimed; returns how many."""
    return connection.execute(_RELEASE, {"owners": owners, "now": now}).rowcount


_ANYTHING_DUE = Prepared(_DUE.with_only_columns(_pub.c.id))


def anything_due(connection: Connection, name: str, now: datetime) -> bool:
    """A cheap look before a claim takes the writer's turn."""
    return connection.execute(_ANYTHING_DUE, _due(name, now, 1)).first() is not None


def _due(name: str, now: datetime, limit: int) -> dict[str, object]:
    return {"now": now, "never": now + NEVER, "connection": name, "n": limit}


def finish_publication(
    connection: Connection,
    claim: Claim,
    owner: str,
    *,
    state: PublicationState,
    now: datetime,
    next_attempt_at: datetime,
    remote_id: str,
    remote_version: str,
    status: int,
    answer: str,
    failed: bool,
) -> bool:
    """Write what came of a claim; a version asked for meanwhile makes it due again. False: the lease was lost."""
    row = connection.execute(_GET, {"p": claim.id}).one()
    done = claim.version if state is PublicationState.DONE else row.published_version
    if state in (PublicationState.DONE, PublicationState.DEAD) and row.version > claim.version:
        state, next_attempt_at = PublicationState.DUE, now
    result = connection.execute(
        _FINISH,
        {
            "p": claim.id,
            "owner": owner,
            "lease": claim.lease_until,
            "new_state": state,
            "done_version": done,
            "tries": claim.attempts + 1 if failed else 0,
            "next": next_attempt_at,
            "rid": remote_id,
            "rv": remote_version,
            "status": status,
            "answer": answer,
            "now": now,
        },
    )
    return result.rowcount == 1


def retry_publication(connection: Connection, publication_id: int, now: datetime) -> bool:
    return connection.execute(_RETRY, {"p": publication_id, "now": now}).rowcount == 1


def list_publications(connection: Connection, limit: int = 50, *, unsent: bool = False) -> list[dict[str, Any]]:
    """The newest first; `unsent`: only what is not at its EHR."""
    return [dict(r._mapping) for r in connection.execute(_NOT_DONE if unsent else _ALL, {"n": limit})]


def publications_of(connection: Connection, study_id: int) -> list[Any]:
    return list(connection.execute(_OF_STUDY, {"s": study_id}))


def count_publications(connection: Connection) -> list[tuple[str, str, int, datetime]]:
    return [(name, state, count, at) for name, state, count, at in connection.execute(_COUNTS)]


def unsent_reasons(connection: Connection) -> list[tuple[str, str, str, int]]:
    """(connection, state, what the last try was answered, how many) of what is not at the EHR yet."""
    return [(name, state, answer, count) for name, state, answer, count in connection.execute(_UNSENT)]


def oldest_unsent(connection: Connection) -> datetime | None:
    oldest: datetime | None = connection.execute(_OLDEST).scalar_one()
    return oldest


def remote_id(connection: Connection, name: str, subject: str) -> str | None:
    """The id of a resource that the EHR gave us for `subject` ("endpoint", "order:5")."""
    row = connection.execute(_REMOTE, {"c": name, "s": subject}).one_or_none()
    return row.remote_id if row else None


def set_remote_id(connection: Connection, name: str, subject: str, kind: str, value: str) -> None:
    connection.execute(_REMOTE_SET, {"connection": name, "subject": subject, "type": kind, "remote_id": value})


def orders_of_study(connection: Connection, study_id: int) -> list[tuple[int, OrderContent]]:
    """(patient key, order) for every order the study is linked to; `scheduled` is DA and TM in one, site-local."""
    found: list[tuple[int, OrderContent]] = []
    for row in connection.execute(_ORDERS_OF_STUDY, {"s": study_id}):
        order = OrderContent(
            order_id=row.id,
            placer=Identifier(row.placer_order_number, row.placer_issuer) if row.placer_order_number else None,
            filler=Identifier(row.filler_order_number, row.filler_issuer) if row.filler_order_number else None,
            accession=Identifier(row.accession_number, row.accession_issuer) if row.accession_number else None,
            code=Code(*row.code) if row.code else None,
            description=row.description,
            priority=row.priority,
            status=row.status,
            authored=row.event_at,
            scheduled=row.first_start or "",
        )
        found.append((row.patient_id, order))
    return found


def instances_by_series(connection: Connection, study_id: int) -> dict[int, int]:
    return {row[0]: row[1] for row in connection.execute(_SERIES_COUNTS, {"s": study_id})}
