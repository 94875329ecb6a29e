"""Patients who do not come: after some hours their steps are hidden, and shown again as soon as anybody is heard of.

No order changes and nobody is told: whether an exam is still to be done is for who ordered it. Each mark is in the
audit trail; it holds only while the step's start is the one that was missed, and only while that is long enough ago.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from functools import partial

from bridge.store import audit, worklist
from bridge.store.db import Connection
from bridge.workflow.context import Context

STEP_ROWS = 100


class Expiring:
    def __init__(self, context: Context) -> None:
        self._context = context

    def expire_due(self) -> int:
        """Mark the next steps that were missed; how many were found."""
        settings, now = self._context.settings, self._context.clock.steady()
        if not settings.worklist.no_show_hours:
            return 0
        zone, since = settings.site.zone, now.astimezone(UTC) - timedelta(hours=settings.worklist.no_show_hours)
        oldest = now.astimezone(zone) - timedelta(days=settings.worklist.age_days)
        with self._context.database.read() as connection:
            missed = worklist.missed_steps(
                connection,
                earliest=f"{oldest:%Y%m%d}",
                moment=f"{since.astimezone(zone):%Y%m%d%H%M%S}",
                silent_since=since,
                most=STEP_ROWS,
            )
        if missed:
            self._context.database.write(partial(self._mark, missed=missed))
        return len(missed)

    def _mark(self, connection: Connection, missed: list[tuple[int, str]]) -> None:
        at = self._context.clock.now()
        for step_id, start in missed:
            if worklist.mark_missed(connection, step_id, start):
                audit.write_audit(
                    connection, at=at, who="role:worker", action="step-no-show", subject=f"step:{step_id}"
                )
