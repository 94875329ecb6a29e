"""What a device's query leaves behind in the store: written beside the answers, never before them or between.

A worklist is read, and reading goes on when the database is full or another program holds it locked. Were the note
that a device has asked written first, that disk would blind every scanner; so a thread of its own writes the notes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import partial

from bridge.config import DicomPeer
from bridge.dicom.services import AcquiringService, WorklistService
from bridge.domain.worklist import WorklistKeys
from bridge.errors import BridgeError, StoreBroken
from bridge.log import work

MOST_DEVICES = 1024
"""Devices with a note that waits. More of them is a store that has been away for long, or titles that are made up."""
log = logging.getLogger("bridge.dicom.worklist")


@dataclass(slots=True)
class _Told:
    peer: DicomPeer
    steps: dict[int, str] = field(default_factory=dict)  # '' = could be told
    issuers: set[str] = field(default_factory=set)


class Notes:
    """Keeps one note a device, the newest of each; `broken` is called when the store says that a sync has failed."""

    def __init__(self, worklist: WorklistService, acquiring: AcquiringService, broken: Callable[[], None]) -> None:
        self._worklist = worklist
        self._acquiring = acquiring
        self._broken = broken
        self._changed = threading.Condition()
        self._asked: dict[str, WorklistKeys] = {}
        self._told: dict[str, _Told] = {}
        self._refused: dict[tuple[str, str], str] = {}
        self._thread: threading.Thread | None = None
        self._writing = self._closed = False

    def asked(self, calling: str, keys: WorklistKeys) -> None:
        """A device has asked for a worklist."""
        with self._changed:
            if not self._closed and len(self._asked) < MOST_DEVICES:
                self._asked[calling] = keys
                self._wake()

    def told(
        self, peer: DicomPeer, withheld: Mapping[int, str], shown: Set[int], issuers: Set[str] = frozenset()
    ) -> None:
        """Which steps the device could not be told, each with the tag to blame, which it could, and the authorities of
        the Patient IDs that came without their names."""
        if not (withheld or shown or issuers):
            return
        with self._changed:
            if not self._closed and len(self._told) < MOST_DEVICES:
                told = self._told.setdefault(peer.ae_title, _Told(peer))
                # What a query did not ask for stays as the one before it left it.
                told.steps.update(dict.fromkeys(shown, ""))
                told.steps.update(withheld)
                told.issuers.update(issuers)
                self._wake()

    def refused(self, address: str, calling: str, code: str) -> None:
        """An association or an operation was refused; of many for one reason from an address the first is noted."""
        with self._changed:
            if not self._closed and len(self._refused) < MOST_DEVICES:
                self._refused.setdefault((address, code), calling)
                self._wake()

    def close(self, seconds: float = 0.0) -> bool:
        """Take no more; False when something still waited after so many seconds (a later query tells it again)."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not (self._anything or self._writing), seconds)

    @property
    def _anything(self) -> bool:
        return bool(self._asked or self._told or self._refused)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="worklist-notes", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._anything or self._closed)
                asked, self._asked = self._asked, {}
                told, self._told = self._told, {}
                refused, self._refused = self._refused, {}
                if not (asked or told or refused):
                    return
                self._writing = True
            for calling, keys in asked.items():
                self._write(calling, partial(self._acquiring.note_query, calling))
                self._write(calling, partial(self._worklist.note_asked, calling, keys))
            for (address, code), calling in refused.items():
                self._write(calling, partial(self._acquiring.note_refused, address, calling, code))
            for title, one in told.items():
                withheld = {step: tag for step, tag in one.steps.items() if tag}
                shown = one.steps.keys() - withheld.keys()
                if one.steps:
                    self._write(title, partial(self._worklist.note_unreadable, one.peer, withheld, shown))
                if one.issuers:
                    self._write(title, partial(self._worklist.note_issuers, one.peer, frozenset(one.issuers)))

    def _write(self, title: str, note: Callable[[], None]) -> None:
        try:
            note()
        except StoreBroken:
            work(log, "storage broken", logging.CRITICAL, code="store-broken")
            self._broken()
        except BridgeError as fault:
            work(log, "not noted", logging.WARNING, aet=title, error=fault.code)
        except Exception as error:  # a thread that died would note nothing more
            log.error("unexpected failure in a note", exc_info=error)
