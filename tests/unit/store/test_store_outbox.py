"""The outbox: claimed by lease, coalesced a study, and never lost between two versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bridge.domain.publication import PublicationState as S
from bridge.domain.publication import Target
from bridge.store import outbox, studies
from bridge.store.db import Database
from bridge.store.outbox import Claim
from tests.unit.workflow.house import image_header

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=120)


class Desk:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        row = database.write(lambda c: studies.take_study(c, image_header(), NOW, NOW))
        self.study = int(row.id)

    def ask(self, version: int) -> None:
        now, target = self.now, Target.IMAGING_STUDY
        self.database.write(lambda c: outbox.request_publication(c, "ehr", self.study, target, version, now, now))

    def claim(self, owner: str = "one") -> list[Claim]:
        return self.database.write(lambda c: outbox.claim_publications(c, "ehr", owner, self.now, self.now + LEASE, 10))

    def finish(self, claim: Claim, state: S = S.DONE, *, owner: str = "one", wait: float = 0) -> bool:
        return self.database.write(
            lambda c: outbox.finish_publication(
                c, claim, owner, state=state, now=self.now, next_attempt_at=self.now + timedelta(seconds=wait),
                remote_id="r1", remote_version="1", status=200, answer="", failed=state is not S.DONE,
            )
        )  # fmt: skip

    @property
    def row(self) -> dict[str, object]:
        with self.database.read() as connection:
            (row,) = outbox.list_publications(connection)
        return row

    @property
    def state(self) -> tuple[object, object, object]:
        return self.row["state"], self.row["version"], self.row["published_version"]


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def test_a_hundred_requests_are_one_publication_of_the_newest(desk: Desk) -> None:
    for version in range(1, 101):
        desk.ask(version)
    (claim,) = desk.claim()
    assert claim.version == 100


def test_what_is_claimed_is_nobody_elses(desk: Desk) -> None:
    desk.ask(1)
    assert len(desk.claim("one")) == 1
    assert desk.claim("two") == []


def test_a_delivery_that_is_done_is_not_due(desk: Desk) -> None:
    desk.ask(1)
    (claim,) = desk.claim()
    assert desk.finish(claim)
    assert (desk.state, desk.claim()) == ((S.DONE, 1, 1), [])


def test_a_version_asked_for_during_the_delivery_is_delivered_next(desk: Desk) -> None:
    desk.ask(1)
    (claim,) = desk.claim()
    desk.ask(2)
    assert desk.claim("two") == []
    desk.finish(claim)
    assert desk.state == (S.DUE, 2, 1)
    (again,) = desk.claim()
    assert again.version == 2


def test_a_version_asked_for_while_an_older_one_is_refused_is_tried(desk: Desk) -> None:
    desk.ask(1)
    (claim,) = desk.claim()
    desk.ask(2)
    desk.finish(claim, S.DEAD)
    assert desk.state[:2] == (S.DUE, 2)


def test_a_failure_is_tried_again_when_its_time_has_come(desk: Desk) -> None:
    desk.ask(1)
    (claim,) = desk.claim()
    desk.finish(claim, S.DUE, wait=30)
    assert desk.claim() == []
    desk.now += timedelta(seconds=30)
    (again,) = desk.claim()
    assert again.attempts == 1


def test_a_new_version_does_not_wait_for_the_old_ones_turn(desk: Desk) -> None:
    desk.ask(1)
    (claim,) = desk.claim()
    desk.finish(claim, S.WAITING, wait=900)
    desk.ask(2)
    assert len(desk.claim()) == 1


def test_what_nobody_finished_is_claimed_again_after_the_lease(desk: Desk) -> None:
    desk.ask(1)
    desk.claim("one")
    desk.now += LEASE
    assert desk.claim("two") == []
    desk.now += timedelta(seconds=1)
    assert len(desk.claim("two")) == 1


@pytest.mark.parametrize("owner", ["two", "one"], ids=["another process", "the same process"])
def test_who_lost_the_lease_writes_nothing(desk: Desk, owner: str) -> None:
    desk.ask(1)
    (lost,) = desk.claim("one")
    desk.now += LEASE + timedelta(seconds=1)
    (held,) = desk.claim(owner)
    assert desk.finish(lost, owner="one") is False
    assert desk.state[0] == S.CLAIMED
    assert desk.finish(held, owner=owner) is True


def test_what_is_dead_rests_until_a_person_or_a_new_version_wakes_it(desk: Desk) -> None:
    desk.ask(1)
    (claim,) = desk.claim()
    desk.finish(claim, S.DEAD)
    desk.now += timedelta(days=9)
    assert desk.claim() == []
    assert desk.database.write(lambda c: outbox.retry_publication(c, claim.id, desk.now))
    assert len(desk.claim()) == 1


def test_the_oldest_unsent_is_told_and_what_is_done_is_not(desk: Desk) -> None:
    desk.ask(1)
    with desk.database.read() as connection:
        assert outbox.oldest_unsent(connection) == NOW
    desk.finish(desk.claim()[0])
    with desk.database.read() as connection:
        assert outbox.oldest_unsent(connection) is None
        assert not outbox.anything_due(connection, "ehr", NOW + timedelta(days=1))


def test_what_an_ehr_gave_us_is_kept_and_may_be_replaced(database: Database) -> None:
    for value in ("e1", "e2"):
        database.write(lambda c, v=value: outbox.set_remote_id(c, "ehr", "endpoint", "Endpoint", v))  # type: ignore[misc]
    with database.read() as connection:
        assert outbox.remote_id(connection, "ehr", "endpoint") == "e2"
        assert outbox.remote_id(connection, "other", "endpoint") is None
