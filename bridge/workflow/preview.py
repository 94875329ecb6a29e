"""What messages would come to: tried on a store that is thrown away, by the very code that takes them in.

Nothing here reads or writes what the bridge holds: the first message meets an empty hospital.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bridge.clock import Clock
from bridge.config import DatabaseSettings, DicomPeer, Settings, Worklist, WorklistView
from bridge.config.worklist import EVERYONE
from bridge.domain.message import Envelope, Fate, Outcome, Reading
from bridge.domain.worklist import WorklistKeys
from bridge.domain.worklist_view import Listing
from bridge.store import review
from bridge.store.db import Database
from bridge.store.migrate import migrate
from bridge.workflow.context import Context
from bridge.workflow.intake import Intake
from bridge.workflow.worklist import WorklistDesk

RESENT = Outcome(Fate.IGNORED, warnings=("a resend: answered as before, no effect",))
_ALL_DATES = 36500
_ALL_ENTRIES = 1_000_000
_PARKED = frozenset({"order-parked", "order-conflict"})


@dataclass(frozen=True, slots=True)
class Parked:
    """What no scanner would be shown, and what a person needs to mend it (the sender's words, not the patient)."""

    reason: str
    details: dict[str, Any]


class Rehearsal:
    """An intake and a worklist over a temporary store; close it, or use it in a `with`.

    `every_date`: also steps that a real worklist would no longer show for their age.
    """

    def __init__(self, settings: Settings, clock: Clock, *, every_date: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bridge-rehearsal-")  # mode 0700
        folder = Path(self._folder.name)
        changes: dict[str, Any] = {"data": folder, "database": DatabaseSettings()}
        if every_date:
            changes["worklist"] = _of_every_date(settings.worklist)
        self.settings = settings.model_copy(update=changes)
        self._database = Database("", folder, on_broken=lambda: None)
        migrate(self._database)
        context = Context(self._database, self.settings, clock)
        self._intake = Intake(context)
        self._desk = WorklistDesk(context)

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()
        self._folder.cleanup()

    def take(self, envelope: Envelope, reading: Reading) -> Outcome:
        """What the message comes to after those before it."""
        outcomes: list[Outcome] = []

        def keep(outcome: Outcome) -> tuple[str, bytes]:
            outcomes.append(outcome)
            return "", b""

        self._intake.take(envelope, reading, keep)
        return outcomes[-1] if outcomes else RESENT

    def find(self, keys: WorklistKeys, peer: DicomPeer) -> Listing:
        """A device's query, as `WorklistDesk.find`."""
        return self._desk.find(keys, peer)

    def stations(self) -> list[str]:
        """Every AE title that has something to do, by name."""
        return self._desk.stations()

    def parked(self) -> list[Parked]:
        with self._database.read() as connection:
            rows = review.open_reviews(connection)
        return [Parked(str(row["reason"]), dict(row["details"])) for row in rows if row["kind"] in _PARKED]  # type: ignore[call-overload]


def _of_every_date(worklist: Worklist) -> Worklist:
    """What each device would be shown, were every day today and no list too long."""
    unbounded = {"limit": _ALL_ENTRIES, "default_window": False}
    rows = [row.model_copy(update=unbounded) for row in worklist.view]
    if not any(row.peers == EVERYONE for row in rows):
        rows.append(WorklistView(peers=EVERYONE, limit=_ALL_ENTRIES))
    return worklist.model_copy(update={"age_days": _ALL_DATES, "view": tuple(rows)})
