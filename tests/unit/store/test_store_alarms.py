"""The facts of the alarms mean the same on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from bridge.domain.message import Fate
from bridge.store import alarms, audit, review, schema
from bridge.store.db import Connection, Database

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def message(connection: Connection, number: int, feed: str, fate: Fate) -> int:
    values = {
        "feed": feed, "received_at": NOW + timedelta(seconds=number), "sending_application": "A", "sha256": str(number),
        "control_id": str(number), "raw": b"x", "fate": fate, "reasons": [],
    }  # fmt: skip
    return int(connection.execute(insert(schema.message).returning(schema.message.c.id), values).scalar_one())


def test_what_waits_is_told_by_kind_and_feed_beside_subjects_of_every_other_form(database: Database) -> None:
    def fill(connection: Connection) -> None:
        for number, feed in enumerate(("ris", "ris", "adt")):
            key = message(connection, number, feed, Fate.QUARANTINED)
            review.open_review(connection, "message-quarantined", f"message:{key}", "x", NOW, {})
        for kind, subject in (("order-parked", "order:9"), ("order-parked", "step:9"), ("study-unmatched", "study:x")):
            review.open_review(connection, kind, subject, "x", NOW, {})

    database.write(fill)
    with database.read() as connection:
        found = {(w.kind, w.feed, w.count) for w in alarms.waiting(connection)}
    assert found == {
        ("message-quarantined", "ris", 2),
        ("message-quarantined", "adt", 1),
        ("order-parked", "", 2),
        ("study-unmatched", "", 1),
    }


def test_the_share_is_of_the_newest_messages_of_its_feed(database: Database) -> None:
    def fill(connection: Connection) -> None:
        for number in range(10):
            message(connection, number, "ris", Fate.REFUSED if number >= 8 else Fate.APPLIED)
            message(connection, 100 + number, "adt", Fate.REFUSED)
        audit.note_activity(connection, "feed", "ris", NOW, more=10)
        audit.note_activity(connection, "resend", "ris", NOW + timedelta(hours=1))

    database.write(fill)
    with database.read() as connection:
        (found,) = alarms.feed_facts(connection, ("ris",), 4)
        assert alarms.rate(connection, "ris", NOW + timedelta(seconds=9), timedelta(seconds=5)) == 5
    assert (found.messages, found.recent, found.refused) == (10, 4, 2)
    assert found.last_at == NOW + timedelta(hours=1)


def test_an_alarm_cannot_be_open_twice(database: Database) -> None:
    def begin(connection: Connection) -> int:
        return alarms.begin_alarm(connection, "quarantine", "ris", {}, NOW)

    first = database.write(begin)
    with pytest.raises(IntegrityError):
        database.write(begin)
    assert database.write(lambda c: alarms.end_alarm(c, first, NOW))
    assert not database.write(lambda c: alarms.end_alarm(c, first, NOW))
    second = database.write(begin)
    with database.read() as connection:
        assert [a["id"] for a in alarms.open_alarms(connection)] == [second]
        assert [a["id"] for a in alarms.list_alarms(connection, 10)] == [second, first]
