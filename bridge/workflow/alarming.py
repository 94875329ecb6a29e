"""When somebody must be called: pure rules over one look at the service, and rows at their edges only.

An alarm begins at its limit and ends well below it, so that it does not flap between two looks.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import partial
from zoneinfo import ZoneInfo

from bridge.config import Alarms, FeedAlarms
from bridge.domain.publication import PublicationState
from bridge.log import work
from bridge.store import alarms, audit
from bridge.store.db import Connection
from bridge.workflow import leaping
from bridge.workflow.context import Context
from bridge.workflow.measuring import Facts, read_facts

log = logging.getLogger("bridge.alarms")
CALM = 0.8
"""An alarm ends below this part of its limit."""
AT_START = "start"
GRACE = timedelta(minutes=2)
"""After a start senders need a moment to connect again."""
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Kind(StrEnum):
    FEED_SILENT = "feed-silent"
    FEED_ERRORS = "feed-errors"
    QUARANTINE = "quarantine"
    PARKED_OLD = "parked-old"
    REVIEW_OLD = "review-old"
    OUTBOUND_OLD = "outbound-old"
    PUBLICATION_OLD = "publication-old"
    PUBLICATION_DEAD = "publication-dead"
    PERFORMED_OPEN = "performed-open"
    IMAGES_MISSING = "images-missing"
    COMMITMENT_OLD = "commitment-old"
    DISK_LOW = "disk-low"
    ROLE_SILENT = "role-silent"
    CLOCK_MOVED = "clock-moved"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. Neither `begins` nor `ends`: an alarm of it stays as it is."""

    kind: Kind
    subject: str
    value: float
    limit: float
    unit: str
    begins: bool
    ends: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.kind.value, self.subject

    @property
    def details(self) -> dict[str, object]:
        return {"value": round(self.value, 2), "limit": self.limit, "unit": self.unit}


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a feed is expected to speak. Hours are the wall clock's, `begin` before `end`; None is midnight."""

    days: frozenset[str]
    begin: time
    end: time | None
    holidays: frozenset[date]
    zone: ZoneInfo

    def working(self, since: datetime, until: datetime, enough: timedelta) -> timedelta:
        """Working time between two moments, counted back from the later one; no further than `enough`."""
        total, day = timedelta(), until.astimezone(self.zone).date()
        first = since.astimezone(self.zone).date()
        while day >= first and total < enough:
            opening, closing = self._hours(day)
            total += max(min(closing, until) - max(opening, since), timedelta())
            day -= timedelta(days=1)
        return total

    def _hours(self, day: date) -> tuple[datetime, datetime]:
        """The moments of opening and closing; the same one on a day off."""
        opening = datetime.combine(day, self.begin, self.zone).astimezone(UTC)
        if DAYS[day.weekday()] not in self.days or day in self.holidays:
            return opening, opening
        last = day if self.end else day + timedelta(days=1)
        return opening, datetime.combine(last, self.end or time(), self.zone).astimezone(UTC)


def calendar(settings: Alarms, feed: FeedAlarms | None, zone: ZoneInfo) -> Calendar:
    """The site's working time, or what a feed says instead."""
    days = settings.working_days if feed is None or feed.working_days is None else feed.working_days
    hours = (feed.working_hours if feed else None) or settings.working_hours
    begin, _, end = hours.partition("-")
    closing = None if end == "24:00" else time.fromisoformat(end)
    return Calendar(frozenset(days), time.fromisoformat(begin), closing, settings.holidays, zone)


def findings(
    facts: Facts, settings: Alarms, zone: ZoneInfo, *, up: timedelta, roles: Collection[str] = ()
) -> Iterator[Finding]:
    """Everything that is watched; `up` is how long the watcher has run."""
    yield from _feeds(facts, settings, zone, up)
    yield from _waiting(facts, settings)
    for queue in facts.queues:
        age = _minutes(facts.at, queue.oldest) if queue.oldest else 0
        yield _over(Kind.OUTBOUND_OLD, queue.destination, age, settings.outbound_minutes, "min")
    yield from _publications(facts, settings)
    yield from _performed(facts, settings)
    yield from _commitments(facts, settings)
    yield from _clock(facts, settings)
    yield _room("archive", facts.free_bytes, settings)
    if facts.database_free_bytes is not None:
        yield _room("database", facts.database_free_bytes, settings)
    for role in roles:
        beat, limit = facts.roles.get(role), settings.role_silent_seconds
        age = (facts.steady - beat).total_seconds() if beat else up.total_seconds()
        # What was last heard before the start begins no alarm yet.
        begins = 0 < limit <= min(age, up.total_seconds())
        yield Finding(Kind.ROLE_SILENT, role, age, limit, "s", begins, limit == 0 or age < limit * CALM)


