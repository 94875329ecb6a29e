"""Our own listener for associations: a thread each, none polling, limits where the bytes come in (PS3.8 9).

A handshake, a request that never ends, a silent peer: each holds up its own thread, for a time, and takes one of a few
places that an honest device displaces it from.
"""

from __future__ import annotations

import itertools
import logging
import socket
import ssl
import threading
from dataclasses import dataclass, field

from pynetdicom import AE, _config

from bridge import log as logs
from bridge.clock import Clock
from bridge.config import Settings
from bridge.dicom.conversation import Conversation
from bridge.dicom.messages import Limits
from bridge.dicom.operations import Operations
from bridge.dicom.places import Memory, Most, Places
from bridge.dicom.policy import VERIFICATION
from bridge.dicom.upper import HEADER, REQUEST_BYTES
from bridge.dicom.wire import Wire, hang_up

REQUEST_SECONDS = 30.0
"""From the connection to its whole A-ASSOCIATE-RQ, a TLS handshake among them."""
STOP_SECONDS = 2.0
BACKLOG = 128
_SLACK = 64 * 1024
log = logging.getLogger("bridge.dicom.ae")


@dataclass(eq=False, slots=True)
class _Connection:
    sock: socket.socket
    peer: tuple[str, int]
    since: float
    conversation: Conversation | None = None
    thread: threading.Thread | None = field(default=None, repr=False)


class Acceptor:
    """Listens from `start` to `close`; what it has accepted lives on until its peers leave, or `abort`."""

    def __init__(
        self, settings: Settings, operations: Operations, clock: Clock, tls: ssl.SSLContext | None = None
    ) -> None:
        self.settings = settings.dicom
        self.operations = operations
        self.clock = clock
        self._tls = tls
        self._limits = Limits(settings.storage.max_object_bytes + _SLACK, settings.dicom.max_message_bytes)
        self._memory = Memory(settings.dicom.memory_bytes)
        dicom = settings.dicom
        most = Most(
            dicom.max_connections,
            dicom.max_connections_per_address,
            dicom.max_associations,
            dicom.max_associations_per_ae,
        )
        self._places: Places[_Connection] = Places(most, lambda one: hang_up(one.sock))
        self._entity = AE(ae_title=self.settings.ae_title)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._numbers = itertools.count(1)
        self._turned_away, self._told_at = 0, -1.0

    @property
    def port(self) -> int | None:
        """None before `start`."""
        return None if self._socket is None else int(self._port)

    @property
    def associations(self) -> int:
        return self._places.associations

    def start(self) -> None:
        """Listen; `OSError` when the port is taken."""
        # Identifiers are patient data, and formatting them costs a quarter of a query.
        _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
        _config.LOG_HANDLER_LEVEL = "none"
        self._entity.maximum_pdu_size = self.settings.max_pdu_bytes
        self._entity.maximum_associations = self.settings.max_associations
        self._entity.add_supported_context(VERIFICATION)
        host = self.settings.host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, self.settings.port), family=family, backlog=BACKLOG)
        self._port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="dicom-accept", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Accept nothing more."""
        self._ending.set()
        if self._socket is not None:
            hang_up(self._socket)  # wakes `accept`
            self._socket.close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def abort(self) -> None:
        """End every association with an A-ABORT, and every connection."""
        open_now = self._places.all()
        for one in open_now:
            if one.conversation is not None:
                one.conversation.ending = True
            hang_up(one.sock, socket.SHUT_RD)
        until = self.clock.monotonic() + STOP_SECONDS
        for one in open_now:
            if one.thread is not None and one.thread is not threading.current_thread():
                one.thread.join(max(0.0, until - self.clock.monotonic()))
            hang_up(one.sock)

    def _accept(self) -> None:
        assert self._socket is not None
        while not self._ending.is_set():
            try:
                sock, address = self._socket.accept()
            except OSError as fault:
                if not self._ending.is_set():
                    # Out of descriptors, or the peer has gone already: neither may end the listener, or spin.
                    logs.work(log, "accept failed", logging.WARNING, error=type(fault).__name__)
                    self._ending.wait(0.1)
                continue
            self._take(sock, address[0], address[1])

    def _take(self, sock: socket.socket, host: str, port: int) -> None:
        one = _Connection(sock, (host, port), self.clock.monotonic())
        if not self._places.enter(one, host):
            self._turn_away(host)
            sock.close()
            return
        name = f"dicom-{next(self._numbers)}"
        one.thread = threading.Thread(target=self._serve, args=(one,), name=name, daemon=True)
        try:
            one.thread.start()
        except RuntimeError:  # no more threads
            self._places.leave(one)
            sock.close()

    def _turn_away(self, host: str) -> None:
        """One line a second, however many knock."""
        self._turned_away += 1
        now = self.clock.monotonic()
        if now - self._told_at >= 1:
            count, self._turned_away, self._told_at = self._turned_away, 0, now
            reason = "too many connections"
            logs.work(log, "connection refused", logging.WARNING, peer=host, reason=reason, count=count)

    def _serve(self, one: _Connection) -> None:
        until = one.since + REQUEST_SECONDS
        try:
            if self._tls is not None:
                one.sock = secured = self._tls.wrap_socket(one.sock, server_side=True, do_handshake_on_connect=False)
                secured.settimeout(REQUEST_SECONDS)
                secured.do_handshake()
            wire = Wire(one.sock, self.clock, self._longest, self.settings.network_seconds)
            wire.tune()
            one.conversation = Conversation(
                wire,
                self.operations,
                self._entity,
                one.peer,
                limits=self._limits,
                memory=self._memory,
                clock=self.clock,
                idle=self.settings.network_seconds,
                associate=lambda title: self._places.associate(one, title),
            )
            one.conversation.run(until)
        except OSError as fault:
            logs.work(log, "connection broken", logging.WARNING, peer=one.peer[0], error=type(fault).__name__)
        except Exception:
            log.exception("association failed", extra={"fields": {"peer": one.peer[0]}})
        finally:
            self._places.leave(one)
            one.sock.close()

    @property
    def _longest(self) -> int:
        return HEADER + max(self.settings.max_pdu_bytes, REQUEST_BYTES)
