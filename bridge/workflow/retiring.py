"""Images whose time is over: found by the site's rules, hidden at once, deleted in small pieces, rows before files.

Nothing goes that somebody still needs (`Kept`), and nothing while a backup runs. `plan` is the same look without the
deed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from bridge.config import RetentionRule
from bridge.domain.retention import Kept, Planned, fits
from bridge.domain.study import MatchState, StudyState
from bridge.errors import NotFound, StateConflict
from bridge.log import work
from bridge.store import audit, commitment, retirement, studies
from bridge.store.backup import deleting
from bridge.store.db import Connection
from bridge.workflow import leaping, publishing
from bridge.workflow.context import Context

WINDOW = 200
PIECE = 100
AUDIT_PIECE = 500
REST = timedelta(hours=1)
"""Between two passes over all studies."""
BY_NOTE = "113039: a note says that their retention has expired"
log = logging.getLogger("bridge.retiring")


class Waiting(NamedTuple):
    """What waits for a person (subjects of the review list), and the instances that devices wait to hear of."""

    subjects: set[str]
    committed: frozenset[str]


def _waiting(connection: Connection) -> Waiting:
    return Waiting(retirement.open_subjects(connection), commitment.open_instances(connection))


class Retiring:
    """`retire_due` is for one thread: a step a call. `remove` takes a file of the archive away."""

    def __init__(self, context: Context, remove: Callable[[str], None]) -> None:
        self._context = context
        self._remove = remove
        self._after = 0
        self._audit_after = 0
        self._resting_until = 0.0
        self._pause = threading.Event()

    def retire_due(self) -> int:
        """Delete the next piece of what is going, else look for what may go: 1 while there is more, else 0."""
        with self._context.database.read() as connection:
            going = retirement.open_retirement(connection)
            certain = leaping.may_delete(connection, self._context.clock.steady())
        if going is not None:
            return self._in_turn(partial(self._piece, going))
        if not certain or self._context.clock.monotonic() < self._resting_until:
            return 0
        if self._look() or self._in_turn(self._old_asides) or self._old_audit():
            return 1
        self._after = self._audit_after = 0
        self._resting_until = self._context.clock.monotonic() + REST.total_seconds()
        return 0

    def _in_turn(self, step: Callable[[], int]) -> int:
        """A piece, not while a backup runs; whoever held the lock for so long leaves it alone as long."""
        begun = self._context.clock.monotonic()
        with deleting(self._context.settings.data / "run") as free:
            done = step() if free else 0
        if done:
            self._pause.wait(self._context.clock.monotonic() - begun)
        return done

    # -- which ------------------------------------------------------------------------------------------------------

    def _look(self) -> int:
        """Begin with what is due in the next window of studies; 0 at their end."""
        settings, expired = self._context.settings.retention, list[int]()
        with self._context.database.read() as connection:
            window = retirement.study_window(connection, self._after, WINDOW) if settings.rule else []
            due = [one.study_id for one in look(connection, window, self._context) if not one.kept]
            if not self._after and settings.expired_notes == "delete":
                expired = retirement.expired_studies(connection)
        for study_id in due:
            self._context.database.write(partial(self._begin, study_id=study_id))
        begun = sum(self._context.database.write(partial(self._begin_by_note, study_id=one)) for one in expired)
        self._after = window[-1].id if window else self._after
        return len(window) + begun

    def _begin(self, connection: Connection, study_id: int) -> None:
        """Decided on what is so in this transaction: a person may have been quicker."""
        for found in look(connection, [retirement.study_row(connection, study_id)], self._context):
            if not found.kept:
                self._hide(connection, study_id, self._context.settings.retention.rule[found.rule].words, whole=True)

    def _begin_by_note(self, connection: Connection, study_id: int) -> int:
        """What a note has hidden goes too, once nobody needs the study."""
        waiting = _waiting(connection)
        if retirement.is_retiring(connection, study_id):
            return 0
        if any(_needed(connection, study_id, waiting, self._context)):
            return 0
        self._hide(connection, study_id, BY_NOTE, whole=False)
        return 1

    def _hide(self, connection: Connection, study_id: int, rule: str, *, whole: bool) -> None:
        """It is gone for everybody now; its rows and files go piece by piece."""
        retirement.begin_retirement(connection, study_id, rule, self._context.clock.now(), whole=whole)
        studies.new_version(connection, study_id)
        publishing.withdraw(connection, study_id, self._context)

    # -- the deed -----------------------------------------------------------------------------------------------------

    def _piece(self, going: Any) -> int:
        files = self._context.database.write(partial(retirement.delete_piece, open_row=going, limit=PIECE))
        for name in files:
            self._remove(name)
        if not files:
            self._context.database.write(partial(self._end, going=going))
        return 1

    def _end(self, connection: Connection, going: Any) -> None:
        at, study = self._context.clock.now(), f"study:{going.study_id}"
        gone = retirement.end_retirement(connection, going.id, going.study_id, at)
        details = {"instances": going.instances, "bytes": going.bytes, "whole": gone}
        audit.write_audit(
            connection,
            at=at,
            who="role:worker",
            action="study-retired",
            subject=study,
            outcome=going.rule,
            details=details,
        )
        work(log, "study retired", study_id=going.study_id, count=going.instances, rule=going.rule)

    def _old_asides(self) -> int:
        days = self._context.settings.retention.aside_days
        if not days:
            return 0
        at, before = self._context.clock.now(), self._context.clock.steady() - timedelta(days=days)

        def change(connection: Connection) -> list[str]:
            files = retirement.delete_old_asides(connection, before, PIECE)
            _audit_purge(connection, "aside-purge", "instances", len(files), at)
            return files

        files = self._context.database.write(change)
        for name in files:
            self._remove(name)
        return len(files)

    def _old_audit(self) -> int:
        days = self._context.settings.retention.audit_days
        if not days:
            return 0
        at, before = self._context.clock.now(), self._context.clock.steady() - timedelta(days=days)
        with self._context.database.read() as connection:
            window = retirement.audit_window(connection, self._audit_after, AUDIT_PIECE)
        if window is None:
            return 0

        def change(connection: Connection) -> None:
            count = retirement.purge_audit(connection, self._audit_after, window[0], before)
            _audit_purge(connection, "audit-purge", "audit", count, at)

        self._context.database.write(change)
        self._audit_after = window[0]
        return int(window[1] < before)


def _audit_purge(connection: Connection, action: str, subject: str, count: int, at: datetime) -> None:
    if count:
        details = {"count": count}
        audit.write_audit(connection, at=at, who="role:worker", action=action, subject=subject, details=details)


# -- the look, with or without the deed -----------------------------------------------------------------------------


def plan(context: Context, horizon: timedelta = timedelta()) -> Iterator[Planned]:
    """Every study whose time is over, or will be within the horizon."""
    after = 0
    while context.settings.retention.rule:
        with context.database.read() as connection:
            window = retirement.study_window(connection, after, WINDOW)
            found = look(connection, window, context, horizon)
        yield from found
        if not window:
            return
        after = window[-1].id


def look(connection: Connection, rows: list[Any], context: Context, horizon: timedelta = timedelta()) -> list[Planned]:
    """Of some studies those whose time is over, each with what keeps it."""
    found, until = list[Planned](), context.clock.steady() + horizon
    waiting = _waiting(connection)
    for row in rows:
        number = _rule_of(connection, row, until, context)
        if number is None:
            continue
        due, published = _due(connection, row, context.settings.retention.rule[number], context)
        instances, size = retirement.mass_of(connection, row.id)
        if due <= until and instances and not retirement.is_retiring(connection, row.id):
            kept = tuple(_kept(connection, row, published, waiting, context))
            found.append(Planned(row.id, number, due, instances, size, kept))
    return found


def _rule_of(connection: Connection, row: Any, until: datetime, context: Context) -> int | None:
    """The first rule that means a complete study; None also for one that is too young for every rule."""
    rules = context.settings.retention.rule
    if row.state != StudyState.COMPLETE or row.completed_at is None:
        return None
    if not any(row.completed_at + timedelta(days=rule.keep_days) <= until for rule in rules):
        return None
    modalities = retirement.modalities_of(connection, row.id)
    return next((number for number, rule in enumerate(rules) if fits(rule.modalities, modalities)), None)


def _due(connection: Connection, row: Any, rule: RetentionRule, context: Context) -> tuple[datetime, bool]:
    """When a study's time is over, and whether it was published as its rule wants it."""
    days = timedelta(days=rule.keep_days)
    if rule.after == "complete":
        return row.completed_at + days, True
    there = retirement.published_at(connection, row.id, row.version)
    wanted = {ehr.name for ehr in context.settings.ehr if ehr.imaging_study != "off"}
    if not wanted or not wanted <= there.keys():
        return row.completed_at + days, False
    return max(row.completed_at, *(there[name] for name in wanted)) + days, True