def _room(subject: str, free: int, settings: Alarms) -> Finding:
    least = float(settings.disk_free_bytes)
    return Finding(Kind.DISK_LOW, subject, float(free), least, "bytes", free < least, free >= least / CALM)


def _feeds(facts: Facts, settings: Alarms, zone: ZoneInfo, up: timedelta) -> Iterator[Finding]:
    special = {feed.name: feed for feed in settings.feed}
    for feed in facts.feeds:
        own = special.get(feed.name)
        limit = settings.silent_minutes if own is None or own.silent_minutes is None else own.silent_minutes
        if feed.last_at is not None:  # one that has never spoken is not in service yet
            enough = timedelta(minutes=limit)
            silent = calendar(settings, own, zone).working(feed.last_at, facts.at, enough)
            quiet = limit > 0 and silent >= enough
            value = silent.total_seconds() / 60
            yield Finding(Kind.FEED_SILENT, feed.name, value, limit, "min", quiet and up >= GRACE, not quiet)
        if feed.recent >= settings.error_least:
            share = feed.refused / feed.recent
            yield _over(Kind.FEED_ERRORS, feed.name, share, settings.error_share, "share")


def _waiting(facts: Facts, settings: Alarms) -> Iterator[Finding]:
    for one in facts.waiting:
        age = _minutes(facts.at, one.oldest)
        if one.kind == "message-quarantined":
            yield Finding(Kind.QUARANTINE, one.feed, one.count, 1, "frames", True, False)
        if one.kind == "order-parked":
            yield _over(Kind.PARKED_OLD, one.feed, age, settings.parked_minutes, "min")
    oldest: dict[str, datetime] = {}
    for one in facts.waiting:
        if one.kind != "order-parked":
            oldest[one.kind] = min(one.oldest, oldest.get(one.kind, one.oldest))
    for kind, since in oldest.items():
        yield _over(Kind.REVIEW_OLD, kind, _minutes(facts.at, since) / 60, settings.review_hours, "h")


def _publications(facts: Facts, settings: Alarms) -> Iterator[Finding]:
    oldest: dict[str, datetime] = {}
    for one in facts.owed:
        if one.state == PublicationState.DEAD:
            yield Finding(Kind.PUBLICATION_DEAD, one.connection, one.count, 1, "studies", True, False)
        else:
            oldest[one.connection] = min(one.oldest, oldest.get(one.connection, one.oldest))
    for connection, since in oldest.items():
        age = _minutes(facts.at, since)
        yield _over(Kind.PUBLICATION_OLD, connection, age, settings.publication_minutes, "min")


def _performed(facts: Facts, settings: Alarms) -> Iterator[Finding]:
    """By device: an exam that was begun and is neither ended nor heard of keeps its order in progress for ever."""
    silent: dict[str, datetime] = {}
    for step in facts.open_steps:
        silent[step.calling_ae_title] = min(step.last_at, silent.get(step.calling_ae_title, step.last_at))
    for device, since in silent.items():
        yield _over(Kind.PERFORMED_OPEN, device, _minutes(facts.at, since) / 60, settings.performed_hours, "h")
    for device, exams in facts.images_missing.items():
        yield Finding(Kind.IMAGES_MISSING, device, exams, 1, "exams", True, False)


def _commitments(facts: Facts, settings: Alarms) -> Iterator[Finding]:
    """By device: one that does not hear that its images are safe may fill up, or delete them unheard."""
    oldest: dict[str, datetime] = {}
    for one in facts.commitments:
        oldest[one.calling_ae_title] = min(one.oldest, oldest.get(one.calling_ae_title, one.oldest))
    for device, since in oldest.items():
        yield _over(Kind.COMMITMENT_OLD, device, _minutes(facts.at, since) / 60, settings.commitment_hours, "h")


