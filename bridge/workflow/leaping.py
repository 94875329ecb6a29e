"""A clock that was moved while the bridge stood still: nobody can tell that from a long rest, so nothing is deleted.

Ages are all wrong then: what came last week may seem ten years old. For a day a person may read the alarm and set the
clock right; meanwhile nothing goes because of its age.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from bridge.log import work
from bridge.store import alarms, audit
from bridge.store.db import Connection
from bridge.workflow.context import Context

log = logging.getLogger("bridge.clock")
REST = timedelta(days=7)
"""A bridge that was last heard of longer ago may have been off, or its clock moved ahead."""
BACK = timedelta(minutes=1)
HELD = timedelta(days=1)
_KIND, _NAME = "clock", "leap"


def note_start(context: Context) -> None:
    """To be called before any role says that it lives."""
    now = context.clock.steady()
    with context.database.read() as connection:
        beats = alarms.role_beats(connection)
    if not beats:
        return
    since = now - max(beats.values())
    if -BACK <= since <= REST:
        return
    context.database.write(lambda c: audit.note_activity(c, _KIND, _NAME, now))
    work(log, "the clock was moved, or the bridge stood long", logging.WARNING, count=round(since.total_seconds()))


def last_leap(connection: Connection) -> datetime | None:
    """When a start found the clock in doubt, in steady time."""
    leaps: list[datetime] = [
        row["at"]  # type: ignore[misc]
        for row in audit.activities(connection)
        if (row["kind"], row["name"]) == (_KIND, _NAME)
    ]
    return leaps[0] if leaps else None


def held(leapt: datetime, steady: datetime) -> timedelta:
    """How long nothing is deleted yet. A leap that lies ahead was noted by the wrong clock, and is over."""
    left = leapt + HELD - steady
    return left if timedelta() < left <= HELD else timedelta()


def may_delete(connection: Connection, steady: datetime) -> bool:
    """Whether anything may go because of its age."""
    leapt = last_leap(connection)
    return leapt is None or not held(leapt, steady)
