"""Old messages go, in small steps that no acknowledgement waits for."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from functools import partial

from bridge.store import audit, inbox
from bridge.store.db import Connection
from bridge.workflow import leaping
from bridge.workflow.context import Context

STEP_ROWS = 200
STEP_BYTES = 1024 * 1024
"""Deleting a large message walks all its pages under the lock."""
REST = timedelta(hours=1)
"""Between two passes over all messages."""


class Retention:
    """`purge_due` is for one thread: it walks the messages once an hour, oldest first, a step a call."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._after = 0
        self._resting_until = 0.0
        self._pause = threading.Event()

    def purge_due(self) -> int:
        """Look at the next rows and delete those whose time is over: 1 while there is more to look at, else 0."""
        clock = self._context.clock
        if clock.monotonic() < self._resting_until:
            return 0
        before = clock.steady() - timedelta(days=self._context.settings.hl7.keep_days)
        with self._context.database.read() as connection:
            if not leaping.may_delete(connection, clock.steady()):
                return 0
            window = inbox.next_window(connection, self._after, STEP_ROWS, STEP_BYTES)
        if window is not None:
            begun = clock.monotonic()
            self._context.database.write(partial(self._purge, to=window[0], before=before))
            # Who held the lock for so long leaves it alone as long.
            self._pause.wait(clock.monotonic() - begun)
        if window is None or window[1] >= before:
            self._after = 0
            self._resting_until = clock.monotonic() + REST.total_seconds()
            return 0
        self._after = window[0]
        return 1

    def _purge(self, connection: Connection, to: int, before: datetime) -> None:
        count = inbox.purge_window(connection, self._after, to, before)
        if count:
            at = self._context.clock.now()
            audit.write_audit(
                connection, at=at, who="worker", action="message-purge", subject="messages", details={"count": count}
            )
