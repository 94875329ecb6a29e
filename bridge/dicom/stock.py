"""Listening with pynetdicom's own threads: two an association, each polling; limits by `guard` (PS3.7, PS3.8)."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.dimse_messages import N_ACTION_RSP, N_EVENT_REPORT_RSP
from pynetdicom.events import Event
from pynetdicom.pdu import P_DATA_TF

from bridge import log as logs
from bridge.clock import Clock
from bridge.config import Settings
from bridge.dicom.guard import Guarded, Meter, Server
from bridge.dicom.insides import contain, context_of, discard, receiving, tune
from bridge.dicom.operations import Operations, title_of
from bridge.dicom.policy import LIMIT, VERIFICATION, Rejection
from bridge.dicom.reports import QUIET_SECONDS

ACSE_SECONDS = 30
_SLACK = 64 * 1024
log = logging.getLogger("bridge.dicom.ae")


class StockListener:
    """pynetdicom's listener with the bridge's operations behind it."""

    def __init__(self, settings: Settings, operations: Operations, clock: Clock) -> None:
        self.settings = settings.dicom
        self.operations = operations
        self.clock = clock
        self._meter = Meter(settings.storage.max_object_bytes + _SLACK, settings.dicom.max_message_bytes)
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int | None:
        """None before `start`."""
        return None if self._server is None else int(self._server.server_address[1])

    @property
    def associations(self) -> int:
        return 0 if self._server is None else len(self._server.active_associations)

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

    def close(self) -> None:
        """Accept nothing more."""
        if self._thread is None or self._server is None:
            return
        with contextlib.suppress(ValueError):  # pynetdicom forgets servers that it did not start itself
            self._server.shutdown()
        self._thread.join()
        self._thread = None

    def abort(self) -> None:
        """End every association with an A-ABORT."""
        if self._server is not None:
            for association in self._server.active_associations:
                association.abort()

    def _handlers(self) -> list[Any]:
        return [
            (evt.EVT_CONN_OPEN, self._on_open),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_PDU_RECV, self._on_pdu),
            (evt.EVT_DIMSE_RECV, self._on_message),
            (evt.EVT_DIMSE_SENT, self._on_sent),
            (evt.EVT_ABORTED, self._on_gone),
            (evt.EVT_CONN_CLOSE, self._on_gone),
            *self.operations.handlers(),
        ]

    def _on_open(self, event: Event) -> None:
        tune(event.assoc, self.settings.max_pdu_bytes)
        opener = self.operations.receiver.receive
        contain(event.assoc, opener, lambda fault: self._tell_end(event, f"not a message: {fault}"))

    def _on_requested(self, event: Event) -> None:
        request: Any = event.assoc.requestor.primitive
        calling, called = title_of(request.calling_ae_title), title_of(request.called_ae_title)
        address = str(event.assoc.requestor.address)
        proposed = request.presentation_context_definition_list
        verdict: Any = self.operations.contexts(calling, called, address, proposed)
        if isinstance(verdict, Rejection):
            event.assoc.acse.send_reject(*verdict)
            self.operations.refused(calling, address, verdict)
            event.assoc.kill()
            return
        event.assoc.acceptor.supported_contexts = verdict

    def _on_rejected(self, event: Event) -> None:
        # Its own check, of how many there are (2/3/2).
        self.operations.refused(title_of(event.assoc.requestor.ae_title), event.assoc.requestor.address, LIMIT)

    def _on_pdu(self, event: Event) -> None:
        if isinstance(event.pdu, P_DATA_TF):
            self._end(event, self._meter.received(event.assoc, event.pdu))

    def _on_sent(self, event: Event) -> None:
        """An N-ACTION is answered: its report may follow on this association, from a thread that waits for it."""
        if isinstance(event.message, N_ACTION_RSP) and self.operations.reports.owes(event.assoc):
            threading.Thread(target=self._speak, args=(event.assoc,), name="report", daemon=True).start()

    def _speak(self, association: Any) -> None:
        reports, pause = self.operations.reports, threading.Event()
        while association.is_established and reports.owes(association):
            pause.wait(QUIET_SECONDS / 2)
            if reports.quiet(association) and association.dimse.msg_queue.empty():
                reports.speak(association)

    def _on_message(self, event: Event) -> None:
        if isinstance(event.message, N_EVENT_REPORT_RSP):
            answer: Any = event.message.command_set
            self.operations.reports.heard(event.assoc, answer.MessageIDBeingRespondedTo, answer.Status)
        on_disk = receiving(event.assoc) is not None
        storage = self.operations.policy.storage
        if on_disk and context_of(event.assoc, event.message.context_id) not in storage:
            self._end(event, "an object under the context of something else")
        self._end(event, self._meter.whole(event.assoc, on_disk))

    def _end(self, event: Event, why: str) -> None:
        """No status can be told for what is not a whole message: the association ends."""
        if why:
            self._tell_end(event, why)
            event.assoc.abort()

    def _tell_end(self, event: Event, why: str) -> None:
        title, address = title_of(event.assoc.requestor.ae_title), event.assoc.requestor.address
        logs.work(log, "association ended", logging.WARNING, aet=title, peer=address, reason=why)

    def _on_gone(self, event: Event) -> None:
        self.operations.reports.gone(event.assoc)
        discard(event.assoc)
