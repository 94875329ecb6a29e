"""Storage commitment: requests kept, claimed by a lease with an epoch, never dropped but by a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, literal, or_, select, update

from bridge.domain.commitment import CommitmentRequest, CommitmentState, Holding, Reference
from bridge.domain.rejection import REJECTED
from bridge.store.connection import Connection, Prepared, one_of
from bridge.store.schema import commitment, instance
from bridge.store.studies import file_of
from bridge.store.upsert import insert_new

_c = commitment.c
OPEN = (CommitmentState.ASKED, CommitmentState.DUE, CommitmentState.WAITING)
"""Of which the device still waits for our word."""

REFUSED = "answered-"
"""How the last answer begins of what its device got and did not take."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A request in our hands until the lease ends. `attempts` counts the tries to tell the device so far."""

    id: int
    epoch: int
    calling_ae_title: str
    request: CommitmentRequest
    failures: dict[str, int]
    checked_at: datetime | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What a device is owed: how many requests, and since when the oldest."""

    calling_ae_title: str
    state: str
    count: int
    oldest: datetime


_INSERT = insert_new(commitment, ("calling_ae_title", "transaction_uid"))
_FIND = Prepared(
    select(commitment).where(_c.calling_ae_title == bindparam("ae"), _c.transaction_uid == bindparam("uid"))
)
_GET = Prepared(select(commitment).where(_c.id == bindparam("i")))
_FREE = and_(
    # A clock that jumped ahead and back again must not silence anybody for years.
    or_(_c.next_attempt_at <= bindparam("now"), _c.next_attempt_at > bindparam("never")),
    or_(_c.lease_until.is_(None), _c.lease_until < bindparam("now"), _c.lease_until > bindparam("never")),
)
_TO_CHECK = Prepared(
    select(_c.id)
    .where(_c.state == CommitmentState.ASKED, _FREE)
    .order_by(_c.next_attempt_at, _c.id)
    .limit(1)
)  # fmt: skip
_PEERS = Prepared(select(_c.calling_ae_title).where(_c.state == CommitmentState.DUE, _FREE).distinct())
_TO_TELL = Prepared(
    select(_c.id)
    .where(_c.state == CommitmentState.DUE, _FREE, _c.calling_ae_title == bindparam("ae"))
    .order_by(_c.next_attempt_at, _c.id)
    .limit(1)
)
_CLAIM = Prepared(
    update(commitment)
    .where(_c.id == bindparam("i"), _c.epoch == bindparam("seen"))
    .values(epoch=_c.epoch + 1, lease_owner=bindparam("owner"), lease_until=bindparam("until"))
)
_MINE = and_(_c.id == bindparam("i"), _c.epoch == bindparam("mine"), _c.lease_owner == bindparam("owner"))
_RENEW = Prepared(update(commitment).where(_MINE).values(lease_until=bindparam("until")))
_SETTLE = Prepared(
    update(commitment)
    .where(_MINE)
    .values(
        state=bindparam("to"),
        attempts=bindparam("tries"),
        next_attempt_at=bindparam("next"),
        last_answer=bindparam("answer"),
        delivered_at=bindparam("delivered"),
        lease_owner=None,
        lease_until=None,
    )
)
_JUDGE = Prepared(
    update(commitment)
    .where(_MINE)
    .values(
        state=CommitmentState.DUE,
        failures=bindparam("found"),
        checked_at=bindparam("at"),
        next_attempt_at=bindparam("next"),
        lease_owner=None,
        lease_until=None,
    )
)
# The epoch grows: whoever holds it meanwhile settles nothing.
_ASK = Prepared(
    update(commitment)
    .where(_c.id == bindparam("i"), _c.epoch == bindparam("seen"))
    .values(
        state=CommitmentState.ASKED,
        next_attempt_at=bindparam("at"),
        epoch=_c.epoch + 1,
        lease_owner=None,
        lease_until=None,
        delivered_at=None,
    )
)
_DROP = Prepared(
    update(commitment)
    .where(_c.id == bindparam("i"), one_of(_c.state, OPEN))
    .values(state=CommitmentState.DROPPED, epoch=_c.epoch + 1, lease_owner=None, lease_until=None)
)
_HURRY = Prepared(
    update(commitment)
    .where(_c.calling_ae_title == bindparam("ae"), _c.state == CommitmentState.DUE)
    .where(~_c.last_answer.startswith(REFUSED))
    .values(next_attempt_at=bindparam("at"))
)
_WAITING = Prepared(select(_c.id, _c.calling_ae_title, _c.epoch).where(_c.state == CommitmentState.WAITING))
_OWNERS = Prepared(select(_c.lease_owner).where(_c.lease_owner.is_not(None)).distinct())
_RELEASE = Prepared(
    update(commitment)
    .where(_c.lease_owner == bindparam("owner"))
    .values(lease_owner=None, lease_until=None, epoch=_c.epoch + 1)
)
_OVER = Prepared(
    select(_c.id)
    .where(one_of(_c.state, (CommitmentState.DELIVERED, CommitmentState.DROPPED)))
    .where(_c.next_attempt_at < bindparam("before"))
    .limit(bindparam("n"))
)
_DELETE = Prepared(delete(commitment).where(_c.id == bindparam("i")))
_HELD = Prepared(select(instance).where(instance.c.sop_instance_uid == bindparam("uid")))
_LISTED = (
    _c.id, _c.calling_ae_title, _c.transaction_uid, _c.state, _c.asked_at, _c.checked_at, _c.delivered_at, _c.attempts,
    _c.next_attempt_at, _c.last_answer, _c.instances, _c.failures,
)  # fmt: skip
_ALL = Prepared(select(*_LISTED).order_by(_c.id.desc()).limit(bindparam("n")))
_UNDELIVERED = Prepared(select(*_LISTED).where(one_of(_c.state, OPEN)).order_by(_c.id).limit(bindparam("n")))
_OWED = Prepared(
    select(_c.calling_ae_title, _c.state, func.count(), func.min(_c.asked_at))
    .where(one_of(_c.state, OPEN))
    .group_by(_c.calling_ae_title, _c.state)
)
_ANY_OPEN = Prepared(select(literal(1)).where(one_of(_c.state, OPEN)).limit(1))


def add_commitment(
    connection: Connection, request: CommitmentRequest, calling_ae: str, at: datetime, due: datetime
) -> bool:
    """False when the device's Transaction UID is known. `due` and every other moment here but `at` is steady time."""
    values = {
        "calling_ae_title": calling_ae,
        "transaction_uid": request.transaction_uid,
        "instances": [list(one) for one in request.references],
        "failures": {},
        "state": CommitmentState.ASKED,
        "asked_at": at,
        "next_attempt_at": due,
    }
    return _INSERT(connection, values)


