"""What the service looks like now, in numbers: the facts of the alarms, and what a scrape adds to them."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bridge.config import Settings
from bridge.domain.performed import OpenStep
from bridge.store import alarms, commitment, outbound, performed, review, studies
from bridge.store.alarms import FeedFacts, Owed, Waiting
from bridge.store.commitment import Undelivered
from bridge.store.db import Connection
from bridge.store.outbound import QueueState
from bridge.workflow import leaping
from bridge.workflow.attending import LISTED, MISSING
from bridge.workflow.context import Context

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Facts:
    """One look. `roles` are the newest heartbeats by role, in steady time as `steady` and `leapt` are (leaping.py).

    `images_missing` counts by device the exams of which listed images did not come in time.
    `free_bytes` are those under the archive, `database_free_bytes` those under a database on another disk.
    """

    at: datetime
    steady: datetime
    leapt: datetime | None
    feeds: tuple[FeedFacts, ...]
    waiting: tuple[Waiting, ...]
    queues: tuple[QueueState, ...]
    owed: tuple[Owed, ...]
    roles: dict[str, datetime]
    free_bytes: int
    database_free_bytes: int | None = None
    open_steps: tuple[OpenStep, ...] = ()
    images_missing: Mapping[str, int] = field(default_factory=dict)
    commitments: tuple[Undelivered, ...] = ()


@dataclass(frozen=True, slots=True)
class Measures:
    """`rates` are messages kept by feed in the last minute and hour; `studies` (state, match state, count)."""

    facts: Facts
    rates: dict[str, tuple[int, int]]
    done: int
    studies: tuple[tuple[str, str, int], ...]
    alarms: tuple[dict[str, Any], ...]


def read_facts(context: Context) -> Facts:
    """Raises `StoreUnavailable`."""
    settings = context.settings
    feeds = tuple(feed.name for feed in settings.hl7.feed)
    with context.database.read() as connection:
        return Facts(
            at=context.clock.now(),
            steady=context.clock.steady(),
            leapt=leaping.last_leap(connection),
            feeds=alarms.feed_facts(connection, feeds, settings.alarms.error_window),
            waiting=alarms.waiting(connection),
            queues=tuple(outbound.queue_states(connection)),
            owed=alarms.owed_publications(connection),
            roles=alarms.role_beats(connection),
            free_bytes=room(settings.archive),
            database_free_bytes=_database_free(settings),
            open_steps=tuple(performed.open_steps(connection)),
            images_missing=_images_missing(connection),
            commitments=commitment.undelivered(connection),
        )


def _images_missing(connection: Connection) -> Mapping[str, int]:
    found = review.reviews_of(connection, MISSING, LISTED)
    return Counter(str(details.get("aet", "")) for details in found.values())


def _database_free(settings: Settings) -> int | None:
    """None when the database shares the archive's file system, or lies on a server."""
    if settings.database.url or settings.data.stat().st_dev == settings.archive.stat().st_dev:
        return None
    return room(settings.data)


def room(folder: Path) -> int:
    """Bytes that can still be written there. 0 where no file can be made: a disk that has become read-only tells of
    room all the same."""
    try:
        with tempfile.TemporaryFile(dir=folder):  # has no name, so nothing is left of it
            return shutil.disk_usage(folder).free
    except OSError:
        return 0


def read_measures(context: Context) -> Measures:
    """Raises `StoreUnavailable`."""
    facts = read_facts(context)
    with context.database.read() as connection:
        rates = {
            feed.name: (
                alarms.rate(connection, feed.name, facts.at, MINUTE),
                alarms.rate(connection, feed.name, facts.at, HOUR),
            )
            for feed in facts.feeds
        }
        return Measures(
            facts,
            rates,
            alarms.done_publications(connection),
            tuple(studies.count_by_state(connection)),
            tuple(alarms.open_alarms(connection)),
        )