def _clock(facts: Facts, settings: Alarms) -> Iterator[Finding]:
    """Queues do not mind; stamps, tokens, and the day that a worklist shows do. Of each node its own clock."""
    moved = abs((facts.at - facts.steady).total_seconds())
    yield _over(Kind.CLOCK_MOVED, socket.gethostname(), moved, settings.clock_seconds, "s")
    if facts.leapt is not None and settings.clock_seconds and (left := leaping.held(facts.leapt, facts.steady)):
        yield Finding(Kind.CLOCK_MOVED, AT_START, left.total_seconds() / 3600, 0, "h", True, False)


def _over(kind: Kind, subject: str, value: float, limit: float, unit: str) -> Finding:
    off = limit == 0
    return Finding(kind, subject, value, limit, unit, not off and value >= limit, off or value < limit * CALM)


def _minutes(at: datetime, since: datetime) -> float:
    return (at - since).total_seconds() / 60


@dataclass(frozen=True, slots=True)
class Edges:
    """What begins, and the keys of what ends."""

    begun: list[Finding] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.begun or self.ended)


def edges(found: Collection[Finding], open_keys: Collection[tuple[str, str]]) -> Edges:
    """An open alarm ends when its finding says so, or when there is nothing left to look at."""
    by_key = {one.key: one for one in found}
    return Edges(
        [one for key, one in by_key.items() if one.begins and key not in open_keys],
        [key for key in open_keys if key not in by_key or by_key[key].ends],
    )


class Alarming:
    """The worker's watch: `check` every few seconds."""

    def __init__(self, context: Context, roles: Collection[str]) -> None:
        self._context = context
        self._roles = tuple(roles)
        self._started = context.clock.monotonic()
        self._first = True

    def check(self) -> None:
        """Look once. Raises `StoreUnavailable`; the next look sees the same."""
        settings = self._context.settings
        up = timedelta(seconds=self._context.clock.monotonic() - self._started)
        facts = read_facts(self._context)
        found = tuple(findings(facts, settings.alarms, settings.site.zone, up=up, roles=self._roles))
        with self._context.database.read() as connection:
            known = self._open(connection)
        if not edges(found, known.keys()):
            self._first = False
            return
        for state, kind, subject, details in self._context.database.write(partial(self._write, found=found)):
            level = logging.WARNING if state == "began" else logging.INFO
            work(log, "alarm", level, rule=kind, where=subject, state=state, count=details.get("value"))
        self._first = False

    def _write(
        self, connection: Connection, found: tuple[Finding, ...]
    ) -> list[tuple[str, str, str, dict[str, object]]]:
        """The edges against what stands open in this transaction: another node may have been first."""
        at, told = self._context.clock.now(), list[tuple[str, str, str, dict[str, object]]]()
        known = self._open(connection)
        change = edges(found, known.keys())
        for one in change.begun:
            key = alarms.begin_alarm(connection, one.kind.value, one.subject, one.details, at)
            told.append(("began", one.kind.value, one.subject, one.details))
            self._audit(connection, key, *told[-1], at)
        values = {one.key: one.details for one in found}
        for kind_subject in change.ended:
            if alarms.end_alarm(connection, known[kind_subject], at):
                told.append(("ended", *kind_subject, values.get(kind_subject, {})))
                self._audit(connection, known[kind_subject], *told[-1], at)
        return told

    def _audit(
        self,
        connection: Connection,
        key: int,
        state: str,
        kind: str,
        subject: str,
        details: dict[str, object],
        at: datetime,
    ) -> None:
        audit.write_audit(
            connection,
            at=at,
            who="role:worker",
            action=f"alarm-{state}",
            subject=f"alarm:{key}",
            details={"kind": kind, "subject": subject, **details},
        )

    def _open(self, connection: Connection) -> dict[tuple[str, str], int]:
        """The open alarms by kind and subject; at the first look also those of other nodes' clocks: of one that is
        gone it ends, of one that is here it soon begins again."""
        return {
            (row["kind"], row["subject"]): row["id"]
            for row in alarms.open_alarms(connection)
            if self._first or row["kind"] != Kind.CLOCK_MOVED or row["subject"] in (AT_START, socket.gethostname())
        }