def find_commitment(connection: Connection, calling_ae: str, transaction_uid: str) -> Any | None:
    return connection.execute(_FIND, {"ae": calling_ae, "uid": transaction_uid}).one_or_none()


def get_commitment(connection: Connection, key: int) -> Any | None:
    return connection.execute(_GET, {"i": key}).one_or_none()


def request_of(row: Any) -> CommitmentRequest:
    return CommitmentRequest(row.transaction_uid, tuple(Reference(*one) for one in row.instances))


def ask_again(connection: Connection, key: int, epoch: int, at: datetime) -> bool:
    """To be checked and told anew, at once; a claim of it that is under way comes to nothing."""
    return connection.execute(_ASK, {"i": key, "seen": epoch, "at": at}).rowcount == 1


def next_to_check(connection: Connection, now: datetime, never: datetime) -> int | None:
    found: int | None = connection.execute(_TO_CHECK, {"now": now, "never": never}).scalar_one_or_none()
    return found


def peers_to_tell(connection: Connection, now: datetime, never: datetime) -> list[str]:
    """The devices for which something is due."""
    return list(connection.execute(_PEERS, {"now": now, "never": never}).scalars())


def next_to_tell(connection: Connection, calling_ae: str, now: datetime, never: datetime) -> int | None:
    values = {"ae": calling_ae, "now": now, "never": never}
    found: int | None = connection.execute(_TO_TELL, values).scalar_one_or_none()
    return found


