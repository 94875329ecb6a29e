"""What other archives say of images (RAD-49): kept at once, applied in small pieces, and what follows for the study.

An instance that is ONLINE or NEARLINE elsewhere is as good as here for the question whether an exam's images came
(`store/performed.py` `is_here`). A study of which the archive has nothing left was deleted or rejected there, and the
notice does not say which of the two: it leaves the record and the viewer, and a person is told.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from bridge.domain.availability import AvailabilityNotice
from bridge.errors import StateConflict
from bridge.log import work
from bridge.store import audit, availability, outbox, review, studies
from bridge.store.db import Connection
from bridge.workflow import publishing
from bridge.workflow.context import Context

UNAVAILABLE = "images-unavailable"
PIECE = 100
log = logging.getLogger("bridge.noticing")


class Notices:
    """As archives send them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def take_notice(self, notice: AvailabilityNotice, calling_ae: str) -> None:
        """Kept when this returns. Raises `StateConflict` (code `duplicate`) for a UID that is known."""
        self._context.database.write(lambda c: self._take(c, notice, calling_ae))

    def _take(self, connection: Connection, notice: AvailabilityNotice, ae: str) -> None:
        at = self._context.clock.now()
        if not availability.add_notice(connection, notice, ae, at):
            raise StateConflict("the notification is known", where="(0000,1000)", code="duplicate")
        audit.note_activity(connection, "ian", ae, at)


class Noticing:
    """The worker's part."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def apply_due(self) -> int:
        """The next piece of the oldest notice; 1 when there was one."""
        with self._context.database.read() as connection:
            row = availability.next_notice(connection)
        if row is None:
            return 0
        piece = availability.instances_of(row)[row.applied : row.applied + PIECE]
        self._context.database.write(partial(self._apply, row=row, piece=piece))
        return 1

    def _apply(self, connection: Connection, row: Any, piece: Any) -> None:
        if not availability.apply_piece(connection, row, piece) or row.applied + len(piece) < row.count:
            return
        work(log, "availability", aet=row.calling_ae_title, count=row.count)
        study = studies.find_study(connection, row.study_instance_uid)
        if study is not None:
            self._follow(connection, study, row.calling_ae_title)

    def _follow(self, connection: Connection, study: Any, ae: str) -> None:
        at, subject = self._context.clock.now(), f"study:{study.id}"
        lost, shown = availability.lost_of_study(connection, study.id)
        gone = shown > 0 and lost == shown
        if gone != study.unavailable:
            studies.change_study(connection, study.id, {"unavailable": gone})
            studies.new_version(connection, study.id)
            publishing.withdraw(connection, study.id, self._context)
            word = "study-unavailable" if gone else "study-available"
            audit.write_audit(connection, at=at, who=f"ae:{ae}", action=word, subject=subject, outcome="ian")
        if not lost:
            review.close_review(connection, (UNAVAILABLE,), subject, at, "bridge", "the archive has all of it again")
        elif gone or outbox.publications_of(connection, study.id):
            details = {"aet": ae, "lost": lost, "of": shown}
            if gone:
                review.open_review(connection, UNAVAILABLE, subject, "archive-has-none", at, details)
            else:
                review.open_review(connection, UNAVAILABLE, subject, "archive-lacks-some", at, details)
