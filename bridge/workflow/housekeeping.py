"""What runs beside the work: describing stored files for viewers, and checkpoints. In small pieces."""

from __future__ import annotations

import logging
from functools import partial

from bridge.errors import BridgeError
from bridge.log import work
from bridge.store import studies
from bridge.store.db import Connection
from bridge.workflow.context import Context
from bridge.workflow.ports import Describer, InstanceDocument

log = logging.getLogger("bridge.housekeeping")


class Housekeeping:
    def __init__(self, context: Context, describe: Describer) -> None:
        self._context = context
        self._describe = describe

    def describe_due(self, limit: int = 20) -> int:
        """Make the DICOM JSON and the frame places of new instances: a cache, so a fault only costs the next reader."""
        with self._context.database.read() as connection:
            due = studies.undescribed(connection, limit)
        for instance_id, file in due:
            try:
                document = self._describe(self._context.settings.archive / file)
            except (BridgeError, OSError) as fault:
                work(log, "describe", logging.WARNING, outcome="failed", error=type(fault).__name__)
                document = InstanceDocument(b"{}", ())
            self._context.database.write(partial(_store, instance_id=instance_id, document=document))
        return len(due)

    def checkpoint(self) -> None:
        self._context.database.checkpoint()


def _store(connection: Connection, instance_id: int, document: InstanceDocument) -> None:
    studies.add_document(connection, instance_id, document.json, document.frames)