def claim_commitment(
    connection: Connection, key: int, wanted: CommitmentState, owner: str, now: datetime, until: datetime
) -> Claim | None:
    """None when it is no longer in that state, or another node holds it."""
    row = get_commitment(connection, key)
    if row is None or row.state != wanted or (row.lease_until is not None and row.lease_until >= now):
        return None
    taken = connection.execute(_CLAIM, {"i": key, "seen": row.epoch, "owner": owner, "until": until})
    if taken.rowcount != 1:
        return None
    return Claim(
        key, row.epoch + 1, row.calling_ae_title, request_of(row), row.failures, row.checked_at, row.attempts
    )  # fmt: skip


def renew_claim(connection: Connection, claim: Claim, owner: str, until: datetime) -> bool:
    """False: the lease was lost, and nothing may be done any more."""
    values = {"i": claim.id, "mine": claim.epoch, "owner": owner, "until": until}
    return connection.execute(_RENEW, values).rowcount == 1


def judge_claim(
    connection: Connection,
    claim: Claim,
    owner: str,
    failures: Mapping[str, int],
    at: datetime,
    next_at: datetime | None = None,
) -> bool:
    """What the check found, to be told from `next_at` on (at once); False: the lease was lost."""
    values = {"i": claim.id, "mine": claim.epoch, "owner": owner, "found": dict(failures), "at": at}
    return connection.execute(_JUDGE, {**values, "next": next_at or at}).rowcount == 1


def settle_claim(
    connection: Connection,
    claim: Claim,
    owner: str,
    state: CommitmentState,
    answer: str,
    *,
    next_at: datetime,
    failed: bool = False,
    delivered_at: datetime | None = None,
) -> bool:
    """What came of a claim; False: the lease was lost."""
    values = {
        "i": claim.id,
        "mine": claim.epoch,
        "owner": owner,
        "to": state,
        "tries": claim.attempts + failed,
        "next": next_at,
        "answer": answer,
        "delivered": delivered_at,
    }
    return connection.execute(_SETTLE, values).rowcount == 1


def hurry(connection: Connection, calling_ae: str, at: datetime) -> None:
    """The device answers: what it could not be told while it was away need not wait."""
    connection.execute(_HURRY, {"ae": calling_ae, "at": at})


def drop_commitment(connection: Connection, key: int) -> bool:
    """False when there is none, or it has been delivered."""
    return connection.execute(_DROP, {"i": key}).rowcount == 1


def waiting_for_address(connection: Connection) -> list[Any]:
    """(id, calling_ae_title, epoch) of those whose device has no address in the settings."""
    return list(connection.execute(_WAITING))


def claim_owners(connection: Connection) -> list[str]:
    return list(connection.execute(_OWNERS).scalars())


def release_claims(connection: Connection, owners: Iterable[str]) -> int:
    """Free what these owners, who are gone, had claimed; returns how many."""
    return sum(connection.execute(_RELEASE, {"owner": owner}).rowcount for owner in owners)


def held(connection: Connection, sop_instance_uid: str) -> Holding | None:
    """What our rows say of an instance."""
    row = connection.execute(_HELD, {"uid": sop_instance_uid}).one_or_none()
    if row is None:
        return None
    return Holding(row.sop_class_uid, file_of(row), row.hidden in REJECTED)


def list_commitments(connection: Connection, limit: int, *, everything: bool = False) -> list[Any]:
    """What is not delivered, oldest first; with `everything` all, newest first."""
    return list(connection.execute(_ALL if everything else _UNDELIVERED, {"n": limit}))


def undelivered(connection: Connection) -> tuple[Undelivered, ...]:
    return tuple(Undelivered(*row) for row in connection.execute(_OWED))


def open_instances(connection: Connection) -> frozenset[str]:
    """SOP Instance UIDs of which a device still waits to hear whether they are safe: nobody may delete them now."""
    if connection.execute(_ANY_OPEN).first() is None:
        return frozenset()
    rows = connection.execute(_UNDELIVERED, {"n": 1_000_000})
    return frozenset(uid for row in rows for _, uid in row.instances)


def forget(connection: Connection, before: datetime, limit: int) -> int:
    """Delete some of those that were told, or given up, before then; returns how many."""
    over = list(connection.execute(_OVER, {"before": before, "n": limit}).scalars())
    for key in over:
        connection.execute(_DELETE, {"i": key})
    return len(over)
