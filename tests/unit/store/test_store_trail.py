"""The audit trail and the review list are read back as they were written, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bridge.store import audit, review
from bridge.store.db import Connection, Database

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture
def trail(database: Database) -> Database:
    """Four acts, an hour apart, of two subjects."""

    def fill(connection: Connection) -> None:
        for hour, (action, subject) in enumerate(
            (("a", "study:1"), ("b", "study:2"), ("a", "study:2"), ("c", "study:1"))
        ):
            at = NOW + timedelta(hours=hour)
            audit.write_audit(connection, at=at, who="cli:x", action=action, subject=subject)

    database.write(fill)
    return database


@pytest.mark.parametrize(
    ("asked", "acts"),
    [
        ({"subject": "study:1"}, "ac"),
        ({"action": "a"}, "aa"),
        ({"since": NOW + timedelta(hours=2)}, "ac"),
        ({"subject": "study:2", "action": "a"}, "a"),
        ({"limit": 2}, "ac"),
        ({"subject": "study:10"}, ""),
    ],
)
def test_the_trail_is_narrowed_and_stays_in_order(trail: Database, asked: dict[str, object], acts: str) -> None:
    with trail.read() as connection:
        assert "".join(row["action"] for row in audit.find_audit(connection, **asked)) == acts  # type: ignore[arg-type]


def test_an_entry_is_found_by_its_number_open_or_closed(database: Database) -> None:
    database.write(lambda c: review.open_review(c, "patient-overlay", "patient:1", "x", NOW, {}))
    database.write(lambda c: review.close_review(c, ("patient-overlay",), "patient:1", NOW, "cli:x", "seen"))
    with database.read() as connection:
        found = review.get_review(connection, 1)
        assert found is not None
        assert (found["closed_at"], found["resolution"]) == (NOW, "seen")
        assert review.get_review(connection, 2) is None
