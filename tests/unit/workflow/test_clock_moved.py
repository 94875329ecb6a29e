"""F48: somebody moves the clock. Nothing that waits comes early or never, and nothing is deleted by mistake."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bridge import config
from bridge.clock import SystemClock, agreed_epoch
from bridge.config import Destination
from bridge.domain.publication import Target
from bridge.store import audit, outbound, outbox, retirement, studies
from bridge.workflow import leaping
from bridge.workflow.alarming import Kind, findings
from bridge.workflow.measuring import read_facts
from bridge.workflow.notifying import OutQueue
from bridge.workflow.retention import Retention
from bridge.workflow.retiring import look
from tests.unit.workflow.house import NOON, House, image_header

HOUR, YEARS = 3600.0, 10 * 365 * 86400.0
JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR, YEARS], ids=["+1 h", "-1 h", "+10 y"])
LEASE = timedelta(seconds=120)


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.settings.archive.mkdir()
    return made


def published(house: House, steady: datetime, due: datetime) -> None:
    row = house.database.write(lambda c: studies.take_study(c, image_header(), NOON, steady))
    house.database.write(
        lambda c: outbox.request_publication(c, "ehr", row.id, Target.IMAGING_STUDY, 1, house.clock.now(), due)
    )


def claimed(house: House) -> int:
    now = house.clock.steady()
    return len(house.database.write(lambda c: outbox.claim_publications(c, "ehr", "me", now, now + LEASE, 10)))


@JUMPS
def test_F48_a_pause_of_a_publication_is_as_long_as_it_was(house: House, jump: float) -> None:
    published(house, house.clock.steady(), house.clock.steady() + timedelta(seconds=60))
    house.clock.jump(jump)
    assert claimed(house) == 0
    house.clock.advance(61)
    assert claimed(house) == 1


@JUMPS
def test_F48_a_lease_is_as_long_as_it_was(house: House, jump: float) -> None:
    published(house, house.clock.steady(), house.clock.steady())
    assert claimed(house) == 1
    house.clock.jump(jump)
    assert claimed(house) == 0
    house.clock.advance(121)
    assert claimed(house) == 1


@JUMPS
def test_F48_a_message_of_ours_waits_as_long_as_it_should(house: House, jump: float) -> None:
    queue = OutQueue(house.context, Destination(name="ris", host="127.0.0.1", port=1), jitter=lambda: 0.0)
    now = house.clock.steady()
    house.database.write(lambda c: outbound.add_outbound(c, "ris", "X1", b"{}", "order:1", "started", now, now))
    row = queue.head()
    assert row is not None
    queue.again(row, queue.begin(row, b"MSH"), "timeout")
    house.clock.jump(jump)
    assert queue.head() is None
    house.clock.advance(15 * 60)
    assert queue.head() is not None


@JUMPS
def test_F48_a_study_is_quiet_after_its_quiet_time(house: House, jump: float) -> None:
    house.image()
    house.clock.jump(jump)
    assert house.acquiring.complete_due() == 0
    house.clock.advance(61)
    assert house.acquiring.complete_due() == 1


def test_F48_what_a_wrong_clock_made_wait_for_ten_years_is_due_and_quiet_after_the_restart(house: House) -> None:
    wrong = NOON + timedelta(seconds=YEARS)
    published(house, wrong, wrong)
    queue = OutQueue(house.context, Destination(name="ris", host="127.0.0.1", port=1))
    house.database.write(lambda c: outbound.add_outbound(c, "ris", "X1", b"{}", "order:1", "started", wrong, wrong))
    assert claimed(house) == 1
    assert queue.head() is not None
    assert house.acquiring.complete_due() == 0
    house.clock.advance(61)
    assert house.acquiring.complete_due() == 1


def test_F48_no_message_is_deleted_because_the_clock_was_moved(house: House) -> None:
    house.order()
    house.clock.jump(YEARS)
    Retention(house.context).purge_due()
    assert len(house.rows("message")) == 1


def test_F48_no_study_is_retired_because_the_clock_was_moved(tmp_path: Path) -> None:
    house = House(tmp_path, retention=config.Retention(rule=(config.RetentionRule(keep_days=365, after="complete"),)))
    house.image()
    house.complete()
    with house.database.read() as connection:
        row = retirement.study_row(connection, 1)
        house.clock.jump(YEARS)
        assert look(connection, [row], house.context) == []
        house.clock.advance(366 * 86400)
        assert len(look(connection, [row], house.context)) == 1


@pytest.mark.parametrize("rest", [YEARS, -HOUR], ids=["ahead", "back"])
def test_F48_after_a_start_with_another_time_nothing_is_deleted_for_a_day_and_somebody_is_told(
    house: House, rest: float
) -> None:
    house.order()
    beat = house.clock.steady() - timedelta(seconds=rest)
    house.database.write(lambda c: audit.note_activity(c, "role", "worker", beat))
    leaping.note_start(house.context)
    facts = read_facts(house.context)
    found = {
        (one.kind, one.subject): one
        for one in findings(facts, house.settings.alarms, house.settings.site.zone, up=timedelta(0))
    }
    assert found[Kind.CLOCK_MOVED, "start"].begins
    with house.database.read() as connection:
        assert not leaping.may_delete(connection, house.clock.steady())
        assert leaping.may_delete(connection, house.clock.steady() + timedelta(days=1, seconds=1))


def test_F48_a_start_after_a_night_is_no_doubt(house: House) -> None:
    beat = house.clock.steady() - timedelta(hours=12)
    house.database.write(lambda c: audit.note_activity(c, "role", "worker", beat))
    leaping.note_start(house.context)
    with house.database.read() as connection:
        assert leaping.may_delete(connection, house.clock.steady())


@JUMPS
def test_F48_a_moved_clock_is_an_alarm(house: House, jump: float) -> None:
    house.clock.jump(jump)
    facts = read_facts(house.context)
    (found,) = (
        one
        for one in findings(facts, house.settings.alarms, house.settings.site.zone, up=timedelta(0))
        if one.kind is Kind.CLOCK_MOVED
    )
    assert (found.begins, found.value) == (True, abs(jump))


def test_the_processes_of_a_bridge_agree_on_the_steady_time(tmp_path: Path) -> None:
    agreed = agreed_epoch(tmp_path / "clock")
    time.sleep(0.01)
    assert agreed_epoch(tmp_path / "clock") == agreed
    assert abs(SystemClock(agreed).steady() - SystemClock(agreed).now()) < timedelta(seconds=5)


def test_a_start_and_another_start_of_the_machine_begin_anew(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    path.write_text(json.dumps({"boot": "another", "epoch": 5.0}))
    assert agreed_epoch(path) != 5.0
    path.write_text(json.dumps({**json.loads(path.read_text()), "epoch": 5.0}))
    assert agreed_epoch(path) == 5.0
    assert agreed_epoch(path, anew=True) != 5.0


def test_nodes_follow_the_clock_of_their_database() -> None:
    clock = SystemClock()
    clock.follow(NOON)
    assert timedelta() <= clock.steady() - NOON < timedelta(seconds=5)
