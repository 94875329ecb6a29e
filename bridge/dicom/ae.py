"""The bridge's application entity: association policy and the services behind it (PS3.7, PS3.8; RAD-5, -6, -7, -8).

pynetdicom runs two threads an association; handlers run in them. Every handler ends in a status and one log line;
none lets an exception reach the peer or pynetdicom's own log.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.events import Event
from pynetdicom.pdu import P_DATA_TF

from bridge import log as logs
from bridge.clock import Clock
from bridge.config import DicomPeer, Settings
from bridge.dicom import status
from bridge.dicom.files import Archive
from bridge.dicom.guard import Guarded, Meter, Server, contain, context_of, discard, receiving, tune
from bridge.dicom.notes import Notes
from bridge.dicom.performed import Steps
from bridge.dicom.policy import CONGESTION, VERIFICATION, Policy, Rejection, in_place
from bridge.dicom.services import AcquiringService, PerformingService, Services, WorklistService
from bridge.dicom.storage import Receiver
from bridge.dicom.worklist import Answer, Finder
from bridge.errors import BridgeError, NotAllowed, StoreBroken, StoreUnavailable
from bridge.mapping.transliteration import NONE, Transliteration

ACSE_SECONDS = 30
NOTE_SECONDS = 1.0
"""What a store that is away may cost a stop for notes of who has asked."""
_SLACK = 64 * 1024
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Operation:
    """One DIMSE operation, for its log line."""

    event: str
    peer: DicomPeer
    address: str
    started: float
    status: int = -1
    fields: dict[str, Any] = field(default_factory=dict)


class DicomServer:
    """Listens for modalities. `start`, then `drain` (finish what runs, begin nothing) and `stop`."""

    def __init__(self, settings: Settings, services: Services, clock: Clock, table: Transliteration = NONE) -> None:
        self.settings = settings.dicom
        self.services = services
        self.clock = clock
        self.archive = Archive(settings.archive)
        self.policy = Policy(settings.dicom, settings.storage.private_sop_classes)
        issuers = settings.issuers
        self._receiver = Receiver(self.archive, services.acquiring, settings.storage, settings.defaults, issuers)
        self._notes = Notes(services.worklist, services.acquiring, services.broken)
        self._finder = Finder(services.worklist, self._notes, issuers, table)
        self._steps = Steps(services.performing, settings.defaults, issuers, table)
        self._meter = Meter(settings.storage.max_object_bytes + _SLACK, settings.dicom.max_message_bytes)
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._running = 0
        self._draining = False
        self._idle = threading.Condition()

    @property
    def port(self) -> int:
        """The port in use, also when the settings ask for any (0)."""
        if self._server is None:
            raise StoreUnavailable("the DICOM listener is not started")
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen; `OSError` when the port is taken."""
        # Identifiers are patient data, and formatting them costs a quarter of a query.
        _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
        _config.LOG_HANDLER_LEVEL = "none"
        _config.STORE_RECV_CHUNKED_DATASET = True
        entity = AE(ae_title=self.settings.ae_title)
        entity.maximum_associations = self.settings.max_associations
        entity.maximum_pdu_size = self.settings.max_pdu_bytes
        entity.acse_timeout = ACSE_SECONDS
        entity.dimse_timeout = entity.network_timeout = self.settings.network_seconds
        # What a peer may do is decided when it asks; by default nothing but C-ECHO.
        entity.add_supported_context(VERIFICATION)
        server = entity.make_server(
            (self.settings.host, self.settings.port),
            evt_handlers=self._handlers(),
            server_class=Server,
            request_handler=Guarded,
        )
        assert isinstance(server, Server)
        server.clock = self.clock
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="dicom-accept", daemon=True)
        self._thread.start()
        logs.work(log, "dicom listening", port=self.port, aet=self.settings.ae_title)

    def drain(self, timeout: float) -> bool:
        """Accept nothing new and wait for running operations; False when some still run after `timeout` seconds."""
        self._draining = True
        self._close_listener()
        with self._idle:
            return self._idle.wait_for(lambda: self._running == 0, timeout)

    def stop(self) -> None:
        """End everything now: the listener, then every association with an A-ABORT."""
        self._draining = True
        server = self._server
        self._close_listener()
        if server is not None:
            for association in server.active_associations:
                association.abort()
        self._notes.close(NOTE_SECONDS)

    def _close_listener(self) -> None:
        if self._thread is None or self._server is None:
            return
        with contextlib.suppress(ValueError):  # pynetdicom forgets servers that it did not start itself
            self._server.shutdown()
        self._thread.join()
        self._thread = None

    def _handlers(self) -> list[Any]:
        return [
            (evt.EVT_CONN_OPEN, self._on_open),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_PDU_RECV, self._on_pdu),
            (evt.EVT_DIMSE_RECV, self._on_message),
            (evt.EVT_ABORTED, self._on_gone),
            (evt.EVT_CONN_CLOSE, self._on_gone),
            (evt.EVT_C_ECHO, self._on_echo),
            (evt.EVT_C_FIND, self._on_find),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_N_CREATE, self._on_create),
            (evt.EVT_N_SET, self._on_set),
            (evt.EVT_N_GET, self._on_get),
        ]

    # Association

    def _on_open(self, event: Event) -> None:
        tune(event.assoc, self.settings.max_pdu_bytes)
        contain(event.assoc, self._receiver.receive, lambda fault: self._tell_end(event, f"not a message: {fault}"))

    def _on_requested(self, event: Event) -> None:
        request: Any = event.assoc.requestor.primitive
        calling, called = _title(request.calling_ae_title), _title(request.called_ae_title)
        address = str(event.assoc.requestor.address)
        verdict: Any = CONGESTION
        if not self._draining:
            proposed = request.presentation_context_definition_list
            verdict = self.policy.contexts(calling, called, address, proposed)
        if isinstance(verdict, Rejection):
            event.assoc.acse.send_reject(*verdict)
            code = "/".join(map(str, verdict))
            logs.work(log, "association refused", logging.WARNING, aet=calling, peer=address, code=code)
            event.assoc.kill()
            return
        event.assoc.acceptor.supported_contexts = verdict

    def _on_rejected(self, event: Event) -> None:
        title, address = _title(event.assoc.requestor.ae_title), event.assoc.requestor.address
        logs.work(log, "association refused", logging.WARNING, aet=title, peer=address, reason="too many associations")

    def _on_pdu(self, event: Event) -> None:
        if isinstance(event.pdu, P_DATA_TF):
            self._end(event, self._meter.received(event.assoc, event.pdu))

    def _on_message(self, event: Event) -> None:
        on_disk = receiving(event.assoc) is not None
        if on_disk and context_of(event.assoc, event.message.context_id) not in self.policy.storage:
            self._end(event, "an object under the context of something else")
        self._end(event, self._meter.whole(event.assoc, on_disk))

    def _end(self, event: Event, why: str) -> None:
        """No status can be told for what is not a whole message: the association ends."""
        if why:
            self._tell_end(event, why)
            event.assoc.abort()

    def _tell_end(self, event: Event, why: str) -> None:
        title, address = _title(event.assoc.requestor.ae_title), event.assoc.requestor.address
        logs.work(log, "association ended", logging.WARNING, aet=title, peer=address, reason=why)

    def _on_gone(self, event: Event) -> None:
        discard(event.assoc)

    # Operations

    def _on_echo(self, event: Event) -> Dataset | int:
        with self._operation("c-echo", event) as operation:
            operation.status = status.SUCCESS
        return status.SUCCESS

    def _on_store(self, event: Event) -> Dataset | int:
        def store(operation: _Operation) -> Dataset | int:
            return self._receiver.take(event, operation.peer, operation.peer.ae_title)

        return self._answer("c-store", event, store, status.store_status)

    def _on_create(self, event: Event) -> tuple[Dataset | int, Dataset | None]:
        given: list[Dataset] = []

        def create(operation: _Operation) -> Dataset | int:
            answer = self._steps.create(event, operation.peer)
            given.extend(answer.attributes)
            return answer.status

        answered = self._answer("n-create", event, create, status.step_status)
        return answered, given[0] if given else None

    def _on_set(self, event: Event) -> tuple[Dataset | int, Dataset | None]:
        def change(operation: _Operation) -> Dataset | int:
            return self._steps.change(event, operation.peer)

        return self._answer("n-set", event, change, status.step_status), None

    def _on_get(self, event: Event) -> tuple[Dataset | int, Dataset | None]:
        told: list[Dataset] = []

        def tell(operation: _Operation) -> Dataset | int:
            answer = self._steps.tell(event, operation.peer)
            told.append(answer.attributes)
            return answer.status

        answered = self._answer("n-get", event, tell, status.step_status)
        return answered, told[0] if told else None

    def _on_find(self, event: Event) -> Iterator[Answer]:
        with self._operation("c-find", event) as operation:
            operation.status, count = status.SUCCESS, 0
            try:
                self._allow(operation)
                for answer, identifier in self._finder.answers(event, operation.peer, operation.peer.ae_title):
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
        title = _title(event.assoc.requestor.ae_title)
        address = str(event.assoc.requestor.address)
        peer = self.policy.peer(title, address)
        if peer is None or not in_place(event.request, str(event.context.abstract_syntax)):
            peer = self.settings.peer_of(title).model_copy(update={"may": frozenset()})
        operation = _Operation(name, peer, address, self.clock.monotonic())
        with self._idle:
            self._running += 1
        try:
            yield operation
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()
            elapsed = round((self.clock.monotonic() - operation.started) * 1000, 1)
            level = logging.INFO if operation.status in _GOOD else logging.WARNING
            code = f"{operation.status:04X}" if operation.status >= 0 else "none"
            logs.work(log, name, level, aet=title, peer=address, status=code, ms=elapsed, **operation.fields)


_GOOD = frozenset({status.SUCCESS, status.CANCEL})


def _code(answer: Dataset | int) -> int:
    return answer if isinstance(answer, int) else int(answer.Status)


def _title(value: Any) -> str:
    return str(value or "").strip()


__all__ = [
    "AcquiringService",
    "DicomServer",
    "PerformingService",
    "Services",
    "WorklistService",
]