def _kept(connection: Connection, row: Any, published: bool, waiting: Waiting, context: Context) -> Iterator[Kept]:
    yield from _needed(connection, row.id, waiting, context)
    # What was rejected whole belongs to no order and is published nowhere, and goes with its time all the same.
    if retirement.is_shown(connection, row.id):
        if row.match_state != MatchState.MATCHED:
            yield Kept.UNMATCHED
        if not published:
            yield Kept.UNPUBLISHED


def _needed(connection: Connection, study_id: int, waiting: Waiting, context: Context) -> Iterator[Kept]:
    """By whom a study is needed, whatever rule or note lets it go."""
    if retirement.is_held(connection, study_id):
        yield Kept.HOLD
    if not waiting.subjects.isdisjoint(retirement.subjects_of(connection, study_id)):
        yield Kept.REVIEW
    if waiting.committed and not waiting.committed.isdisjoint(retirement.uids_of(connection, study_id)):
        yield Kept.COMMITMENT
    if retirement.is_viewed(connection, study_id, context.clock.now()):
        yield Kept.VIEWER


# -- holds ------------------------------------------------------------------------------------------------------------


def hold(context: Context, study: str, who: str, reason: str) -> int:
    """A person keeps a study from every rule; returns its number. `study` is that number, or its Study Instance UID.
    Raises `NotFound`, or `StateConflict` when it is on hold already or being deleted."""

    def change(connection: Connection) -> int:
        at, key = context.clock.now(), _study(connection, study)
        if retirement.is_retiring(connection, key):
            raise StateConflict("it is being deleted at this moment", where=f"study {key}")
        if not retirement.hold(connection, key, reason, at, who):
            raise StateConflict("it is on hold already", where=f"study {key}")
        audit.write_audit(connection, at=at, who=who, action="study-held", subject=f"study:{key}")
        return key

    return context.database.write(change)


def unhold(context: Context, study: str, who: str) -> int:
    """The rules count again for a study; returns its number. Raises `NotFound`, or `StateConflict` for one not held."""

    def change(connection: Connection) -> int:
        at, key = context.clock.now(), _study(connection, study)
        if not retirement.unhold(connection, key, at, who):
            raise StateConflict("it is not on hold", where=f"study {key}")
        audit.write_audit(connection, at=at, who=who, action="study-unheld", subject=f"study:{key}")
        return key

    return context.database.write(change)


def _study(connection: Connection, given: str) -> int:
    if given.isdigit():
        return int(studies.get_study(connection, int(given)).id)
    row = studies.find_study(connection, given)
    if row is None:
        raise NotFound("no such study", where="study")
    return int(row.id)
