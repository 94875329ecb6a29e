"""The time that leases go by: nodes share their database's (durability 4.4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bridge.app import follow
from bridge.clock import SystemClock
from bridge.store.db import Database


def test_a_node_whose_clock_is_wrong_takes_the_time_of_its_database(database: Database) -> None:
    clock = SystemClock(epoch=0.0)
    follow(clock, database)
    right = abs(clock.steady() - datetime.now(UTC)) < timedelta(seconds=10)
    assert right is not database.is_sqlite
