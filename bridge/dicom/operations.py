"""What each DIMSE request does, whatever carried it here (PS3.7; RAD-5, -6, -7, -8).

A handler takes pynetdicom's public `Event` and returns what pynetdicom's documentation asks of it. Every handler ends
in a status and one log line; none lets an exception reach the peer or the transport. Who listens is in `ae`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext

from bridge import log as logs
from bridge.clock import Clock
from bridge.config import DicomPeer, Settings
from bridge.dicom import availability, commitment, negotiation, status
from bridge.dicom.files import Archive
from bridge.dicom.notes import Notes
from bridge.dicom.performed import Steps
from bridge.dicom.policy import AVAILABILITY, CONGESTION, Policy, Rejection, in_place
from bridge.dicom.reports import Reports
from bridge.dicom.services import Services
from bridge.dicom.storage import Receiver
from bridge.dicom.worklist import Answer, Finder
from bridge.errors import BridgeError, NotAllowed, StoreBroken, StoreUnavailable
from bridge.mapping.transliteration import NONE, Transliteration

NOTE_SECONDS = 1.0
"""What a store that is away may cost a stop for notes of who has asked."""
log = logging.getLogger("bridge.dicom.ae")


@dataclass(slots=True)
class _Operation:
    """One DIMSE operation, for its log line."""

    event: str
    peer: DicomPeer
    address: str
    started: float
    status: int = -1
    fields: dict[str, Any] = field(default_factory=dict)


class Operations:
    """The services behind the association. `drain` lets what runs finish and begins nothing."""

    def __init__(self, settings: Settings, services: Services, clock: Clock, table: Transliteration = NONE) -> None:
        self.settings = settings.dicom
        self._worklist = settings.worklist
        self.services = services
        self.clock = clock
        self.archive = Archive(settings.archive)
        self.policy = Policy(settings.dicom, settings.storage.private_sop_classes)
        issuers = settings.issuers
        self.receiver = Receiver(self.archive, services.acquiring, settings.storage, settings.defaults, issuers)
        self._notes = Notes(services.worklist, services.acquiring, services.broken)
        self._finder = Finder(services.worklist, self._notes, issuers, table)
        self._steps = Steps(services.performing, settings.defaults, issuers, settings.performed, table)
        self.reports = Reports(services, clock)
        self._running = 0
        self._draining = False
        self._idle = threading.Condition()

    @property
    def running(self) -> int:
        """Operations in progress."""
        return self._running

    def handlers(self, *, encoded: bool = False) -> list[tuple[evt.EventType, Callable[[Event], Any]]]:
        """One for each request that may come. `encoded`: identifiers of C-FIND answers are given as bytes."""
        return [
            (evt.EVT_SOP_EXTENDED, self._extended),
            (evt.EVT_C_ECHO, self._echo),
            (evt.EVT_C_FIND, partial(self._find, encoded=encoded)),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_CREATE, self._create),
            (evt.EVT_N_SET, self._set),
            (evt.EVT_N_GET, self._get),
            (evt.EVT_N_ACTION, self._act),
        ]

    def contexts(
        self,
        calling: str,
        called: str,
        address: str,
        proposed: Iterable[PresentationContext],
        names: Iterable[str] = (),
    ) -> list[PresentationContext] | Rejection:
        """The contexts to support for this association request, or why it is refused; `names`: of its certificate."""
        return CONGESTION if self._draining else self.policy.contexts(calling, called, address, proposed, names)

    def refused(self, calling: str, address: str, verdict: Rejection) -> None:
        """An association was refused: one log line, and a note for the audit."""
        code = "/".join(map(str, verdict))
        logs.work(log, "association refused", logging.WARNING, aet=calling, peer=address, code=code)
        self._notes.refused(address, calling, code)

    def begin_nothing(self) -> None:
        """From now on every request is answered that it comes too late."""
        self._draining = True

    def finish(self, timeout: float) -> bool:
        """Wait for running operations; False when some still run after `timeout` seconds."""
        with self._idle:
            return self._idle.wait_for(lambda: self._running == 0, timeout)

    def close(self) -> None:
        self._notes.close(NOTE_SECONDS)

    def _extended(self, event: Event) -> dict[UID, bytes]:
        requestor = event.assoc.requestor
        view = self._worklist.view_of(title_of(requestor.ae_title))
        return negotiation.answer(requestor.sop_class_extended, fuzzy=view.fuzzy != "never")

    def _echo(self, event: Event) -> Dataset | int:
        with self._operation("c-echo", event) as operation:
            operation.status = status.SUCCESS
        return status.SUCCESS

    def _store(self, event: Event) -> Dataset | int:
        def store(operation: _Operation) -> Dataset | int:
            return self.receiver.take(event, operation.peer, operation.peer.ae_title)

        return self._answer("c-store", event, store, status.store_status)

    def _create(self, event: Event) -> tuple[Dataset | int, Dataset | None]:
        given: list[Dataset] = []

        def notice(operation: _Operation) -> Dataset | int:
            read = availability.read_notice(event)
            operation.fields["count"] = len(read.notice.instances)
            self.services.noticing.take_notice(read.notice, operation.peer.ae_title)
            given.extend([read.given] if read.given is not None else [])
            return read.status

        def create(operation: _Operation) -> Dataset | int:
            answer = self._steps.create(event, operation.peer)
            given.extend(answer.attributes)
            return answer.status

        work = notice if str(event.context.abstract_syntax) == AVAILABILITY else create
        answered = self._answer("n-create", event, work, status.step_status)
        return answered, given[0] if given else None

    def _set(self, event: Event) -> tuple[Dataset | int, Dataset | None]:
        def change(operation: _Operation) -> Dataset | int:
            return self._steps.change(event, operation.peer)

        return self._answer("n-set", event, change, status.step_status), None

    def _get(self, event: Event) -> tuple[Dataset | int, Dataset | None]:
        told: list[Dataset] = []

        def tell(operation: _Operation) -> Dataset | int:
            answer = self._steps.tell(event, operation.peer)
            told.append(answer.attributes)
            return answer.status

        answered = self._answer("n-get", event, tell, status.step_status)
        return answered, told[0] if told else None

    def _act(self, event: Event) -> tuple[Dataset | int, Dataset | None]:
        def act(operation: _Operation) -> Dataset | int:
            request = commitment.read_request(event)
            operation.fields["count"] = len(request.references)
            self.services.committing.take_request(request, operation.peer.ae_title)
            if operation.peer.commitment == "same":
                self.reports.expect(event.assoc, operation.peer.ae_title, request.transaction_uid, event.context)
            return status.SUCCESS

        return self._answer("n-action", event, act, status.action_status), None

    def _find(self, event: Event, *, encoded: bool) -> Iterator[Answer]:
        with self._operation("c-find", event) as operation:
            operation.status, count = status.SUCCESS, 0
            try:
                self._allow(operation)
                peer = operation.peer
                how = {"fuzzy": negotiation.is_fuzzy(event.assoc.acceptor.sop_class_extended), "encoded": encoded}
                for answer, identifier in self._finder.answers(event, peer, peer.ae_title, **how):
                    operation.fields["count"] = count = count + (identifier is not None)
                    if identifier is None:
                        operation.status = _code(answer)
                    yield answer, identifier
            except StoreBroken:
                self._broken(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, the peer gets a status
                failed = self._failed(operation, error, status.find_status)
                yield failed, None

    def _answer(
        self,
        name: str,
        event: Event,
        work: Callable[[_Operation], Dataset | int],
        failed: Callable[[Exception], Dataset],
    ) -> Dataset | int:
        with self._operation(name, event) as operation:
            try:
                self._allow(operation)
                answer = work(operation)
            except StoreBroken as error:
                self._broken(event)
                answer = failed(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the peer gets a status
                answer = self._failed(operation, error, failed)
            operation.status = _code(answer)
        return answer

    def _allow(self, operation: _Operation) -> None:
        if self._draining:
            raise StoreUnavailable("shutting down")
        if not operation.peer.may:
            raise NotAllowed("not for this peer")

    def _failed(self, operation: _Operation, error: Exception, failed: Callable[[Exception], Dataset]) -> Dataset:
        if not isinstance(error, BridgeError):
            log.error("unexpected failure in %s", operation.event, exc_info=error)
        operation.fields["error"] = getattr(error, "code", type(error).__name__)
        operation.fields["where"] = getattr(error, "where", "")
        answer = failed(error)
        operation.status = _code(answer)
        return answer

    def _broken(self, event: Event) -> None:
        """Nothing may be answered any more: whether the data are safe is not known."""
        logs.work(log, "storage broken", logging.CRITICAL, code="store-broken")
        self.services.broken()
        event.assoc.abort()

    @contextlib.contextmanager
    def _operation(self, name: str, event: Event) -> Iterator[_Operation]:
        calling = title_of(event.assoc.requestor.ae_title)
        address = str(event.assoc.requestor.address)
        peer = self.policy.peer(calling, address, getattr(event.assoc, "certificate_names", ()))
        if peer is None or not in_place(event.request, str(event.context.abstract_syntax)):
            peer = self.settings.peer_of(calling).model_copy(update={"may": frozenset()})
        operation = _Operation(name, peer, address, self.clock.monotonic())
        with self._idle:
            self._running += 1
        self.reports.busy(event.assoc, 1)
        try:
            yield operation
        finally:
            self.reports.busy(event.assoc, -1)
            with self._idle:
                self._running -= 1
                self._idle.notify_all()
            if operation.status == status.NOT_AUTHORIZED:
                self._notes.refused(address, calling, f"{operation.status:04X} {name}")
            elapsed = round((self.clock.monotonic() - operation.started) * 1000, 1)
            level = logging.INFO if operation.status in _GOOD else logging.WARNING
            code = f"{operation.status:04X}" if operation.status >= 0 else "none"
            logs.work(log, name, level, aet=calling, peer=address, status=code, ms=elapsed, **operation.fields)


_GOOD = frozenset({status.SUCCESS, status.CANCEL})


def title_of(value: Any) -> str:
    """An AE title without its padding."""
    return str(value or "").strip()


def _code(answer: Dataset | int) -> int:
    return answer if isinstance(answer, int) else int(answer.Status)
