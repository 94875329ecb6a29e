"""Commitments in the store, on both databases: kept once, claimed by one, settled by whoever holds the lease."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bridge.domain.commitment import CommitmentRequest, CommitmentState, Reference
from bridge.store import commitment
from bridge.store.commitment import Claim
from bridge.store.db import Database

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LEASE, FAR = timedelta(minutes=3), timedelta(hours=1)
REQUEST = CommitmentRequest("1.2.9", (Reference("1.2.1", "1.2.3"), Reference("1.2.1", "1.2.4")))


def add(database: Database, request: CommitmentRequest = REQUEST, ae: str = "CT1", at: datetime = NOW) -> int:
    assert database.write(lambda c: commitment.add_commitment(c, request, ae, at, at))
    with database.read() as connection:
        row = commitment.find_commitment(connection, ae, request.transaction_uid)
    assert row is not None
    return int(row.id)


def claim(database: Database, key: int, owner: str, now: datetime = NOW, state: str = "asked") -> Claim | None:
    wanted = CommitmentState(state)
    return database.write(lambda c: commitment.claim_commitment(c, key, wanted, owner, now, now + LEASE))


def to_check(database: Database, now: datetime) -> int | None:
    with database.read() as connection:
        return commitment.next_to_check(connection, now, now + FAR)


def settle(
    database: Database,
    one: Claim,
    owner: str,
    state: CommitmentState = CommitmentState.DELIVERED,
    *,
    next_at: datetime = NOW,
) -> bool:
    return database.write(lambda c: commitment.settle_claim(c, one, owner, state, "0000", next_at=next_at))


def test_a_transaction_of_a_device_is_kept_once(database: Database) -> None:
    add(database)
    assert not database.write(lambda c: commitment.add_commitment(c, REQUEST, "CT1", NOW, NOW))


def test_the_list_comes_back_as_it_was_asked(database: Database) -> None:
    one = claim(database, add(database), "a")
    assert one is not None and one.request == REQUEST


def test_of_two_nodes_one_gets_the_claim(database: Database) -> None:
    key = add(database)
    assert claim(database, key, "a") is not None
    assert claim(database, key, "b") is None


def test_what_is_claimed_is_nobodys_to_do(database: Database) -> None:
    key = add(database)
    assert to_check(database, NOW) == key
    claim(database, key, "a")
    assert to_check(database, NOW) is None


def test_whose_lease_was_overtaken_settles_nothing(database: Database) -> None:
    key = add(database)
    first = claim(database, key, "a")
    second = claim(database, key, "b", NOW + LEASE + timedelta(seconds=1))
    assert first is not None and second is not None
    assert not settle(database, first, "a")
    assert not database.write(lambda c: commitment.renew_claim(c, first, "a", NOW + FAR))
    assert not database.write(lambda c: commitment.judge_claim(c, first, "a", {}, NOW))
    assert settle(database, second, "b")


def test_a_lease_that_is_renewed_is_not_overtaken(database: Database) -> None:
    key = add(database)
    one = claim(database, key, "a")
    assert one is not None
    assert database.write(lambda c: commitment.renew_claim(c, one, "a", NOW + 3 * LEASE))
    assert claim(database, key, "b", NOW + 2 * LEASE) is None


def test_a_request_that_comes_again_overtakes_the_report_under_way(database: Database) -> None:
    key = add(database)
    one = claim(database, key, "a")
    assert one is not None
    assert database.write(lambda c: commitment.ask_again(c, key, one.epoch, NOW))
    assert not settle(database, one, "a")


def test_the_claims_of_a_process_that_is_gone_are_freed(database: Database) -> None:
    key = add(database)
    one = claim(database, key, "a")
    assert one is not None
    with database.read() as connection:
        assert commitment.claim_owners(connection) == ["a"]
    assert database.write(lambda c: commitment.release_claims(c, ["a"])) == 1
    assert not settle(database, one, "a")
    assert to_check(database, NOW) == key


def test_what_was_put_off_waits_and_a_clock_that_jumped_does_not_keep_it_waiting(database: Database) -> None:
    soon, years = add(database), add(database, CommitmentRequest("1.2.10", REQUEST.references))
    for key, pause in ((soon, timedelta(minutes=5)), (years, timedelta(days=3650))):
        one = claim(database, key, "a")
        assert one is not None
        assert settle(database, one, "a", CommitmentState.ASKED, next_at=NOW + pause)
    assert to_check(database, NOW) == years


def test_what_was_found_is_due_for_its_device(database: Database) -> None:
    one = claim(database, add(database), "a")
    assert one is not None
    assert database.write(lambda c: commitment.judge_claim(c, one, "a", {"1.2.4": 0x0112}, NOW))
    with database.read() as connection:
        assert commitment.peers_to_tell(connection, NOW, NOW + FAR) == ["CT1"]
    again = claim(database, one.id, "a", state="due")
    assert again is not None and (again.failures, again.checked_at) == ({"1.2.4": 0x0112}, NOW)


@pytest.mark.parametrize(("state", "open_"), [("waiting", True), ("delivered", False), ("dropped", False)])
def test_nobody_may_delete_what_a_device_waits_to_hear_of(database: Database, state: str, open_: bool) -> None:
    one = claim(database, add(database), "a")
    assert one is not None
    settle(database, one, "a", CommitmentState(state))
    with database.read() as connection:
        assert commitment.open_instances(connection) == (frozenset({"1.2.3", "1.2.4"}) if open_ else frozenset())
        assert [(u.calling_ae_title, u.state, u.count) for u in commitment.undelivered(connection)] == (
            [("CT1", state, 1)] if open_ else []
        )


def test_what_was_delivered_is_not_given_up(database: Database) -> None:
    key = add(database)
    one = claim(database, key, "a")
    assert one is not None
    settle(database, one, "a")
    assert not database.write(lambda c: commitment.drop_commitment(c, key))
