"""What devices began, or ended, and nothing followed: exams without an order, exams that nobody ends, images that do
not come. In sight of a person each, and out of it by itself when what was missed is there."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Any

from bridge.domain.performed import OpenStep, PerformedStatus
from bridge.log import work
from bridge.store import audit, performed, review
from bridge.store.db import Connection
from bridge.workflow.context import Context
from bridge.workflow.performing import OPEN, UNSCHEDULED

MISSING = "images-missing"
LISTED, NO_ORDER, SILENT = "listed-by-mpps", "no-order", "silent"
AT_ONCE = 50
log = logging.getLogger("bridge.attending")


class Attending:
    """The worker's look at the performed steps, every few seconds; each entry is a transaction of its own."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def look(self) -> None:
        """Raises `StoreUnavailable`; the next look sees the same."""
        self._look_for_orders()
        self._look_for_images()
        self._look_for_ends()

    # -- exams without an order ---------------------------------------------------------------------------------------

    def _look_for_orders(self) -> None:
        minutes = self._context.settings.performed.unscheduled_minutes
        before = self._context.clock.now() - timedelta(minutes=minutes)
        with self._context.database.read() as connection:
            due = performed.unscheduled(connection, before, AT_ONCE) if minutes else []
        for row in due:
            if self._context.database.write(partial(self._tell_unscheduled, row=row)):
                work(log, "exam without an order", aet=row.calling_ae_title)

    def _tell_unscheduled(self, connection: Connection, row: Any) -> bool:
        """False where nothing was made, or where the study's own entry asks for its order."""
        if not performed.get_performed(connection, row.id).unscheduled:
            return False  # an order came in between
        performed.looked_after(connection, row.id, "unscheduled")
        nothing_made = row.status == PerformedStatus.DISCONTINUED and not row.instances
        if nothing_made or performed.studies_of_performed(connection, row.id):
            return False
        details = {"aet": row.calling_ae_title, "modality": row.modality}
        self._open(connection, UNSCHEDULED, row.id, NO_ORDER, details)
        return True

    # -- images that a device lists -----------------------------------------------------------------------------------

    def _look_for_images(self) -> None:
        minutes = self._context.settings.performed.images_missing_minutes
        overdue = self._context.clock.now() - timedelta(minutes=minutes)
        with self._context.database.read() as connection:
            rows = performed.awaited(connection)
            known = review.reviews_of(connection, MISSING, LISTED)
        for row in rows:
            is_known = f"performed:{row.id}" in known
            if not row.lacks:
                self._context.database.write(partial(self._all_here, row=row))
            elif minutes and row.updated_at <= overdue:
                told = self._context.database.write(partial(self._tell_missing, row=row))
                if told and not is_known:
                    work(log, "images missing", logging.WARNING, aet=row.calling_ae_title, count=told)

    def _all_here(self, connection: Connection, row: Any) -> None:
        performed.looked_after(connection, row.id, "awaited")
        at, subject = self._context.clock.now(), f"performed:{row.id}"
        review.close_review(connection, (MISSING,), subject, at, "bridge", "all that is listed is here")

    def _tell_missing(self, connection: Connection, row: Any) -> int:
        """How many, 0 when a person has closed the entry: they have dealt with it."""
        subject, missing = f"performed:{row.id}", performed.count_lacking(connection, row.id)
        before = review.newest_of(connection, MISSING, subject, LISTED)
        if before and not review.is_open(connection, MISSING, subject):
            performed.looked_after(connection, row.id, "awaited")
            return 0
        studies = performed.studies_of_performed(connection, row.id)
        details = {"missing": missing, "listed": row.instances, "aet": row.calling_ae_title, "studies": studies}
        if missing and details != before:
            self._open(connection, MISSING, row.id, LISTED, details)
        return missing

    # -- exams that nobody ends ---------------------------------------------------------------------------------------

    def _look_for_ends(self) -> None:
        hours = self._context.settings.alarms.performed_hours
        since = self._context.clock.now() - timedelta(hours=hours)
        with self._context.database.read() as connection:
            silent = [step for step in performed.open_steps(connection) if hours and step.last_at <= since]
            known = review.reviews_of(connection, OPEN, SILENT)
        silent_subjects = {f"performed:{step.id}" for step in silent}
        for step in silent:
            if f"performed:{step.id}" not in known:
                self._context.database.write(partial(self._tell_silent, step=step))
        for subject in known.keys() - silent_subjects:
            self._context.database.write(partial(self._heard_of, subject=subject))

    def _tell_silent(self, connection: Connection, step: OpenStep) -> None:
        details = {"aet": step.calling_ae_title, "modality": step.modality, "since": step.last_at.isoformat()}
        if review.newest_of(connection, OPEN, f"performed:{step.id}", SILENT) != details:
            self._open(connection, OPEN, step.id, SILENT, details)

    def _heard_of(self, connection: Connection, subject: str) -> None:
        at = self._context.clock.now()
        review.close_review(connection, (OPEN,), subject, at, "bridge", "its device was heard of, or it has ended")

    def _open(self, connection: Connection, kind: str, key: int, reason: str, details: dict[str, Any]) -> None:
        at, subject = self._context.clock.now(), f"performed:{key}"
        if not review.is_open(connection, kind, subject):
            audit.write_audit(
                connection, at=at, who="role:worker", action=kind, subject=subject, outcome=reason, details=details
            )
        review.open_review(connection, kind, subject, reason, at, details)
