"""Reports of commitment on the association that asked for them (PS3.4 J.3.3), for a device that listens nowhere itself.

Nothing is sent while an operation runs or the device speaks: one that waits for an answer would take it for that. The
worker checks meanwhile; what cannot be told here, it tells on an association of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from pynetdicom.dimse_primitives import N_EVENT_REPORT

from bridge import log as logs
from bridge.clock import Clock
from bridge.dicom.commitment import INSTANCE, event_information
from bridge.dicom.insides import encode_identifier
from bridge.dicom.policy import COMMITMENT
from bridge.dicom.services import Services
from bridge.domain.commitment import ClaimedReport
from bridge.errors import BridgeError, StoreBroken
from bridge.workflow.committing import SAME_SECONDS

T = TypeVar("T")
log = logging.getLogger("bridge.dicom.ae")

QUIET_SECONDS = 0.5
RESPONSE = 0x8100
"""Command Field of an N-EVENT-REPORT-RSP (PS3.7 E.1-1)."""


@dataclass(slots=True)
class _Owed:
    """A request of this association. `message_id` is that of our report, once it is sent."""

    calling_ae: str
    transaction_uid: str
    context: Any
    until: float
    claimed: ClaimedReport | None = None
    message_id: int = 0


@dataclass(slots=True)
class _Busy:
    """Operations that run on an association, and when one last began or ended."""

    running: int
    at: float


class Reports:
    """What associations are owed. `speak` is for whoever may write to the association at that moment."""

    def __init__(self, services: Services, clock: Clock) -> None:
        self._services = services
        self._clock = clock
        self._lock = threading.Lock()
        self._owed: WeakKeyDictionary[Any, list[_Owed]] = WeakKeyDictionary()
        self._numbers = 0
        self._busy: WeakKeyDictionary[Any, _Busy] = WeakKeyDictionary()

    def expect(self, association: Any, calling_ae: str, transaction_uid: str, context: Any) -> None:
        """An N-ACTION was taken: its device waits on this association for as long as the worker leaves it to us."""
        until = self._clock.monotonic() + SAME_SECONDS
        with self._lock:
            owed = self._owed.setdefault(association, [])
            owed[:] = [one for one in owed if one.transaction_uid != transaction_uid]
            owed.append(_Owed(calling_ae, transaction_uid, context, until))

    def owes(self, association: Any) -> bool:
        """Whether there is something to tell, or an answer to wait for."""
        with self._lock:
            owed = self._owed.get(association, [])
            late = [one for one in owed if self._clock.monotonic() >= one.until]
            owed[:] = [one for one in owed if one not in late]
            left = bool(owed)
        for one in late:
            self._give_up(one)
        return left

    def busy(self, association: Any, more: int) -> None:
        """An operation begins (1) or ends (-1)."""
        with self._lock:
            one = self._busy.setdefault(association, _Busy(0, 0))
            one.running, one.at = one.running + more, self._clock.monotonic()

    def quiet(self, association: Any) -> bool:
        """Whether nothing runs there, nor has for a while."""
        with self._lock:
            one = self._busy.get(association, _Busy(0, 0))
            return one.running == 0 and self._clock.monotonic() - one.at >= QUIET_SECONDS

    def speak(self, association: Any) -> None:
        """Send what the worker has found, if it has: one report at a time."""
        with self._lock:
            owed = next(iter(self._owed.get(association, [])), None)
        if owed is None or owed.claimed is not None:
            return
        claimed = self._try(partial(self._services.committing.claim_report, owed.calling_ae, owed.transaction_uid))
        if claimed is None:
            return
        self._numbers += 1
        owed.claimed, owed.message_id = claimed, self._numbers % 65535
        report = N_EVENT_REPORT()
        report.MessageID = owed.message_id
        report.AffectedSOPClassUID, report.AffectedSOPInstanceUID = COMMITMENT, INSTANCE
        report.EventTypeID = claimed.result.event_type
        data = encode_identifier(event_information(claimed.result), owed.context.transfer_syntax)
        report.EventInformation = BytesIO(data)
        association.dimse.send_msg(report, owed.context.context_id)

    def heard(self, association: Any, message_id: int, status: int) -> None:
        """The device has answered a report."""
        with self._lock:
            owed = self._owed.get(association, [])
            found = next((one for one in owed if one.claimed is not None and one.message_id == message_id), None)
            if found is not None:
                owed.remove(found)
        if found is not None and found.claimed is not None:
            self._try(partial(self._services.committing.settle_report, found.claimed, status))

    def gone(self, association: Any) -> None:
        """The association has ended: the worker tells what was not told."""
        with self._lock:
            owed = self._owed.pop(association, [])
        for one in owed:
            self._give_up(one)

    def _give_up(self, owed: _Owed) -> None:
        if owed.claimed is not None:
            self._try(partial(self._services.committing.settle_report, owed.claimed, None))

    def _try(self, act: Callable[[], T]) -> T | None:
        """The association goes on without it: the lease ends, and the worker tells what was not told."""
        try:
            return act()
        except StoreBroken:
            logs.work(log, "storage broken", logging.CRITICAL, code="store-broken")
            self._services.broken()
        except BridgeError as fault:
            logs.work(log, "commitment report", logging.WARNING, error=fault.code)
        return None
